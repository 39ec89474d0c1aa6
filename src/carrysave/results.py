"""What a study found, as typed rows: the data that the report, the figures and the terminal only draw."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from carrysave.evaluation import mcnemar
from carrysave.registry import nearest

if TYPE_CHECKING:
    import numpy as np

    from carrysave.multipliers import Multiplier

Kind = Literal["float", "exact", "multiplier", "recipe"]


@dataclass(frozen=True)
class Metric:
    """One figure of a row: its title, unit, decimals, whether less is better, and one line on what it means."""

    name: str
    title: str
    unit: str
    decimals: int
    less_is_better: bool
    meaning: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "Accuracy", "%", 2, False, "share of the test images classified correctly"),
        Metric("area_um2", "Area", "µm²", 1, True, "cell area of the smallest mapping of one multiplier"),
        Metric("delay_ps", "Shortest delay", "ps", 0, True, "critical path of the fastest mapping of one multiplier"),
        Metric(
            "power_uw", "Power, toggle rate 0.1", "µW", 1, True, "of one multiplier at the clock, input toggle rate 0.1"
        ),
        Metric(
            "energy_fj", "Energy per product", "fJ", 1, True, "one multiplication at the clock, this network's operands"
        ),
        Metric(
            "energy_nj", "Energy per inference", "nJ", 2, True, "of the multipliers only: products times their energy"
        ),
        Metric(
            "mean_absolute_error", "Mean |error|", "", 1, True, "mean |error| over all operand pairs, equally likely"
        ),
        Metric("own_mean_absolute_error", "Mean |error| here", "", 1, True, "the same, under this network's operands"),
    )
}


@dataclass(frozen=True)
class AccuracyFigure:
    """Correct answers of `total`, with the Wilson 95 % interval in percent."""

    correct: int
    total: int
    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.percent:.2f} % ({self.low:.2f}–{self.high:.2f})"


@dataclass(frozen=True)
class Paired:
    """Against exact arithmetic, image by image: `gained` are right only here, `lost` only with exact."""

    gained: int
    lost: int

    @property
    def p_value(self) -> float:
        """Of `mcnemar`: how likely so uneven a split is where neither is better."""
        return mcnemar(self.gained, self.lost)


@dataclass(frozen=True)
class Point:
    """One mapping of a multiplier: an ABC script's trade of area for delay."""

    area_um2: float
    delay_ps: float
    script: str


@dataclass(frozen=True)
class CostFigure:
    """A multiplier's mappings that no other beats in both area and delay, by rising area; and the source."""

    spec: str
    pareto: tuple[Point, ...]
    cells: int
    source: str

    @property
    def area_um2(self) -> float:
        return self.pareto[0].area_um2

    @property
    def delay_ps(self) -> float:
        return self.pareto[-1].delay_ps


@dataclass(frozen=True)
class PowerFigure:
    """Power of the smallest mapping of one multiplier that meets the clock, under one activity, one product a cycle.

    Attributes:
        activity: what the inputs do, such as "input toggle rate 0.1" or "this network's operands".
        area_um2, delay_ps, script: of that mapping, which the clock may make larger than the smallest of all.
        standard_error_uw: of the dynamic part, from the spread over `vectors` pairs of operands.
        area_parts, energy_parts: area [um2] and dynamic energy [fJ per product] by stage; `matched` is the share of
            gates recognised directly.
        path: the mapping's critical path: "start", "delay_ps", "steps".
    """

    activity: str
    frequency_ghz: float
    load_ff: float
    area_um2: float
    delay_ps: float
    script: str
    switching_uw: float
    internal_uw: float
    leakage_uw: float
    standard_error_uw: float
    vectors: int
    notes: tuple[str, ...]
    area_parts: Mapping[str, float]
    energy_parts: Mapping[str, float]
    matched: float
    path: Mapping[str, Any]

    @property
    def total_uw(self) -> float:
        return self.switching_uw + self.internal_uw + self.leakage_uw

    @property
    def energy_fj(self) -> float:
        """Energy of one product, the leakage of its cycle included."""
        return self.total_uw / self.frequency_ghz

    def __str__(self) -> str:
        error = f" ± {self.standard_error_uw:.2g}" if self.standard_error_uw else ""
        return f"{self.total_uw:.4g}{error} µW at {self.frequency_ghz:g} GHz, {self.activity}"


@dataclass(frozen=True)
class LayerPlan:
    """How one layer was emulated in one row."""

    layer: str
    kind: str
    multiplier: str
    engine: str
    rank: int | None
    text: str


@dataclass(frozen=True)
class Row:
    """One recipe of a study: what it reaches, what its multiplier costs, how wrong that multiplier is.

    Cost and error figures are None for float, and where not one multiplier computes every layer that multiplies; power
    figures also where no mapping meets the clock. `operands` are shares of the activation's and the weight's bit
    patterns over all layers, where they are few enough to draw. `left` are (name, why) of all modules left as they
    are, `stays_float` of those layers and functions among them that multiply, `uncosted` (multiplier, why) of those
    that could not be synthesised.
    """

    name: str
    kind: Kind
    multipliers: tuple[str, ...]
    accuracy: AccuracyFigure
    against_exact: Paired | None
    cost: CostFigure | None
    uniform: Mapping[str, float | None] | None
    own: Mapping[str, float | None] | None
    plans: tuple[LayerPlan, ...]
    left: tuple[tuple[str, str], ...]
    seconds: float
    power: PowerFigure | None = None
    own_power: PowerFigure | None = None
    macs: int = 0
    operands: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    stays_float: tuple[tuple[str, str], ...] = ()
    uncosted: tuple[tuple[str, str], ...] = ()

    @property
    def power_uw(self) -> float | None:
        """Under the input toggle rate 0.1."""
        return self.power.total_uw if self.power else None

    @property
    def energy_fj(self) -> float | None:
        """Per product, under this network's operands."""
        return self.own_power.energy_fj if self.own_power else None

    @property
    def energy_nj(self) -> float | None:
        """Per inference, multipliers only: all layers' products, each at the energy of the network's mean product."""
        return self.own_power.energy_fj * self.macs * 1e-6 if self.own_power else None

    def value(self, metric: str) -> float | None:
        """A figure of METRICS, None where this row has none. Raises ValueError for an unknown metric."""
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}{nearest(metric, METRICS)}; known: {', '.join(METRICS)}")
        if metric == "accuracy":
            return self.accuracy.percent
        if metric == "mean_absolute_error":
            return self.uniform["mean_absolute_error"] if self.uniform else None
        if metric == "own_mean_absolute_error":
            return self.own["mean_absolute_error"] if self.own else None
        if metric in ("power_uw", "energy_fj", "energy_nj"):
            return getattr(self, metric)
        return getattr(self.cost, metric) if self.cost else None

    @property
    def engines(self) -> tuple[str, ...]:
        """The distinct engines of the layers, in the layers' order."""
        return tuple(dict.fromkeys(plan.engine for plan in self.plans))


@dataclass(frozen=True)
class Layer:
    """A layer as calibrated: products per image, histograms of the codes that enter its multipliers."""

    name: str
    kind: str
    macs: int
    activation: tuple[float, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True)
class Ran:
    """One trial: what, how long it took, where, when (UTC), and whether it was kept from an earlier run."""

    kind: str
    name: str
    seconds: float
    machine: str
    made: str
    kept: bool


@dataclass(frozen=True)
class Pareto:
    """Rows that have both figures, and those of them that no other row beats in both."""

    results: Results
    x: str
    y: str
    points: tuple[Row, ...]
    front: tuple[Row, ...]

    def save(self, path: str | Path) -> Path:
        """The report with these axes (.html), or the plot alone (.png, .svg, .pdf)."""
        return self.results.save(path, x=self.x, y=self.y)


@dataclass(frozen=True)
class Results:
    """The table of a study's points, and what is needed to judge them."""

    title: str
    network: str
    data: str
    rows: tuple[Row, ...]
    layers: tuple[Layer, ...]
    ran: tuple[Ran, ...]
    sources: tuple[tuple[str, str], ...]
    multipliers: Mapping[str, Multiplier] = field(repr=False)
    seconds: float = 0.0
    frequency_ghz: float = 1.0

    @property
    def exact(self) -> Row:
        """The baseline that savings and paired counts refer to."""
        return next(row for row in self.rows if row.kind == "exact")

    def row(self, name: str) -> Row:
        """The row called `name`. Raises ValueError with the nearest name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"no row {name!r}{nearest(name, [row.name for row in self.rows])}")

    def saving_percent(self, row: Row, metric: str) -> float | None:
        """How much less than exact `row` needs, in percent; negative where it needs more."""
        own, exact = row.value(metric), self.exact.value(metric)
        return None if own is None or not exact else 100 * (1 - own / exact)

    def pareto(self, x: str = "area_um2", y: str = "accuracy") -> Pareto:
        """Rows over two metrics of METRICS, either way round, and the front among them."""
        points = [row for row in self.rows if row.value(x) is not None and row.value(y) is not None]
        return Pareto(self, x, y, tuple(points), tuple(_front(points, x, y)))

    def save(self, path: str | Path, *, x: str = "area_um2", y: str = "accuracy") -> Path:
        """Write the report (.html), the Pareto plot (.png, .svg, .pdf) or the rows (.json), by the name's ending."""
        from carrysave import report

        return report.save(self, Path(path), x=x, y=y)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        values = {
            key.name: _plain(getattr(self, key.name)) for key in dataclasses.fields(self) if key.name != "multipliers"
        }
        for row, record in zip(self.rows, values["rows"], strict=True):
            record["figures"] = {name: row.value(name) for name in METRICS}
            record["area_saving_percent"] = self.saving_percent(row, "area_um2")
            record["delay_saving_percent"] = self.saving_percent(row, "delay_ps")
            record["energy_saving_percent"] = self.saving_percent(row, "energy_nj")
            record["p_value"] = row.against_exact.p_value if row.against_exact else None
        return values


def _front(points: Iterable[Row], x: str, y: str) -> list[Row]:
    """Rows not dominated, along x; of rows equal in both the first stays."""

    def ranked(row: Row) -> tuple[float, float]:
        figures = [(row.value(metric) or 0.0) * (1 if METRICS[metric].less_is_better else -1) for metric in (x, y)]
        return figures[0], figures[1]

    front: list[Row] = []
    for row in sorted(points, key=ranked):
        if not front or ranked(row)[1] < ranked(front[-1])[1]:
            front.append(row)
    return front


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key.name: _plain(getattr(value, key.name)) for key in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def histogram(values: np.ndarray) -> tuple[float, ...]:
    """A histogram as shares that sum to 1 (all zero where it counts nothing)."""
    total = float(values.sum())
    return tuple(float(v) / total if total else 0.0 for v in values.reshape(-1))
