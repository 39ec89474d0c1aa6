"""What a multiplier costs and errs, under one distribution of operands and in one flow; which of several is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from carrysave.methods.heam import prices
from carrysave.methods.heam.distribution import Distribution, Expected, Sampled, mean_square_product
from carrysave.methods.heam.exploring import Predicted
from carrysave.multipliers import Multiplier
from carrysave.multipliers.compressed import Compressed

if TYPE_CHECKING:
    from carrysave.hardware.activity import Vectors
    from carrysave.hardware.library import Library

_ROUNDING = 1e-6  # of E[(xy)^2]: a prediction and a measurement of one design differ by less

Progress = Callable[[str, int, int, str], None]


def silent(stage: str, done: int, total: int, name: str) -> None:
    """Progress of which nothing is shown."""


@dataclass(frozen=True)
class Designed:
    """A multiplier with what it costs, under one distribution of operands and in one flow.

    Attributes:
        label: "design", "HEAM" (published), "exact".
        error: E_d, equation 3, and the mean error.
        weighted: what was minimised: E_d, and the squared mean error times its weight; E_d alone where that is 0.
        area_um2: of the smallest circuit that meets the clock; None where none does, or synthesis was stopped.
        delay_ps: of the fastest circuit.
        power_uw: of the circuit whose area is given, at the clock, under these operands.
        predicted_um2: by the fitted prices; None for what is no design of the HEAM form.
        on_front: no other multiplier here is at least as good in error, area, delay and power and better in one.
    """

    label: str
    multiplier: Multiplier
    error: Expected
    weighted: float
    area_um2: float | None
    delay_ps: float | None
    power_uw: float | None
    power_error_uw: float | None
    predicted_um2: float | None
    on_front: bool = False

    @property
    def spec(self) -> str:
        return self.multiplier.spec

    @property
    def terms(self) -> int | None:
        """Compressed terms, those of single bits included."""
        return len(self.multiplier.design.terms) if isinstance(self.multiplier, Compressed) else None


def measured(
    named: Sequence[tuple[str, Multiplier, Predicted | None]],
    distribution: Distribution,
    library: Library | None,
    effort: str,
    frequency_ghz: float,
    progress: Progress,
    mean_weight: float = 0.0,
) -> tuple[list[Designed], bool, str]:
    """Figures of each multiplier, one after the other so that Ctrl-C keeps those done; whether it was stopped; the
    cells and the flow."""
    from carrysave.hardware.cells import compact_library

    cells, stopped = library or compact_library(), False
    rows: list[Designed] = []
    for done, (label, m, predicted) in enumerate(named):
        progress("synthesis", done, len(named), m.spec if label == "design" else label)
        row = _without_cost(label, m, predicted, distribution, mean_weight)
        try:
            rows.append(row if stopped else _with_cost(row, cells, effort, frequency_ghz, distribution))
        except KeyboardInterrupt:
            stopped = True
            rows.append(row)
    progress("synthesis", len(named), len(named), "")
    source = f"{cells.source}; Yosys and ABC, effort {effort}, unloaded outputs, no wires"
    return rows, stopped, source


def _without_cost(
    label: str, m: Multiplier, predicted: Predicted | None, distribution: Distribution, mean_weight: float
) -> Designed:
    error = distribution.error(unsigned(m)) if m.name != "exact" else Expected(0.0, 0.0, 0)
    same = not error.standard_error and not isinstance(distribution, Sampled)  # predicted over the pairs measured
    if predicted is not None and same:
        rounding = _ROUNDING * (1 + mean_weight) * mean_square_product(distribution)
        assert abs(error.weighted(mean_weight) - predicted.error) <= rounding, m.spec
    area = prices.fitted().area(m.design) if isinstance(m, Compressed) else None
    return Designed(label, m, error, error.weighted(mean_weight), None, None, None, None, area)


def _with_cost(
    row: Designed, cells: Library, effort: str, frequency_ghz: float, distribution: Distribution
) -> Designed:
    from carrysave.hardware.clocks import at_clocks
    from carrysave.hardware.synthesis import synthesize

    synthesis = synthesize(row.multiplier, cells, effort=effort)
    vectors = vectors_of(distribution, row.multiplier)
    (at,) = at_clocks(row.spec, [synthesis], [frequency_ghz], [vectors], m=row.multiplier)
    found = replace(row, delay_ps=synthesis.fastest.delay_ps)
    if at.mapped is None:
        return found
    power = at.power[vectors.label]
    return replace(
        found,
        area_um2=float(at.mapped.area_um2),
        power_uw=float(power.total_uw),
        power_error_uw=float(power.standard_error_uw),
    )


def vectors_of(distribution: Distribution, m: Multiplier, seed: int = 0) -> Vectors:
    """Pairs of operands drawn from the distribution, cycle by cycle, for the power of a circuit."""
    from carrysave.hardware.activity import COUNT, Vectors
    from carrysave.hardware.cost import OWN
    from carrysave.planes import PlaneWord

    drawn = [distribution.draw(COUNT, number) for number in (2 * seed, 2 * seed + 1)]
    before, after = ({"a": PlaneWord.from_ints(x, m.a_bits), "b": PlaneWord.from_ints(y, m.b_bits)} for x, y in drawn)
    return Vectors(OWN, before, after)


def unsigned(m: Multiplier) -> Multiplier:
    """The circuit inside a signed one, which multiplies magnitudes."""
    return replace(m, signed=False)


def marked(rows: Sequence[Designed]) -> list[Designed]:
    """Each with whether another one beats it."""

    def figures(row: Designed) -> tuple[float, ...]:
        values = (row.weighted, row.area_um2, row.delay_ps, row.power_uw)
        return tuple(float("inf") if value is None else value for value in values)

    def beaten(row: Designed) -> bool:
        own = figures(row)
        return any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in map(figures, rows)
        )

    return [replace(row, on_front=not beaten(row)) for row in rows]


def meets(row: Designed, max_error: float | None, max_area_um2: float | None) -> bool:
    return (max_error is None or row.weighted <= max_error) and (
        max_area_um2 is None or row.area_um2 is None or row.area_um2 <= max_area_um2
    )


def best(rows: Sequence[Designed], max_error: float | None, max_area_um2: float | None) -> Designed:
    made = [row for row in rows if row.label == "design" and row.area_um2 is not None]
    fitting = [row for row in made if meets(row, max_error, max_area_um2)]
    if not fitting:
        asked = [] if max_error is None else [f"an expected squared error of {max_error:g} or less"]
        asked += [] if max_area_um2 is None else [f"an area of {max_area_um2:g} um2 or less"]
        nearest = ", ".join(f"{row.area_um2:.2f} um2 with {row.weighted:.4g}" for row in made[:3])
        raise ValueError(f"no design has {' and '.join(asked)}; there are {nearest or 'none'}")
    if max_error is None:
        return min(fitting, key=lambda row: row.weighted)
    return min(fitting, key=lambda row: (row.area_um2 or 0.0, row.weighted))
