"""The tile accelerator of the precision study: 16 neurons of 16 synapses, three buffers, and their control.

Hashemi et al., Understanding the impact of precision quantization, section IV and Figure 2; its model is DianNao (Chen
et al., ASPLOS 2014). The neural functional unit has three stages, each ending in registers: weight blocks, adder trees,
nonlinearity; of a binary network the first two are one, and of floating point the adder trees have a register after
each level. The buffers' sizes are DianNao's, which fit the study's areas: 64 rows of 256 weights, of 16 inputs, and of
16 outputs.

A row of words holds word 0 lowest. Of a row of weights, the first `synapses` belong to the first neuron. A bias is a
weight whose word holds a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from carrysave.bits import cat
from carrysave.hardware.units.adder_tree import AdderTree, FloatTree, MergedTree, check_synapses, words_of
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Unit
from carrysave.hardware.units.memory import Memory
from carrysave.hardware.units.nonlinearity import Nonlinearity
from carrysave.hardware.units.precisions import Binary, Floating, Precision, parse_precision
from carrysave.hardware.units.tile_control import TileControl
from carrysave.hardware.units.weight_blocks import WeightBlock


@dataclass(frozen=True, kw_only=True)
class TilePart(Assembly):
    """What the parts of a tile have in common: their parameters.

    Attributes:
        precision: float32, bfloat16, fixed16, power_of_two6x16, binary16 and their like, or a multiplier's spec with ;
            where it has commas.
        neurons, synapses: of the tile; synapses are a power of two.
        blocks: blocks of synapses whose sum is exact in fixed point; longer sums are modulo 2^sum_bits.
        function, fraction, radix_bits, data_fraction: as of `nonlinearity`.
    """

    precision: str = "fixed16"
    neurons: int = 16
    synapses: int = 16
    blocks: int = 64
    function: Literal["relu", "sigmoid", "tanh"] = "relu"
    fraction: int | None = None
    radix_bits: int = 0
    data_fraction: int | None = None

    def check(self) -> None:
        check_synapses(self.name, self.synapses)
        if not 1 <= self.neurons <= 256 or self.blocks < 1:
            raise ValueError(
                f"{self.name}: neurons={self.neurons}, blocks={self.blocks}; expected 1 to 256, and 1 or more"
            )
        self.nonlinearity.check()

    @property
    def of(self) -> Precision:
        """What the words are."""
        return parse_precision(self.precision)

    @property
    def merged(self) -> bool:
        """Whether weight blocks and adder trees are one stage."""
        return isinstance(self.of, Binary)

    @property
    def sum_bits(self) -> int:
        """Bits of a partial sum."""
        if isinstance(self.of, Floating):
            return self.of.product_bits
        one = self.of.word_bits if self.merged else self.of.product_bits
        return one + (self.synapses * self.blocks - 1).bit_length() + self.merged  # -(-2^(n-1)) takes one bit more

    @property
    def before_sum(self) -> int:
        """Cycles from a row's arrival to the addition of the partial sum."""
        if self.merged:
            return 0
        return 1 + (FloatTree(synapses=self.synapses).levels if isinstance(self.of, Floating) else 0)

    @property
    def nonlinearity(self) -> Nonlinearity:
        """The third stage of a neuron."""
        return Nonlinearity(
            precision=self.precision,
            sum_bits=self.sum_bits,
            function=self.function,
            fraction=self.fraction,
            radix_bits=self.radix_bits,
            data_fraction=self.data_fraction,
        )

    @property
    def tree(self) -> AdderTree | MergedTree | FloatTree:
        """The adders of a neuron."""
        if isinstance(self.of, Floating):
            return FloatTree(synapses=self.synapses)
        kind, bits = (MergedTree, self.of.word_bits) if self.merged else (AdderTree, self.of.product_bits)
        return kind(synapses=self.synapses, bits=bits, sum_bits=self.sum_bits)

    @property
    def shape(self) -> dict[str, Any]:
        """The parameters that all parts of one tile share."""
        names = ("precision", "neurons", "synapses", "blocks", "function", "fraction", "radix_bits", "data_fraction")
        return {name: getattr(self, name) for name in names}

    @property
    def row_bits(self) -> int:
        """Bits of a row of inputs."""
        return self.synapses * self.of.word_bits

    @property
    def marks(self) -> dict[str, int]:
        """The ports by which the control steers neurons."""
        return {"first": 1, "valid": 1, "linear": 1, **({"radix": self.radix_bits} if self.radix_bits else {})}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Neuron(TilePart):
    """One neuron: weight blocks, an adder tree with a partial sum, a nonlinearity. `neurons` is not read.

    Ports: `x` and `w`, rows of `synapses`; `first` and `valid`, `before_sum` cycles after the row that they speak of;
    `linear` and `radix`, with the cycle in which the sum is read; `y`, one cycle after that.
    """

    name = "neuron"
    catalog = {"fixed 4, 2 synapses": "neuron:precision=fixed4,synapses=2,blocks=4"}

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.row_bits, "w": self.synapses * self.of.weight_bits, **self.marks}

    @property
    def settling(self) -> int:
        return 1 + self.before_sum

    @property
    def parts(self) -> Mapping[str, Unit]:
        blocks = (
            {} if self.merged else {f"block{k}": WeightBlock(precision=self.precision) for k in range(self.synapses)}
        )
        return {**blocks, "tree": self.tree, "nonlinearity": self.nonlinearity}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        marks = {"first": values["first"], "valid": values["valid"]}
        if self.merged:
            total = place("tree", x=values["x"], w=values["w"], **marks)["sum"]
        else:
            pairs = zip(words_of(values["x"], self.synapses), words_of(values["w"], self.synapses), strict=True)
            products = [place(f"block{k}", x=x, w=w)["product"] for k, (x, w) in enumerate(pairs)]
            total = place("tree", products=cat(*products), **marks)["sum"]
        rest = {port: values[port] for port in self.marks if port not in marks}
        return {"y": place("nonlinearity", sum=total, **rest)["y"]}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FunctionalUnit(TilePart):
    """The neural functional unit: neurons side by side, which share their inputs.

    Ports: `x`, a row of `synapses` words; `w`, a row of `neurons * synapses` weights; the marks as of `neuron`; `y`, a
    row of `neurons` words.
    """

    name = "nfu"
    catalog = {"binary (1, 4), 2 x 2": "nfu:precision=binary4,neurons=2,synapses=2,blocks=4"}

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.row_bits, "w": self.neurons * self.synapses * self.of.weight_bits, **self.marks}

    @property
    def settling(self) -> int:
        return 1 + self.before_sum

    @cached_property
    def neuron(self) -> Neuron:
        """The neuron that stands here `neurons` times."""
        return Neuron(**{**self.shape, "neurons": 1})

    @property
    def parts(self) -> Mapping[str, Unit]:
        return {f"neuron{k}": self.neuron for k in range(self.neurons)}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        weights = words_of(values["w"], self.neurons)
        shared = {port: values[port] for port in ("x", *self.marks)}
        return {"y": cat(*[place(f"neuron{k}", w=w, **shared)["y"] for k, w in enumerate(weights)])}


@dataclass(frozen=True, kw_only=True)
class Controlled(TilePart):
    """A functional unit and its control.

    Attributes:
        depth: rows of each buffer, a power of two.
    """

    depth: int = 64

    def check(self) -> None:
        super().check()
        self.control.check()

    @property
    def control(self) -> TileControl:
        return TileControl(depth=self.depth, before_sum=self.before_sum, radix_bits=self.radix_bits)

    @cached_property
    def nfu(self) -> FunctionalUnit:
        return FunctionalUnit(**self.shape)

    @property
    def settling(self) -> int:
        return 3 + self.before_sum

    @property
    def parts(self) -> Mapping[str, Unit]:
        return {"control": self.control, "nfu": self.nfu}

    def steered(self, values: Mapping[str, Any], place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
        """(what the control puts out, the marks of it that the functional unit takes)."""
        out = dict(place("control", **{port: values[port] for port in self.control.inputs}))
        names = {"first": "first", "valid": "valid", "linear": "pass_linear", "radix": "pass_radix"}
        return out, {port: out[names[port]] for port in self.marks}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class TileCore(Controlled):
    """A tile without its buffers: control and functional unit, for memories that answer one cycle after the address.

    Ports: those of `tile_control` that start a run; `input_row` and `weight_row`, what stands at `input_address` and
    `weight_address` of the cycle before; `output_row`, to be written at `output_address` where `output_write` is 1;
    `ready`, `done`.
    """

    name = "tile_core"
    catalog = {
        "power of two (3, 4), 1 x 2": "tile_core:precision=power_of_two3x4,neurons=1,synapses=2,blocks=2,depth=2"
    }

    @property
    def inputs(self) -> Mapping[str, int]:
        return {**self.control.inputs, "input_row": self.nfu.inputs["x"], "weight_row": self.nfu.inputs["w"]}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        out, marks = self.steered(values, place)
        row = place("nfu", x=values["input_row"], w=values["weight_row"], **marks)["y"]
        shown = ("ready", "done", "input_address", "weight_address", "output_address", "output_write")
        return {**{port: out[port] for port in shown}, "output_row": row}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Tile(Controlled):
    """The tile: control, functional unit, and three buffers of `depth` rows, each with a port to write and one to read.

    Ports: those of `tile_control` that start a run; `input_write`, `input_at`, `input_data` and `weight_write`,
    `weight_at`, `weight_data`, by which the two buffers are filled, also during a run; `output_read`, the row that
    `output` shows one cycle later; `ready`, `done`.

    A run that starts in cycle t has read its first row in t + 2, and block b of its neurons, whose sums are done with
    row r, is written in cycle t + r + 4 + before_sum (r counted from 0) and can be read from the next one on.

    Attributes:
        buffers: the form of `memory`; flops is the only one that standard cells and the proof know.
    """

    buffers: Literal["flops", "auto", "distributed", "block"] = "flops"
    name = "tile"
    catalog = {
        "fixed 4, 2 x 2": "tile:precision=fixed4,neurons=2,synapses=2,blocks=2,depth=2",
    }

    def buffer(self, width: int) -> Memory:
        """A buffer of rows that are `width` bits wide."""
        return Memory(depth=self.depth, width=width, form=self.buffers)

    @property
    def inputs(self) -> Mapping[str, int]:
        a = self.control.address_bits
        filled = {"input": self.nfu.inputs["x"], "weight": self.nfu.inputs["w"]}
        written = {
            f"{name}_{port}": bits
            for name, width in filled.items()
            for port, bits in (("write", 1), ("at", a), ("data", width))
        }
        return {**self.control.inputs, **written, "output_read": a}

    @property
    def parts(self) -> Mapping[str, Unit]:
        return {
            **super().parts,
            "inputs": self.buffer(self.nfu.inputs["x"]),
            "weights": self.buffer(self.nfu.inputs["w"]),
            "outputs": self.buffer(self.neurons * self.of.word_bits),
        }

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        out, marks = self.steered(values, place)

        def filled(buffer: str, name: str) -> Any:
            pins = {port: values[f"{name}_{port}"] for port in ("write", "at", "data")}
            return place(buffer, read=out[f"{name}_address"], **pins)["word"]

        row = place("nfu", x=filled("inputs", "input"), w=filled("weights", "weight"), **marks)["y"]
        written = {"write": out["output_write"], "at": out["output_address"], "data": row}
        shown = place("outputs", read=values["output_read"], **written)["word"]
        return {"ready": out["ready"], "done": out["done"], "output": shown}
