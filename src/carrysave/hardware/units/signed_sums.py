"""Processing elements without multipliers: activations added, subtracted or left out, SIMD of them at once.

One of them is one output channel of a matrix-vector-threshold unit (`mvtu`); SYQ's multiplies each of its sums by a
scale (simplification thesis, Figures 4.5 and 5.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, cat, fit, rep, sext, times, zext
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.generic_multiplier import sum_of

WEIGHT_BITS = {"binary": 1, "ternary": 2}
Node = tuple[Any, Any]  # a sum, and the 1 that is still to be added to it (None: nothing is)


@dataclass(frozen=True, kw_only=True)
class SignedSums(Unit):
    """What both processing elements share: the tree that adds up `simd` activations, each plus, minus or not at all.

    Ports: `x`, the activations side by side, unsigned, the first lowest; `w`, as many weights: of one bit 1 for +1 and
    0 for -1, of two bits ternary (bit 0: not zero, bit 1: negative); `go`: a sum arrives at the accumulator in this
    cycle, `first`: it starts anew there. `sum` is the accumulator, in two's complement.

    Attributes:
        simd: activations that are added in one cycle.
        a: bits of an activation.
        weights: binary or ternary.
        accumulator: bits of the accumulator.
        levels: adder levels of the tree from one pipeline register to the next; 0: the tree has none.
    """

    simd: int = 4
    a: int = 2
    weights: Literal["binary", "ternary"] = "binary"
    accumulator: int = 10
    levels: int = 0

    def check(self) -> None:
        if not (1 <= self.simd <= 1024 and 1 <= self.a <= 16 and 0 <= self.levels <= 10):
            raise ValueError(
                f"{self.name}: simd={self.simd}, a={self.a}, levels={self.levels}; simd is 1 to 1024, a 1 to 16 bits, "
                "levels 0 to 10"
            )
        if not self.addend_bits <= self.accumulator <= 64:
            raise ValueError(
                f"{self.name}: accumulator={self.accumulator}; one sum takes {self.addend_bits} bits, at most are 64"
            )

    @property
    def addend_bits(self) -> int:
        """Bits of what arrives at the accumulator in one cycle."""
        return self._bits_of(self.simd)

    @property
    def latency(self) -> int:
        """Cycles from `x` and `w` to the accumulator's input: `go` and `first` come that much later."""
        return len(self._ranks)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.simd * self.a, "w": self.simd * WEIGHT_BITS[self.weights], "go": 1, "first": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        ranks = {
            f"rank{level}_{k}": Register(self._bits_of(lanes) + (k > 0), reset=0)
            for level, nodes in self._ranks.items()
            for k, lanes in enumerate(nodes)
        }
        return {**ranks, "sum": Register(self.accumulator, reset=0)}

    def _bits_of(self, lanes: int) -> int:
        """Bits of a sum of so many activations, with what is still to be added to it or without."""
        return (lanes * ((1 << self.a) - 1)).bit_length() + 1

    @property
    def _ranks(self) -> Mapping[int, tuple[int, ...]]:
        """The levels of the tree that end in registers, with the activations in each of their nodes."""
        nodes, found = (1,) * self.simd, {}
        depth = (self.simd - 1).bit_length()
        for level in range(1, depth + 1):
            nodes = tuple(sum(nodes[k : k + 2]) for k in range(0, len(nodes), 2))
            if self.levels and (level % self.levels == 0 or level == depth):
                found[level] = nodes
        return found

    def _sum(self, values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The sum of this cycle's activations, and the next values of the tree's registers.

        Minus is the complement and 1 more. The first activation is negated outright, in the LUTs of its adder; each
        other one's 1 waits for the carry input of the next adder that has one free: one adder per further activation.
        """
        nodes, following = [self._lane(values, k) for k in range(self.simd)], {}
        counts, level = [1] * self.simd, 0
        while len(nodes) > 1:
            level += 1
            counts = [sum(counts[k : k + 2]) for k in range(0, len(counts), 2)]
            nodes = [self._added(nodes[2 * k : 2 * k + 2], lanes) for k, lanes in enumerate(counts)]
            if level in self._ranks:
                nodes, arriving = self._registered(values, level, nodes)
                following |= arriving
        return nodes[0][0], following

    def _registered(
        self, values: Mapping[str, Any], level: int, nodes: Sequence[Node]
    ) -> tuple[list[Node], dict[str, Any]]:
        """The nodes after the registers of a level, and what goes into these."""
        kept, following = [], {}
        for k, (word, waiting) in enumerate(nodes):
            name = f"rank{level}_{k}"
            following[name] = word if waiting is None else cat(word, waiting)
            held = values[name]
            kept.append((held, None) if waiting is None else (held[: word.width], held[word.width]))
        return kept, following

    def _lane(self, values: Mapping[str, Any], k: int) -> Node:
        """Activation k plus, minus or not at all."""
        x = values["x"][k * self.a : (k + 1) * self.a]
        bits = WEIGHT_BITS[self.weights]
        w = values["w"][k * bits : (k + 1) * bits]
        minus = ~w if bits == 1 else w[1] & w[0]
        some = x if bits == 1 else rep(w[0], self.a) & x
        if k:
            return cat(some ^ rep(minus, self.a), minus), minus
        return _negated(some, minus), None

    def _added(self, pair: Sequence[Node], lanes: int) -> Node:
        """One adder for a pair; an odd node goes on alone."""
        width = self._bits_of(lanes)
        if len(pair) == 1:
            return pair[0]
        (one, waiting), (other, carry) = pair
        return sum_of(sext(one, width), sext(other, width), carry), waiting


def _negated(x: Word, minus: Word) -> Any:
    """`x` or -x, one bit wider: a bit is inverted if one below it is 1."""
    bits, below = [], x.const(0, 1)
    for bit in x:
        bits.append(bit ^ (minus & below))
        below = below | bit
    return cat(*bits, minus & below)


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class AddSubPe(SignedSums):
    """The processing element of the thesis' matrix-vector-threshold unit (Figure 4.5): a tree and an accumulator."""

    name = "add_sub_pe"
    catalog = {
        "binary, 2-bit activations": "add_sub_pe",
        "ternary, pipelined": "add_sub_pe:simd=3,weights=ternary,levels=1",
    }

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        total, following = self._sum(values)
        return {"y": values["sum"], "sum": _accumulated(values, sext(total, self.accumulator)), **following}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class SyqPe(SignedSums):
    """The processing element of SYQ layers (Figure 5.3): tree, a multiplier for the scale, accumulator.

    Each cycle's activations belong to one pixel or row of the kernel, whose scale stands at `scale`, unsigned, in the
    cycle before `go`; the product is registered. The multiplier is the `*` of RTL: a DSP on an FPGA that may use them.

    Attributes:
        scale_bits: bits of a scale.
    """

    scale_bits: int = 8
    accumulator: int = 18
    name = "syq_pe"
    catalog = {"binary, 2-bit activations": "syq_pe:simd=2,scale_bits=4,accumulator=12"}

    def check(self) -> None:
        super().check()
        if not 1 <= self.scale_bits <= 17:
            raise ValueError(f"syq_pe: scale_bits={self.scale_bits}; 1 to 17, the unsigned side of a DSP")

    @property
    def addend_bits(self) -> int:
        return super().addend_bits + self.scale_bits

    @property
    def latency(self) -> int:
        return super().latency + 1

    @property
    def inputs(self) -> Mapping[str, int]:
        return {**super().inputs, "scale": self.scale_bits}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {**super().registers, "product": Register(self.addend_bits, reset=0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        total, following = self._sum(values)
        product = times(total, zext(values["scale"], self.scale_bits + 1))
        following["product"] = fit(product, self.addend_bits)
        following["sum"] = _accumulated(values, sext(values["product"], self.accumulator))
        return {**following, "y": values["sum"]}


def _accumulated(values: Mapping[str, Any], addend: Word) -> Any:
    """The accumulator's next value."""
    total, zero = values["sum"], addend.const(0, addend.width)
    return values["go"].mux(fit(values["first"].mux(zero, total) + addend, addend.width), total)
