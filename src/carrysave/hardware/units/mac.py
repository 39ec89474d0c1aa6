"""Multiply-accumulate units: what a layer's inner loop costs in each arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import add, fit, sext, zext
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.floating import BFLOAT16, FLOAT16, FLOAT32, multiply, plus
from carrysave.multipliers import MULTIPLIERS, Multiplier

_WIDEST = 128  # bits of a sum: twice a product of 32-bit operands
_NARROW, _WIDE = "signed=true;form=baugh_wooley", "signed=true;form=booth"  # the smaller form of each width
FORMATS = {"float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FixedMac(Unit):
    """A sum plus a product of any multiplier, exactly added.

    Ports: `a`, `b`; combinational: `c` in, `y = c + a*b` out; with `registered` the sum is a register that `rst`
    clears: `y` is what was added up so far.

    Attributes:
        multiplier: a multiplier's spec string, with ; where it has commas: mitchell_w:w=6;n=16.
        accumulator: bits of the sum; 0 for those of a product.
        registered: whether the sum is kept.
    """

    multiplier: str = "exact"
    accumulator: int = 0
    registered: bool = False
    name = "mac"
    catalog = {
        "fixed 4": f"mac:multiplier=exact:n=4;{_NARROW}",
        "fixed 6": f"mac:multiplier=exact:n=6;{_NARROW}",
        "fixed 8": f"mac:multiplier=exact:{_WIDE}",
        "fixed 16": f"mac:multiplier=exact:n=16;{_WIDE}",
        "fixed 32": f"mac:multiplier=exact:n=32;{_WIDE}",
        "fixed 8, kept": f"mac:multiplier=exact:{_WIDE},accumulator=24,registered=true",
        "fixed 8 by magnitudes, kept": "mac:multiplier=exact:signed=true,accumulator=24,registered=true",
        "Mitch-w6, 16": "mac:multiplier=mitchell_w:w=6;n=16",
        "Mitch-w6, 32": "mac:multiplier=mitchell_w:w=6;n=32",
    }

    def check(self) -> None:
        bits = self.of.product_bits
        if self.accumulator and not bits <= self.accumulator <= _WIDEST:
            raise ValueError(
                f"mac: accumulator={self.accumulator}; a product of {self.of.spec} has {bits} bits, so a sum takes "
                f"{bits} to {_WIDEST}, and 0 stands for {bits}"
            )

    @property
    def of(self) -> Multiplier:
        """The multiplier."""
        return MULTIPLIERS.parse(self.multiplier.replace(";", ","))

    @property
    def bits(self) -> int:
        """Bits of the sum."""
        return self.accumulator or self.of.product_bits

    @property
    def inputs(self) -> Mapping[str, int]:
        operands = {"a": self.of.a_bits, "b": self.of.b_bits}
        return operands if self.registered else {**operands, "c": self.bits}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"sum": Register(self.bits, 0)} if self.registered else {}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        m = self.of
        product = m(values["a"], values["b"])
        addend = sext(product, self.bits) if m.signed else zext(product, self.bits)
        before = values["sum"] if self.registered else values["c"]
        total = fit(add(before, addend), self.bits)
        return {"y": before, "sum": total} if self.registered else {"y": total}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class FloatMac(Unit):
    """A product and a sum in floating point, each rounded to nearest even; subnormals, infinities and NaN as IEEE 754.

    Ports: `a`, `b` of the format, `c` and `y = c + a*b` of the accumulator's. A bfloat16 product is exact in float32.

    Attributes:
        format: float32, bfloat16 or float16.
        accumulator: the format of the product and the sum; that of the operands if not given.
    """

    format: Literal["float32", "bfloat16", "float16"] = "float32"
    accumulator: Literal["same", "float32"] = "same"
    name = "float_mac"
    positional = "format"
    catalog = {
        "FP32": "float_mac:float32",
        "bfloat16": "float_mac:bfloat16",
        "bfloat16, accumulated in 32 bits": "float_mac:bfloat16,accumulator=float32",
    }

    def check(self) -> None:
        if self.accumulator == "float32" and self.format == "float16":
            raise ValueError("float_mac: float16 has other exponents than float32; accumulate it in float16")

    @property
    def inputs(self) -> Mapping[str, int]:
        to = FORMATS[self.format if self.accumulator == "same" else self.accumulator]
        return {"a": FORMATS[self.format].width, "b": FORMATS[self.format].width, "c": to.width}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        to = FORMATS[self.format if self.accumulator == "same" else self.accumulator]
        return {"y": plus(multiply(values["a"], values["b"], FORMATS[self.format], to), values["c"], to)}
