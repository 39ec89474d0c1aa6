"""Products of a few activations and weights, added up as FPGAs add: along carry chains (thesis, Figure 2.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, cat, fit, full_adder, half_adder, rep, sext, zext
from carrysave.hardware.units.base import UNITS, Unit
from carrysave.hardware.units.floating import multiply, plus
from carrysave.hardware.units.generic_multiplier import product, sum_of
from carrysave.hardware.units.mac import FORMATS


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class DotProduct(Unit):
    """A sum plus `lanes` products: the average cost of one of them is what a MAC costs in an array of them.

    Ports: `x` and `w`, the lanes side by side, the first lowest; `c`, `y = c + sum x*w`, modulo. Activations are
    unsigned, as after a ReLU; weights of 1 bit are +1 (1) and -1 (0), of 2 bits ternary (bit 0: not zero, bit 1:
    negative), of more two's complement. Activations of one bit are +1 and -1 as their weights: `y = c + agreements`,
    as in `XnorPopcount`.

    Attributes:
        n: bits of an activation.
        m: bits of a weight, even above 2.
        lanes: products.
        accumulator: bits of `c` and `y`.
        form: the multiplier of weights of more than 2 bits, as in `GenericMultiplier`.
    """

    n: int = 8
    m: int = 8
    lanes: int = 16
    accumulator: int = 32
    form: Literal["pairs", "booth", "native"] = "booth"
    name = "dot_product"
    catalog = {
        "1-1": "dot_product:n=1,m=1",
        "binary weights": "dot_product:n=2,m=1,lanes=4,accumulator=16",
        "ternary weights": "dot_product:n=2,m=2,lanes=4,accumulator=16",
        "4-4": "dot_product:n=4,m=4,lanes=2,accumulator=16",
    }

    def check(self) -> None:
        if not 1 <= self.n <= 32 or self.m not in (1, *range(2, 33, 2)) or (self.n == 1 and self.m > 1):
            raise ValueError(
                f"dot_product: n={self.n}, m={self.m}; n is 1 to 32 bits, m is 1, or even to 32, and 1 where n is 1"
            )
        if not 1 <= self.lanes <= 1024 or not self.sum_bits <= self.accumulator <= 80:
            raise ValueError(
                f"dot_product: lanes={self.lanes}, accumulator={self.accumulator}; 1 to 1024 lanes, and the sum of "
                f"them takes {self.sum_bits} to 80 bits"
            )

    @property
    def sum_bits(self) -> int:
        """Bits of the sum of the products as it reaches the accumulator, in two's complement; of a count, unsigned."""
        if self.n == 1:
            return self.lanes.bit_length()
        return self.n + (self.m if self.m > 2 else 1) + (self.lanes - 1).bit_length()

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n * self.lanes, "w": self.m * self.lanes, "c": self.accumulator}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        x, w, c = values["x"], values["w"], values["c"]
        if self.n == 1:
            return {"y": sum_of(c, zext(popcount(~(x ^ w)), self.accumulator), c.const(0, 1))}
        lanes = [(x[k * self.n : (k + 1) * self.n], w[k * self.m : (k + 1) * self.m]) for k in range(self.lanes)]
        if self.form == "native" and self.m > 2:  # plain sums, one after the other: a DSP block has an adder of its own
            for a, b in lanes:
                c = fit(c + sext(product(a, b, self.form), self.accumulator), self.accumulator)
            return {"y": c}
        if self.m <= 2:
            total, carry = self._few_bits(lanes)
        else:
            total, carry = added([product(x, w, self.form) for x, w in lanes]), c.const(0, 1)
        return {"y": sum_of(c, sext(total, self.accumulator), carry)}

    def _few_bits(self, lanes: Sequence[tuple[Word, Word]]) -> tuple[Any, Any]:
        """The sum as a word and a bit to be added: each negation is a complement, its 1 an adder's carry.

        A lane costs one adder: its activation is negated, or let through, in the adder's own LUTs. Two ternary lanes
        are more than a LUT takes, so that they are added to a sum one by one, four to a sum; then comes a tree.
        """
        chained = 2 if self.m == 1 else 4
        level = []
        for k in range(0, self.lanes, chained):
            terms = [self._signed(x, w) for x, w in lanes[k : k + chained]]
            total, pending = terms[0]
            for count, (value, minus) in enumerate(terms[1:], start=2):
                width = self._bits_of(count)
                total = sum_of(sext(total, width), sext(value, width), minus)
            level.append((total, pending))
        while len(level) > 1:
            sums = []
            for (a, one), (b, other) in zip(level[::2], level[1::2], strict=False):
                width = max(a.width, b.width) + 1
                sums.append((sum_of(sext(a, width), sext(b, width), one), other))
            level = sums + level[2 * len(sums) :]
        return level[0]

    def _signed(self, x: Word, w: Word) -> tuple[Any, Any]:
        """An activation times a weight of 1 or 2 bits: (the product, or its complement, which lacks 1, that 1)."""
        value = zext(x, self.n + 1)
        if self.m == 1:
            return value ^ rep(~w, value.width), ~w
        some, minus = w[0], w[0] & w[1]
        return (rep(some, value.width) & value) ^ rep(minus, value.width), minus

    def _bits_of(self, lanes: int) -> int:
        """Bits of a sum of that many plus or minus activations."""
        return (lanes * ((1 << self.n) - 1)).bit_length() + 1


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FpgaFloatMac(Unit):
    """`float_mac` whose significands are multiplied as FPGAs do.

    Ports: `a`, `b`, `c`, `y = c + a*b`, product and sum rounded to nearest even.

    Attributes:
        format: float32, bfloat16 or float16.
        form: of the multiplier, as in `GenericMultiplier`; native is a DSP block or several.
    """

    format: Literal["float32", "bfloat16", "float16"] = "float32"
    form: Literal["pairs", "booth", "native"] = "native"
    name = "fpga_float_mac"
    positional = "format"
    catalog = {"bfloat16, by DSP blocks": "fpga_float_mac:bfloat16"}

    @property
    def inputs(self) -> Mapping[str, int]:
        return dict.fromkeys("abc", FORMATS[self.format].width)

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        of = FORMATS[self.format]

        def significands(a: Word, b: Word) -> Any:
            signed = zext(b, b.width + 2 - b.width % 2)  # not negative, and of an even number of bits
            return product(a, signed, self.form)[: a.width + b.width]

        return {"y": plus(multiply(values["a"], values["b"], of, of, significands), values["c"], of)}


def added(terms: Sequence[Word]) -> Any:
    """The sum of words in two's complement, by a tree of carry chains, none of them wider than its sum needs."""
    level = list(terms)
    while len(level) > 1:
        pairs = [(level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)]
        width = level[0].width + 1
        sums = [sum_of(sext(a, width), sext(b, width), a.const(0, 1)) for a, b in pairs]
        level = sums + [sext(word, width) for word in level[2 * len(pairs) :]]
    return level[0]


def popcount(word: Word) -> Any:
    """How many bits are 1: three at a time in two LUTs, then a tree of carry chains."""
    bits = list(word)
    level = [_count(bits[k : k + 3]) for k in range(0, len(bits), 3)]
    while len(level) > 1:
        pairs = [(level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)]
        sums = []
        for a, b in pairs:
            width = max(a.width, b.width) + 1
            sums.append(sum_of(zext(a, width), zext(b, width), a.const(0, 1)))
        level = sums + level[2 * len(pairs) :]
    return fit(level[0], word.width.bit_length())


def _count(bits: Sequence[Any]) -> Any:
    if len(bits) == 3:
        return cat(*full_adder(*bits))
    return cat(*half_adder(*bits)) if len(bits) == 2 else bits[0]
