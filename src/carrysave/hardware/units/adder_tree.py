"""Adder trees, the second stage of the precision study's neural functional unit: a neuron's products and what it had.

`sum` is a register that `rst` clears. Where `valid` is 1 it takes the sum of the products and, unless `first` is 1,
of itself; where it is 0 it stays.

Fixed point: all products and the partial sum go through one carry-save tree and one carry-propagate adder, exactly,
modulo the width of the sum. Floating point: adders in pairs, each rounded, with a register each (a float32 adder takes
half of the study's 4 ns at best here, five in a row are out of reach of any clock like it), and the partial sum added
last: the sum of products p[0], p[1], ... is ((p0 + p1) + (p2 + p3)) + ..., then that plus the partial sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, rep, sum_columns
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.floating import plus
from carrysave.hardware.units.mac import FORMATS

FormatName = Literal["float32", "bfloat16", "float16"]


def words_of(row: Word, count: int) -> list[Any]:
    """The words of a row, the first one least significant."""
    width = row.width // count
    return [row[k * width : (k + 1) * width] for k in range(count)]


def sum_signed(words: Sequence[Word], ones: Sequence[Word], width: int) -> Any:
    """The sum of two's complement words and of single bits, modulo 2^width.

    A sign bit s at 2^k weighs -s * 2^k = ~s * 2^k - 2^k; the -2^k of all words are one constant.
    """
    columns: list[list[Any]] = [[] for _ in range(width)]
    constant = 0
    for word in words:
        for k, bit in enumerate(word):
            columns[k].append(bit if k < word.width - 1 else ~bit)
        constant -= 1 << word.width - 1
    columns[0] += ones
    one = words[0].const(1, 1)
    for k in range(width):
        if constant >> k & 1:
            columns[k].append(one)
    return sum_columns(columns, width=width)


def check_synapses(name: str, synapses: int) -> None:
    """Raises ValueError unless they can stand in a binary tree."""
    if not 2 <= synapses <= 256 or synapses & synapses - 1:
        raise ValueError(f"{name}: synapses={synapses}; expected a power of two from 2 to 256")


def _check_bits(name: str, bits: int, sum_bits: int) -> None:
    if not 2 <= bits <= sum_bits <= 128:
        raise ValueError(f"{name}: bits={bits}, sum_bits={sum_bits}; expected 2 <= bits <= sum_bits <= 128")


def _following(values: Mapping[str, Any], total: Word) -> dict[str, Any]:
    return {"sum": values["kept"], "kept": values["valid"].mux(total, values["kept"])}


def _so_far(values: Mapping[str, Any]) -> Any:
    return rep(~values["first"], values["kept"].width) & values["kept"]


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class AdderTree(Unit):
    """The exact sum of a row of products and a partial sum, kept.

    Ports: `products`, the first one least significant; `first`, `valid`; `sum`.

    Attributes:
        synapses: products in a row.
        bits: of a product, in two's complement.
        sum_bits: of the sum.
    """

    synapses: int = 16
    bits: int = 32
    sum_bits: int = 42
    name = "adder_tree"
    catalog = {"4 products of 8 bits": "adder_tree:synapses=4,bits=8,sum_bits=14"}

    def check(self) -> None:
        check_synapses(self.name, self.synapses)
        _check_bits(self.name, self.bits, self.sum_bits)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"products": self.synapses * self.bits, "first": 1, "valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(self.sum_bits, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        products = words_of(values["products"], self.synapses)
        return _following(values, sum_signed([*products, _so_far(values)], [], self.sum_bits))


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class MergedTree(Unit):
    """Both first stages of a binary network in one: words added or subtracted by a weight of one bit each, kept.

    Ports: `x`, a row of words in two's complement; `w`, a bit each (1 is +1, 0 is -1); `first`, `valid`; `sum`.

    Attributes:
        synapses: words in a row.
        bits: of a word.
        sum_bits: of the sum.
    """

    synapses: int = 16
    bits: int = 16
    sum_bits: int = 26
    name = "merged_tree"
    catalog = {"4 words of 8 bits": "merged_tree:synapses=4,bits=8,sum_bits=14"}

    def check(self) -> None:
        check_synapses(self.name, self.synapses)
        _check_bits(self.name, self.bits, self.sum_bits)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.synapses * self.bits, "w": self.synapses, "first": 1, "valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(self.sum_bits, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        minus = list(~values["w"])
        words = [
            word ^ rep(bit, self.bits) for word, bit in zip(words_of(values["x"], self.synapses), minus, strict=True)
        ]  # a complement is one less than the negative
        return _following(values, sum_signed([*words, _so_far(values)], minus, self.sum_bits))


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FloatAdder(Unit):
    """The sum of two floating-point numbers, rounded to nearest even, in a register.

    Ports: `a`, `b`; `sum`, one cycle later.

    Attributes:
        format: float32, bfloat16 or float16.
    """

    format: FormatName = "float32"
    name = "float_adder"
    catalog = {"bfloat16": "float_adder:format=bfloat16"}

    @property
    def inputs(self) -> Mapping[str, int]:
        width = FORMATS[self.format].width
        return {"a": width, "b": width}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(FORMATS[self.format].width)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"sum": values["kept"], "kept": plus(values["a"], values["b"], FORMATS[self.format])}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FloatAccumulator(Unit):
    """A floating-point partial sum: x plus itself, or plus 0 where `first` is 1.

    Ports: `x`, `first`, `valid`; `sum`.

    Attributes:
        format: float32, bfloat16 or float16.
    """

    format: FormatName = "float32"
    name = "float_accumulator"
    catalog = {"bfloat16": "float_accumulator:format=bfloat16"}

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": FORMATS[self.format].width, "first": 1, "valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(FORMATS[self.format].width, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return _following(values, plus(values["x"], _so_far(values), FORMATS[self.format]))


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FloatTree(Assembly):
    """The floating-point sum of a row of products, in pairs, and a partial sum.

    Ports: `products`, the first one least significant; `first` and `valid`, log2(synapses) cycles after the products
    that they speak of; `sum`, one cycle after those.

    Attributes:
        synapses: products in a row.
        format: float32, bfloat16 or float16, of products and sums.
    """

    synapses: int = 16
    format: FormatName = "float32"
    name = "float_tree"
    catalog = {"2 products, bfloat16": "float_tree:synapses=2,format=bfloat16"}

    def check(self) -> None:
        check_synapses(self.name, self.synapses)

    @property
    def levels(self) -> int:
        """Of adders, and cycles from the products to the partial sum's adder."""
        return self.synapses.bit_length() - 1

    @property
    def settling(self) -> int:
        return self.levels

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"products": self.synapses * FORMATS[self.format].width, "first": 1, "valid": 1}

    @property
    def parts(self) -> Mapping[str, Unit]:
        adders = {
            f"add{level}_{k}": FloatAdder(format=self.format)
            for level in range(self.levels)
            for k in range(self.synapses >> level + 1)
        }
        return {**adders, "total": FloatAccumulator(format=self.format)}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        words = words_of(values["products"], self.synapses)
        for level in range(self.levels):
            words = [
                place(f"add{level}_{k}", a=words[2 * k], b=words[2 * k + 1])["sum"] for k in range(len(words) // 2)
            ]
        return {"sum": place("total", x=words[0], first=values["first"], valid=values["valid"])["sum"]}
