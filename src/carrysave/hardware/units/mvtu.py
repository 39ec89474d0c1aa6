"""The matrix-vector-threshold unit: a layer's matrix times vectors, folded onto SIMD x PE x MMV adders, thresholded.

FINN's unit (Umuroglu et al., FPGA 2017) as the simplification thesis extends it in 4.6.2 (activations of any precision,
added or subtracted) and 5.7.2 (SYQ: scales by pixel or row of the kernel).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import all_bits, any_bit, cat, fit
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.memory import Form, Memory
from carrysave.hardware.units.ring_counter import RingCounter, bits_of, counted
from carrysave.hardware.units.signed_sums import WEIGHT_BITS, AddSubPe, SignedSums, SyqPe
from carrysave.hardware.units.thresholds import Thresholds


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class MvtuControl(Unit):
    """The counters that fold a matrix onto a matrix-vector unit.

    `synapses` steps make a sum, `neurons` sums a vector. During the first sum the vector comes in, a part with each
    step: a step waits for `valid` then, and `ready` is 1. Later steps read the part `part` again. `address` counts
    all steps: the place of the weights. What reaches the accumulators `latency` cycles after the weights' arrival (one
    cycle after the address) is marked by `go` and `first`; `scaled` is `go` one cycle earlier. In the cycle after the
    last step of a sum `done` is 1; `channel`, one cycle before that, is the number of the sum.

    Attributes:
        synapses, neurons: the folds.
        latency: cycles from the weights to the accumulator.
    """

    synapses: int = 3
    neurons: int = 2
    latency: int = 1
    name = "mvtu_control"
    catalog = {"3 x 2 steps": "mvtu_control", "one sum": "mvtu_control:synapses=4,neurons=1,latency=0"}

    def check(self) -> None:
        if not (1 <= self.synapses <= 1 << 20 and 1 <= self.neurons <= 1 << 20 and 0 <= self.latency <= 16):
            raise ValueError(
                f"mvtu_control: synapses={self.synapses}, neurons={self.neurons}, latency={self.latency}; folds of 1 "
                f"to {1 << 20}, a latency of 0 to 16"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        flags = {f"{name}{k}": 1 for name in ("go", "first", "last") for k in range(self.latency + 1)}
        widths = {
            "synapse": bits_of(self.synapses),
            "neuron": bits_of(self.neurons),
            "step": bits_of(self.synapses * self.neurons),
            "sums": bits_of(self.neurons),
            **flags,
            "summed": 1,
        }
        return {name: Register(width, reset=0) for name, width in widths.items()}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        ready = ~any_bit(values["neuron"])
        go = values["valid"] | ~ready
        synapse, last = counted(values["synapse"], go, self.synapses)
        neuron, _ = counted(values["neuron"], go & last, self.neurons)
        step, _ = counted(values["step"], go, self.synapses * self.neurons)
        arriving = {"go": go, "first": ~any_bit(values["synapse"]), "last": go & last}
        delayed = {}
        for name, flag in arriving.items():
            for k in range(self.latency + 1):
                delayed[f"{name}{k}"], flag = flag, values[f"{name}{k}"]
        end = self.latency
        sums, _ = counted(values["sums"], values[f"last{end}"], self.neurons)
        return {
            "ready": ready,
            "fill": go & ready,
            "part": values["synapse"],
            "address": values["step"],
            "scaled": values[f"go{end - 1}"] if end else go,
            "go": values[f"go{end}"],
            "first": values[f"first{end}"],
            "channel": values["sums"],
            "done": values["summed"],
            **delayed,
            "synapse": synapse,
            "neuron": neuron,
            "step": step,
            "sums": sums,
            "summed": values[f"last{end}"],
        }


@dataclass(frozen=True, kw_only=True)
class Folded(Assembly):
    """What a matrix-vector unit and the one with its memories share: the layer's sizes and how it is folded.

    Attributes:
        columns: length of a vector: kernel x kernel x input channels.
        rows: output channels.
        simd: activations that one processing element adds in a cycle; divides `columns`.
        pe: output channels at work at a time; divides `rows`.
        mmv: vectors (pixels) at work at a time, with the same weights.
        a: bits of an activation, unsigned, in and out.
        weights: binary or ternary, coded as in `SignedSums`.
        levels: adder levels between the pipeline registers of a processing element, 0: none.
        scales: SYQ's scales, kernel pixels or rows, by each of which an equal part of the columns is multiplied one
            after the other; 0: one scale for the layer, which the thresholds absorb.
        scale_bits: bits of a scale, unsigned.
        memory: the form of the weights' memories, as in `Memory`; vectors and thresholds stand in distributed ones
            unless it is flops.
    """

    columns: int = 4
    rows: int = 2
    simd: int = 2
    pe: int = 1
    mmv: int = 1
    a: int = 2
    weights: Literal["binary", "ternary"] = "binary"
    levels: int = 0
    scales: int = 0
    scale_bits: int = 8
    memory: Form = "flops"

    def check(self) -> None:
        for what, by in (("columns", "simd"), ("rows", "pe")):
            whole, part = getattr(self, what), getattr(self, by)
            if part < 1 or whole < 1 or whole % part:
                raise ValueError(f"{self.name}: {what}={whole}, {by}={part}; {by} must divide {what}")
        if not 1 <= self.mmv <= 256:
            raise ValueError(f"{self.name}: mmv={self.mmv}; 1 to 256 vectors at a time")
        if self.scales == 1 or self.scales < 0 or (self.scales and self.synapses % self.scales):
            raise ValueError(
                f"{self.name}: scales={self.scales}; 0, or 2 or more that divide the {self.synapses} steps of a sum "
                f"(columns / simd), so that a step has one scale"
            )

    @property
    def synapses(self) -> int:
        """Steps that make a sum: FINN's synapse fold."""
        return self.columns // self.simd

    @property
    def neurons(self) -> int:
        """Sums that a processing element makes of a vector: FINN's neuron fold."""
        return self.rows // self.pe

    @property
    def accumulator(self) -> int:
        """Bits that hold every sum of a row, and of a threshold."""
        greatest = self.columns * ((1 << self.a) - 1) * ((1 << self.scale_bits) - 1 if self.scales else 1)
        return greatest.bit_length() + 1

    @property
    def element(self) -> SignedSums:
        """One processing element."""
        sizes: dict[str, Any] = dict(
            simd=self.simd, a=self.a, weights=self.weights, accumulator=self.accumulator, levels=self.levels
        )
        return SyqPe(**sizes, scale_bits=self.scale_bits) if self.scales else AddSubPe(**sizes)

    @property
    def control(self) -> MvtuControl:
        return MvtuControl(synapses=self.synapses, neurons=self.neurons, latency=self.element.latency)

    @property
    def weight_bits(self) -> int:
        """Of a word of weights: those of one processing element and step."""
        return self.simd * WEIGHT_BITS[self.weights]

    @property
    def threshold_bits(self) -> int:
        """Of a word of thresholds: those of one channel."""
        return ((1 << self.a) - 1) * self.accumulator

    @property
    def small_memory(self) -> Form:
        """The form of the memories of few words."""
        return "flops" if self.memory == "flops" else "distributed"

    @property
    def scaling(self) -> Mapping[str, int]:
        """The ports through which the ring of scales is filled."""
        return {"load_scale": 1, "scale": self.scale_bits} if self.scales else {}

    def cycles(self, vectors: int) -> int:
        """Cycles in which a layer of so many vectors (output pixels) is computed, the input never late.

        It is the thesis' Reuse (4.6), with `simd` x `pe` x `mmv` for PE. Until the last output come `control.latency`
        and two more.
        """
        return -(-vectors // self.mmv) * self.synapses * self.neurons


    @property
    def own_registers(self) -> Mapping[str, Register]:
        return {"held": Register(self.inputs["x"]), "fresh": Register(1)}

    @property
    def settling(self) -> int:
        return 1

    @property
    def parts(self) -> Mapping[str, Unit]:
        found: dict[str, Unit] = {"control": self.control}
        if self.neurons > 1:
            found["vector"] = Memory(depth=max(2, self.synapses), width=self.inputs["x"], form=self.small_memory)
        if self.scales:
            dwell = self.synapses // self.scales
            found["ring"] = RingCounter(count=self.scales, width=self.scale_bits, dwell=dwell)
        element, thresholds = self.element, Thresholds(a=self.a, accumulator=self.accumulator)
        for m in range(self.mmv):
            for p in range(self.pe):
                found |= {f"pe{m}_{p}": element, f"threshold{m}_{p}": thresholds}
        return found

    def _computed(
        self,
        values: Mapping[str, Any],
        place: Place,
        control: Mapping[str, Any],
        weights: Sequence[Any],
        thresholds: Sequence[Any],
    ) -> Mapping[str, Any]:
        """The vectors' way through the processing elements, each given its word of weights and of thresholds."""
        x = values["x"]
        now = values["held"]
        if self.neurons > 1:
            part = control["part"]
            again = place("vector", read=part, write=control["fill"], at=part, data=x)["word"]
            now = values["fresh"].mux(now, again)
        flags = {"go": control["go"], "first": control["first"]}
        if self.scales:
            ring = place("ring", go=control["scaled"], load=values["load_scale"], data=values["scale"])
            flags["scale"] = ring["scale"]
        codes = []
        for m in range(self.mmv):
            vector = word_at(now, m, self.simd * self.a)
            for p in range(self.pe):
                total = place(f"pe{m}_{p}", x=vector, w=weights[p], **flags)["y"]
                codes.append(place(f"threshold{m}_{p}", x=total, t=thresholds[p])["y"])
        shown = {name: control[name] for name in ("ready", "done")}
        return {**shown, "y": cat(*codes), "held": x, "fresh": control["ready"]}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Mvtu(Folded):
    """The matrix-vector-threshold unit, its weights and thresholds at ports.

    Ports: `x`, `simd` activations of each of `mmv` vectors, taken where `valid` and `ready` are 1; one cycle after
    `address` its weights are due at `weights` (`pe` words, the first channel lowest), one cycle after `channel` its
    thresholds at `thresholds`. Channel c is that of element c mod pe in sum c div pe. Where `done` is 1, `y` holds `pe`
    activations of each vector. Nobody can stop it: what follows takes `y` when it comes.
    """

    name = "mvtu"
    catalog = {
        "binary": "mvtu",
        "ternary, two by two": "mvtu:columns=2,simd=1,pe=2,mmv=2,a=1,weights=ternary",
        "SYQ": "mvtu:rows=1,scales=2,scale_bits=3",
    }

    @property
    def inputs(self) -> Mapping[str, int]:
        return {
            "x": self.mmv * self.simd * self.a,
            "valid": 1,
            "weights": self.pe * self.weight_bits,
            "thresholds": self.pe * self.threshold_bits,
            **self.scaling,
        }

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        control = place("control", valid=values["valid"])
        weights = [word_at(values["weights"], p, self.weight_bits) for p in range(self.pe)]
        thresholds = [word_at(values["thresholds"], p, self.threshold_bits) for p in range(self.pe)]
        asked = {name: control[name] for name in ("address", "channel")}
        return {**asked, **self._computed(values, place, control, weights, thresholds)}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class MvtuWithMemories(Folded):
    """A matrix-vector-threshold unit with a memory of weights and one of thresholds for each processing element.

    Ports: `x`, `valid`, `ready`, `y` and `done` as those of `Mvtu`. To fill the memories of the processing element
    `element`: `weights` at the address `at` (sum x steps of a sum + step) where `load_weights` is 1, `thresholds` at
    `at` (the sum) where `load_thresholds` is.
    """

    name = "mvtu_with_memories"
    catalog = {"binary": "mvtu_with_memories:pe=2,a=1"}

    @property
    def inputs(self) -> Mapping[str, int]:
        return {
            "x": self.mmv * self.simd * self.a,
            "valid": 1,
            "element": bits_of(self.pe),
            "at": bits_of(self.synapses * self.neurons),
            "load_weights": 1,
            "weights": self.weight_bits,
            "load_thresholds": 1,
            "thresholds": self.threshold_bits,
            **self.scaling,
        }

    @property
    def parts(self) -> Mapping[str, Unit]:
        weights = Memory(depth=max(2, self.synapses * self.neurons), width=self.weight_bits, form=self.memory)
        thresholds = Memory(depth=max(2, self.neurons), width=self.threshold_bits, form=self.small_memory)
        found = dict(super().parts)
        for p in range(self.pe):
            found |= {f"weights{p}": weights, f"thresholds{p}": thresholds}
        return found

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        control = place("control", valid=values["valid"])
        found: dict[str, list[Any]] = {"weights": [], "thresholds": []}
        for p in range(self.pe):
            this = all_bits(~(values["element"] ^ values["element"].const(p, bits_of(self.pe))))
            for kind, read in (("weights", control["address"]), ("thresholds", control["channel"])):
                at = fit(values["at"], read.width)
                word = place(f"{kind}{p}", read=read, write=values[f"load_{kind}"] & this, at=at, data=values[kind])
                found[kind].append(word["word"])
        return self._computed(values, place, control, found["weights"], found["thresholds"])


def word_at(words: Any, k: int, width: int) -> Any:
    """The k-th of words that lie side by side."""
    return words[k * width : (k + 1) * width]


def reuse(kernel: int, inputs: int, outputs: int, size: int, elements: int) -> int:
    """How often each of a layer's processing elements works for one image: equations 4.5 and 4.6 of the thesis.

    Args:
        kernel, inputs, outputs: height of the kernel, input and output channels.
        size: height of the output map.
        elements: SIMD x PE x MMV.
    """
    return -(-(kernel * kernel * inputs * outputs * size * size) // elements)


def buffer_brams(channels: int, size: int, reuse: int, words: int) -> int:
    """Block memories for a feature map between two layers: equation 4.7 of the thesis.

    Args:
        channels, size: of the map that is buffered, I and F in the equation.
        reuse: `reuse` of the layer that makes it.
        words: activations that one block memory holds.
    """
    return -(-(channels * size * size * (reuse - 1)) // (reuse * words))
