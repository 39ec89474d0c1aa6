"""Conversion units of nonuniform activation storage: QE, CE (ENQ, Figure 2) and QK, CK (KNQ, Figure 3).

"Intra-layer nonuniform quantization of convolutional neural networks": activations are computed with as fixed-point
values of 12 bits and stored as quantization points of fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, add, any_bit, cat, encode, fit, leading_one_hot, rep, shl, shr
from carrysave.hardware.units.base import UNITS, Unit

VGG16 = "8/5/6/5/5/5/5/5/5/5/6/5/5"  # Tables II and III, index 6: bits stored of each convolutional layer


@dataclass(frozen=True, kw_only=True)
class _Enq(Unit):
    """What QE and CE share: the layer's index chooses how far is shifted.

    DEC1 turns the index into the select of a multiplexer of C shift amounts, one for each number of bits that occurs.
    """

    bits: int = 12
    layers: str = VGG16
    amounts: Literal["constant", "ports"] = "constant"

    def check(self) -> None:
        parts = self.layers.split("/")
        if not all(part.isdigit() and 1 <= int(part) <= self.bits for part in parts):
            raise ValueError(
                f"{self.name}: layers={self.layers}; expected the bits stored of each layer, 1 to {self.bits}, such as "
                "8/5/6"
            )

    @property
    def stored(self) -> tuple[int, ...]:
        """Bits stored of each layer."""
        return tuple(map(int, self.layers.split("/")))

    @property
    def kinds(self) -> tuple[int, ...]:
        """The C numbers of bits that occur."""
        return tuple(sorted(set(self.stored)))

    @property
    def _index_bits(self) -> int:
        return max(1, (len(self.stored) - 1).bit_length())

    @property
    def _amount_bits(self) -> int:
        return max(1, (self.bits - min(self.kinds)).bit_length())

    @property
    def _amount_ports(self) -> dict[str, int]:
        if self.amounts == "constant":
            return {}
        return {f"amount{k}": self._amount_bits for k in range(len(self.kinds))}

    def _amount(self, values: Mapping[str, Any]) -> Any:
        """The layer's shift; an index beyond the layers has the first kind's."""
        layer, width = values["layer"], self._amount_bits
        if self.amounts == "ports":
            given = [values[f"amount{k}"] for k in range(len(self.kinds))]
        else:
            given = [layer.const(self.bits - kind, width) for kind in self.kinds]
        amount = given[0]
        for k in range(1, len(self.kinds)):
            amount = _one_of(layer, [i for i, n in enumerate(self.stored) if n == self.kinds[k]]).mux(given[k], amount)
        return amount


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class EnqQuantizer(_Enq):
    """QE: a fixed-point value shifted right by what its layer leaves out.

    Ports: `value`, `layer` (the index); `code`, as wide as the layer that stores most. With amounts=ports the C shift
    amounts are inputs, so that one unit serves any network. A value that arrives in more than q_m bits is stored as
    the largest code if it is 2^q_m or more.

    Attributes:
        bits: of a fixed-point value (q_m).
        arriving: of a value at the input, `bits` if 0; VGG-16's reach 15000, which takes 14.
        layers: bits stored of each layer (E_i), separated by /.
        amounts: constant or ports.
    """

    arriving: int = 0
    name = "enq_quantizer"
    catalog = {
        "QE": "enq_quantizer:arriving=14",
        "QE, amounts at ports": "enq_quantizer:amounts=ports,arriving=14",
        "QE, values of 12 bits": "enq_quantizer",
    }

    def check(self) -> None:
        super().check()
        _check_arriving(self.name, self.arriving, self.bits)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"value": self.arriving or self.bits, "layer": self._index_bits, **self._amount_ports}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        value = values["value"]
        low = value[: self.bits]
        if value.width > self.bits:  # all ones before the shift are all ones of the layer's code after it
            low = low | rep(any_bit(value[self.bits :]), self.bits)
        return {"code": fit(shr(low, self._amount(values)), max(self.kinds))}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class EnqConverter(_Enq):
    """CE: a stored code shifted left to the fixed-point value it stands for. Ports and attributes as those of QE."""

    name = "enq_converter"
    catalog = {"CE": "enq_converter", "CE, amounts at ports": "enq_converter:amounts=ports"}

    def check(self) -> None:
        super().check()
        if self.bits > 64:
            raise ValueError(f"{self.name}: bits={self.bits}; a value has at most 64")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"code": max(self.kinds), "layer": self._index_bits, **self._amount_ports}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"value": shl(values["code"], self._amount(values), self.bits)}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class KnqQuantizer(Unit):
    """QK: a comparator for each centroid and a priority encoder: the last centroid that is not above the value.

    Ports: `value`, the centroids `d0`, `d1`, ... in rising order; `code`. Below d0 the code is 0.

    Attributes:
        bits: of a centroid.
        arriving: of a value at the input, `bits` if 0.
        codes: of how many centroids, a power of two.
    """

    bits: int = 12
    arriving: int = 0
    codes: int = 32
    name = "knq_quantizer"
    catalog = {"QK": "knq_quantizer"}

    def check(self) -> None:
        _check_codes(self.name, self.codes)
        _check_arriving(self.name, self.arriving, self.bits)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"value": self.arriving or self.bits, **_centroids(self.codes, self.bits)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        value, one = values["value"][: self.bits], values["value"].const(1, 1)
        reached = [add(value, ~values[f"d{k}"], carry=one)[-1] for k in range(1, self.codes)]  # value >= d
        code = encode(leading_one_hot(cat(one, *reached)))
        if values["value"].width > self.bits:  # above every centroid: the largest code
            code = code | rep(any_bit(values["value"][self.bits :]), code.width)
        return {"code": code}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class KnqConverter(Unit):
    """CK: a multiplexer that gives the centroid of a stored code. Ports `code`, `d0`, ...; `value`.

    Attributes:
        bits: of a fixed-point value.
        codes: how many centroids, a power of two.
    """

    bits: int = 12
    codes: int = 32
    name = "knq_converter"
    catalog = {"CK": "knq_converter"}

    def check(self) -> None:
        _check_codes(self.name, self.codes)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"code": self.codes.bit_length() - 1, **_centroids(self.codes, self.bits)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        level = [values[f"d{k}"] for k in range(self.codes)]
        for bit in values["code"]:
            level = [bit.mux(level[k + 1], level[k]) for k in range(0, len(level), 2)]
        return {"value": level[0]}


def _centroids(codes: int, bits: int) -> dict[str, int]:
    return {f"d{k}": bits for k in range(codes)}


def _check_codes(name: str, codes: int) -> None:
    if codes not in (2, 4, 8, 16, 32, 64, 128, 256):
        raise ValueError(f"{name}: codes={codes}; a power of two from 2 to 256")


def _check_arriving(name: str, arriving: int, bits: int) -> None:
    if arriving and not bits <= arriving <= 32:
        raise ValueError(f"{name}: arriving={arriving}; a value arrives in {bits} to 32 bits, 0 stands for {bits}")


def _one_of(index: Word, wanted: Sequence[int]) -> Any:
    """1 where the index is among the wanted ones."""
    hits = []
    for value in wanted:
        pattern = index.const(value, index.width)
        hits.append(~any_bit(index ^ pattern))
    return any_bit(cat(*hits)) if hits else index.const(0, 1)
