"""Any multiplier as a unit, so that what is done with units can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.hardware.units.base import UNITS, Unit
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.registry import SpecError, nearest


@dataclass(frozen=True, kw_only=True)
class MultiplierUnit(Unit):
    """A multiplier with its ports a, b and p. It is named by the multiplier's own spec and not registered."""

    multiplier: Multiplier
    name = "multiplier"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": self.multiplier.a_bits, "b": self.multiplier.b_bits}

    @property
    def spec(self) -> str:
        return self.multiplier.spec

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"p": self.multiplier(values["a"], values["b"])}


def is_unit(spec: str) -> bool:
    """Whether a spec string names a unit that is no multiplier."""
    name = spec.strip().partition(":")[0]
    return name in UNITS.names() and name not in MULTIPLIERS.names()


def check_known(spec: str) -> None:
    """Raise SpecError with the nearest name unless a spec string names a unit or a multiplier."""
    name = spec.strip().partition(":")[0]
    known = [*UNITS.names(), *MULTIPLIERS.names()]
    if name not in known:
        raise SpecError(f"unknown unit or multiplier {name!r}{nearest(name, known)}; known: {', '.join(sorted(known))}")


def any_unit(spec: str) -> Unit:
    """The unit or multiplier of a spec string. Raises SpecError with the nearest name of either."""
    check_known(spec)
    return UNITS.parse(spec) if is_unit(spec) else MultiplierUnit(multiplier=MULTIPLIERS.parse(spec))
