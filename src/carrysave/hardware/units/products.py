"""What the accelerator modules share: any unsigned multiplier as a parameter, the width of a sum, a cycle of delay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.multipliers import MULTIPLIERS, Multiplier


@lru_cache
def unsigned_multiplier(unit: str, spec: str) -> Multiplier:
    """The multiplier of a spec string, with ; where it has commas. Raises ValueError for a signed one."""
    m = MULTIPLIERS.parse(spec.replace(";", ","))
    if m.signed:
        raise ValueError(f"{unit}: multiplier={spec} is signed; the module adds unsigned products, as of affine codes")
    return m


def sum_bits(m: Multiplier, terms: int) -> int:
    """Bits that a sum of so many products needs, whatever the multiplier makes of them."""
    return (terms * ((1 << m.product_bits) - 1)).bit_length()


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Delay(Unit):
    """One cycle: `y` is the `x` of the cycle before, 0 after a reset.

    Attributes:
        n: bits.
    """

    n: int = 8
    name = "delay"
    positional = "n"

    def check(self) -> None:
        if not 1 <= self.n <= 1024:
            raise ValueError(f"delay: n={self.n} bits; 1 to 1024")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"held": Register(self.n, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"y": values["held"], "held": values["x"]}
