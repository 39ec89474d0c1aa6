"""What each layer computes with: an arithmetic, and recipes that say which layer gets which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from carrysave.formats import FORMATS, Format
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.ranges import RANGES, RangeMethod

GRANULARITIES = ("tensor", "channel")


@dataclass(frozen=True)
class Arithmetic:
    """What one layer computes with. Strings are specs; the fields then hold the objects.

    Attributes:
        activation, weight: formats of the two operands. In a matmul of two activations the second is the "weight".
        multiplier: takes the activation's code first, the weight's second.
        ranges: how the range that the codes cover is found: "minmax", "percentile:p=99.9", "mse".
        weight_scales: one scale per "tensor" or per output "channel" (weights only; a matmul always has one).

    Raises:
        ValueError: if the formats' codes do not fit the multiplier's operands, with the way out.
    """

    activation: Format | str = "affine:bits=8"
    weight: Format | str = "affine:bits=8"
    multiplier: Multiplier | str = "exact"
    ranges: RangeMethod | str = "minmax"
    weight_scales: Literal["tensor", "channel"] = "tensor"

    def __post_init__(self) -> None:
        for field, registry in (
            ("activation", FORMATS),
            ("weight", FORMATS),
            ("multiplier", MULTIPLIERS),
            ("ranges", RANGES),
        ):
            object.__setattr__(self, field, registry.parse(getattr(self, field)))
        if self.weight_scales not in GRANULARITIES:
            raise ValueError(f"arithmetic: weight_scales={self.weight_scales!r}; it is 'tensor' or 'channel'")
        check_operands(*self.parts)

    @property
    def parts(self) -> tuple[Multiplier, Format, Format]:
        """Multiplier, activation format, weight format."""
        return self.multiplier, self.activation, self.weight  # type: ignore[return-value]

    @classmethod
    def natural(cls, multiplier: Multiplier | str) -> Arithmetic:
        """The usual formats for a multiplier: fixed if signed, else affine as wide as its operands, to 16 bits."""
        m: Multiplier = MULTIPLIERS.parse(multiplier)
        if m.signed:
            return cls(f"fixed:bits={m.a_bits}", f"fixed:bits={m.b_bits}", m)
        return cls(f"affine:bits={min(m.a_bits, 16)}", f"affine:bits={min(m.b_bits, 16)}", m)

    def __str__(self) -> str:
        multiplier, activation, weight = self.parts
        extra = "" if self.ranges == RANGES.parse("minmax") else f", {self.ranges}"
        extra += ", scales per channel" if self.weight_scales == "channel" else ""
        return f"{activation} x {weight}, {multiplier}{extra}"


@dataclass(frozen=True)
class Rule:
    """Layers whose name or class name matches `pattern` (fnmatch) get `arithmetic`; None leaves them float."""

    pattern: str
    arithmetic: Arithmetic | None

    def matches(self, name: str, kind: str) -> bool:
        return fnmatchcase(name, self.pattern) or fnmatchcase(kind, self.pattern)

    def names(self, name: str, kind: str) -> bool:
        """True if the pattern, free of wildcards, is this layer's very name or class name."""
        return self.pattern in (name, kind)


@dataclass(frozen=True)
class Recipe:
    """An ordered list of rules; the first that matches a layer decides, a layer that none matches stays float."""

    rules: tuple[Rule, ...]

    def __init__(self, rules: Iterable[Rule]):
        object.__setattr__(self, "rules", tuple(rules))

    def rule(self, name: str, kind: str) -> Rule | None:
        """The rule that decides about the layer `name` of class `kind`."""
        return next((rule for rule in self.rules if rule.matches(name, kind)), None)


def check_operands(multiplier: Multiplier, activation: Format, weight: Format) -> None:
    """Raises ValueError if a format has codes that are no operand of the multiplier."""
    for role, fmt, bits in (("activation", activation, multiplier.a_bits), ("weight", weight, multiplier.b_bits)):
        if multiplier.signed:
            low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        else:
            low, high = 0, (1 << bits) - 1
        smallest = 0 if fmt.sign_and_magnitude and not multiplier.signed else fmt.low
        if low <= smallest and fmt.high <= high:
            continue
        raise ValueError(
            f"{multiplier.spec}: the {role} format {fmt.spec} has codes {smallest} to {fmt.high}, but the multiplier"
            f" takes {'signed' if multiplier.signed else 'unsigned'} operands {low} to {high};"
            f" {_way_out(multiplier, fmt)}"
        )


def _way_out(multiplier: Multiplier, fmt: Format) -> str:
    if fmt.low < 0 and not multiplier.signed and not fmt.sign_and_magnitude:
        return f"use signed=true, or the format sign_magnitude:bits={fmt.bits}, or affine"
    if multiplier.signed and fmt.low == 0:
        return f"use the format fixed:bits={multiplier.a_bits}, or the multiplier without signed=true"
    return "use a format with fewer bits, or a larger n"
