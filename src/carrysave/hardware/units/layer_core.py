"""AddNet's network layer core (simplification thesis, 6.6.2): weight memories, processing elements, scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from carrysave.bits import all_bits, any_bit, cat, fit, rep
from carrysave.hardware.units.addnet_pe import ADDERS, AddNetPe
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.generic_multiplier import product, sum_of
from carrysave.hardware.units.memory import Memory

BLOCK_WIDTHS = (1, 2, 4, 9, 18)  # of an 18K block memory (thesis, 6.7.2); the wider, the fewer words
_BLOCK_BITS = 1 << 14  # of a block memory, without the ninth bits


def blocks_18k(words: int, bits: int) -> int:
    """18K block memories that so many words take: side by side and one above the other, at the best of the widths."""
    depths = {width: _BLOCK_BITS // (width - width // 9) for width in BLOCK_WIDTHS}
    return min(-(-bits // width) * -(-words // depth) for width, depth in depths.items())


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class CoreControl(Unit):
    """Streams in, words out: what drives the memories and elements of a `LayerCore`.

    Ports: features `x` where `x_valid` is 1, and weights `w` where `w_valid` is 1, as in `LayerCore`. `features` are p
    of them for all elements, at the address `read` of their weights; `go`, `first`, `take` are those of `AddNetPe`,
    `before`, `step`, `write` those of `WriteTurn`; `at` and `data` go to the memories. `y_valid`: a sum comes out of
    the first element.

    Attributes:
        pes: elements.
        words: words of a weight memory; an output is the sum of p times as many products.
        p, n, weight_bits, latency: those of the elements.
    """

    pes: int = 2
    words: int = 4
    p: int = 1
    n: int = 8
    weight_bits: int = 4
    latency: int = 2
    name = "core_control"
    catalog = {"one product": "core_control", "two products": "core_control:p=2,n=4,pes=3,words=5,latency=3"}

    def check(self) -> None:
        if not (1 <= self.pes <= self.p * self.words and self.words >= 2 and 1 <= self.latency <= 256):
            raise ValueError(
                f"core_control: pes={self.pes}, words={self.words}, p={self.p}, latency={self.latency}; sums leave one "
                f"by one while the next are made: at most p * words = {self.p * self.words} elements, words 2 or more, "
                "latency 1 to 256"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "x_valid": 1, "w": self.weight_bits, "w_valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        address, lane = (self.words - 1).bit_length(), (self.p - 1).bit_length()
        stages = {"go": self.latency, "first": self.latency, "last": self.latency + 1}
        late = {f"{name}_{k}": 1 for name, count in stages.items() for k in range(1, count + 1)}
        counters = {"left": self.pes.bit_length(), "which": max(1, (self.pes - 1).bit_length())}
        if self.p > 1:
            counters |= {"x_lane": lane, "w_lane": lane}
        held = {"x_held": self.p * self.n, "w_held": self.p * self.weight_bits}
        flags = dict.fromkeys(("x_full", "w_full", "loading"), 1)
        widths = {**held, **flags, **counters, "read_at": address, "write_at": address, **late}
        return {name: Register(width, 0) for name, width in widths.items()}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        reading, read = self._reading(values)
        writing, written = self._writing(values)
        left, take = values["left"], values[f"last_{self.latency + 1}"]
        some = any_bit(left)
        counted = some.mux(left - left.const(1, left.width), left)
        return {
            **reading,
            **writing,
            "take": take,
            "y_valid": some,
            **read,
            **written,
            "left": take.mux(left.const(self.pes, left.width), counted),
        }

    def _reading(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Features collected, and the signs that go along with them down the pipeline."""
        valid, full, place = values["x_valid"], values["x_full"], values["read_at"]
        found, following = self._collected(values, "x")
        last = full & _is(place, self.words - 1)
        starts = {"go": full, "first": full & _is(place, 0), "last": last}
        for name, start in starts.items():
            stages = self.latency + (name == "last")
            for k in range(1, stages + 1):
                following[f"{name}_{k}"] = start if k == 1 else values[f"{name}_{k - 1}"]
        following["read_at"] = full.mux(_next(place, last), place)
        following["x_full"] = valid & found
        outputs = {"features": values["x_held"], "read": place}
        return outputs | {name: values[f"{name}_{self.latency}"] for name in ("go", "first")}, following

    def _writing(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Weights collected; one element after the other has its turn, the first anew when all have had it."""
        valid, full, place, loading = values["w_valid"], values["w_full"], values["write_at"], values["loading"]
        found, following = self._collected(values, "w")
        last = full & _is(place, self.words - 1)
        done = last & _is(values["which"], self.pes - 1)
        begins = valid & (~loading | done)
        following |= {
            "write_at": full.mux(_next(place, last), place),
            "w_full": valid & found,
            "loading": begins | (loading & ~done),
            "which": last.mux(_next(values["which"], done), values["which"]),
        }
        outputs = {"write": full, "at": place, "data": values["w_held"], "before": begins, "step": last | begins}
        return outputs, following

    def _collected(self, values: Mapping[str, Any], port: str) -> tuple[Any, dict[str, Any]]:
        """(whether one arriving now is the last of p, next values of their register and its counter)."""
        name = f"{port}_held"
        word, valid, held = values[port], values[f"{port}_valid"], values[name]
        if self.p == 1:
            return word.const(1, 1), {name: valid.mux(word, held)}
        lane = values[f"{port}_lane"]
        last = _is(lane, self.p - 1)
        return last, {
            name: valid.mux(cat(held[word.width :], word), held),
            f"{port}_lane": valid.mux(_next(lane, last), lane),
        }


def _is(word: Any, value: int) -> Any:
    return all_bits(~(word ^ word.const(value, word.width)))


def _next(count: Any, last: Any) -> Any:
    """One more; 0 after the last."""
    return rep(~last, count.width) & fit(count + count.const(1, 1), count.width)


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class WriteTurn(Unit):
    """Whether it is an element's turn that its weights are written; the turn goes from element to element.

    Ports: where `step` is 1 the register takes what is at `before`, the element's `turn` before this one; `load` is
    `write` in the element whose turn it is.
    """

    name = "write_turn"

    @property
    def inputs(self) -> Mapping[str, int]:
        return dict.fromkeys(("before", "step", "write"), 1)

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"held": Register(1, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        held = values["held"]
        return {"turn": held, "load": held & values["write"], "held": values["step"].mux(values["before"], held)}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class OutputScale(Unit):
    """A sum times the layer's constant, rounded as in (6.5), to a feature of the next layer, one cycle later.

    Ports: `x`, `valid`, the constant `scale`, unsigned; `y_valid`, and
    `y = min(floor(x * scale / 2^shift + 1/2), 2^n - 1)`.

    Attributes:
        bits: of the sum, which is not negative.
        scale: bits of the constant.
        shift: binary places of the product that are rounded away.
        n: bits of a feature.
        form: the multiplier, as in `GenericMultiplier`.
    """

    bits: int = 10
    scale: int = 8
    shift: int = 8
    n: int = 8
    form: Literal["pairs", "booth", "native"] = "booth"
    name = "output_scale"
    catalog = {"to 4 bits": "output_scale:bits=8,scale=4,shift=6,n=4"}

    def check(self) -> None:
        if not (2 <= self.scale <= 16 and 1 <= self.shift and self.shift + self.n <= self.bits + self.scale):
            raise ValueError(
                f"output_scale: bits={self.bits}, scale={self.scale}, shift={self.shift}, n={self.n}; the product has "
                f"{self.bits + self.scale} bits, shift + n may be no more; scale is 2 to 16 bits, shift 1 or more"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.bits, "valid": 1, "scale": self.scale}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"feature": Register(self.n, 0), "ready": Register(1, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        scale = values["scale"]
        signed = cat(scale, scale.const(0, 2 - self.scale % 2))  # not negative, and of an even number of bits
        exact = product(values["x"], signed, self.form)[: self.bits + self.scale]
        upper = cat(exact[self.shift :], exact.const(0, 1))
        rounded = sum_of(upper, upper.const(0, upper.width), exact[self.shift - 1])
        over = any_bit(rounded[self.n :])
        return {
            "y": values["feature"],
            "y_valid": values["ready"],
            "feature": rep(over, self.n) | rounded[: self.n],
            "ready": values["valid"],
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class LayerCore(Assembly):
    """A layer of `pes` neurons or output maps: each element sums products of the same features with its own weights.

    Ports: features `x` where `x_valid` is 1, in the order in which the weights stand in their memories; weights `w`
    where `w_valid` is 1, element by element, to be loaded while no features come; where `y_valid` is 1 a sum, cut at
    zero, leaves at `y`, that of the first element first. With `scale` bits, the layer's constant is at the port
    `scale`, and `y` is a feature of n bits, rounded as in (6.5).

    A sum takes p * words features; there may be no more elements, for the sums of one leave while the next are made.
    The order of the feature stream (sliding windows) is its sender's affair, as biases are, which the thesis's core
    does not mention.

    Attributes:
        pes: processing elements.
        words: words of each element's weight memory.
        multiplier, p, n, accumulator, pipelined: those of `AddNetPe`.
        scale: bits of the layer's constant; 0: there is none, and sums leave as they are.
        shift: binary places that are rounded away after it.
        memory: the weight memories, as in `Memory`.
    """

    pes: int = 10
    words: int = 64
    multiplier: Literal["2add", "3add", "4add", "pairs", "booth", "native"] = "2add"
    p: int = 1
    n: int = 8
    accumulator: int = 28
    pipelined: bool = False
    scale: int = 0
    shift: int = 8
    memory: Literal["flops", "auto", "distributed", "block"] = "flops"
    name = "layer_core"
    catalog = {
        "3-Add, scaled": "layer_core:multiplier=3add,pes=2,words=2,n=2,accumulator=13,scale=4,shift=8,pipelined=true",
    }

    def check(self) -> None:
        assert self._parts  # each part checks its own

    @cached_property
    def pe(self) -> AddNetPe:
        """The processing element."""
        return AddNetPe(
            multiplier=self.multiplier, p=self.p, n=self.n, accumulator=self.accumulator, pipelined=self.pipelined
        )

    @property
    def blocks_per_pe(self) -> int:
        """18K block memories for the weights of one element, by the widths of 6.7.2."""
        return blocks_18k(self.words, self.p * self.pe.weight_bits)

    @property
    def parts(self) -> Mapping[str, Unit]:
        weight_bits = self.pe.weight_bits
        control = CoreControl(
            pes=self.pes, words=self.words, p=self.p, n=self.n, weight_bits=weight_bits, latency=self.pe.latency
        )
        memory, turn = Memory(depth=self.words, width=self.p * weight_bits, form=self.memory), WriteTurn()
        found: dict[str, Unit] = {"control": control}
        for k in range(self.pes):
            found |= {f"turn{k}": turn, f"memory{k}": memory, f"pe{k}": self.pe}
        if self.scale:
            form = "booth" if self.multiplier in ADDERS else self.multiplier
            bits = self.pe.out_bits
            found["scale"] = OutputScale(bits=bits, scale=self.scale, shift=self.shift, n=self.n, form=form)
        return found

    @property
    def inputs(self) -> Mapping[str, int]:
        ports = {"x": self.n, "x_valid": 1, "w": self.pe.weight_bits, "w_valid": 1}
        return {**ports, "scale": self.scale} if self.scale else ports

    @property
    def settling(self) -> int:
        """A memory's output register is the only one that no reset reaches."""
        return 1

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        streams = {port: values[port] for port in ("x", "x_valid", "w", "w_valid")}
        control = place("control", **streams)
        loads, before = [], control["before"]
        for k in range(self.pes):
            turn = place(f"turn{k}", before=before, step=control["step"], write=control["write"])
            loads.append(turn["load"])
            before = turn["turn"]
        y = control["features"].const(0, self.pe.out_bits)
        shared = {port: control[port] for port in ("go", "first", "take")}
        for k in reversed(range(self.pes)):  # sums move down, from element to element
            found = place(f"memory{k}", read=control["read"], write=loads[k], at=control["at"], data=control["data"])
            y = place(f"pe{k}", x=control["features"], w=found["word"], chain=y, **shared)["y"]
        if not self.scale:
            return {"y": y, "y_valid": control["y_valid"]}
        return place("scale", x=y, valid=control["y_valid"], scale=values["scale"])
