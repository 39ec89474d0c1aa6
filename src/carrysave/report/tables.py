"""The report's tables as typed rows: everything it says, without a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.results import Metric, Results, Row

TOLERANCE = 0.5  # points of accuracy that the conclusion lets a multiplier lose
NOTICEABLE = 0.05  # a paired difference with a larger p value may be chance


def number(value: float | None, decimals: int = 1, sign: bool = False) -> str:
    """Figure with a thin space between thousands and a real minus sign, "–" where there is none."""
    if value is None:
        return "–"
    text = f"{value:{'+' if sign else ''},.{decimals}f}".replace(",", "\u202f").replace("-", "−")
    return text.lstrip("+−") if float(f"{abs(value):.{decimals}f}") == 0 else text


PARTS = {
    "inputs": "operand inputs",
    "terms": "terms (partial products)",
    "reduction": "reduction",
    "final adder": "final adder",
    "outside load": "load outside",
}  # of a circuit, in the order of the data's way


def metric_title(metric: Metric, frequency_ghz: float) -> str:
    """The metric's title, with the clock where it depends on one."""
    clocked = metric.name in ("power_uw", "energy_fj", "energy_nj")
    return f"{metric.title}, {frequency_ghz:g} GHz" if clocked else metric.title


def in_order(parts: Mapping[str, float]) -> list[str]:
    """The names of `parts`, as PARTS orders them."""
    return [part for part in PARTS if part in parts]


def short_cell(name: str) -> str:
    """A cell's name without what all cells of its library end with: NAND2xp5_ASAP7_75t_R is NAND2xp5."""
    return name.removeprefix("sky130_fd_sc_hd__").partition("_ASAP7")[0]


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class SummaryRow:
    """One line of the main table: `points` of accuracy against exact, savings in percent of exact's figure."""

    name: str
    kind: str
    percent: float
    low: float
    high: float
    points: float | None
    gained: int | None
    lost: int | None
    p_value: float | None
    area_um2: float | None
    area_saving: float | None
    delay_ps: float | None
    delay_saving: float | None
    power_uw: float | None
    energy_nj: float | None
    energy_saving: float | None
    mean_error: float | None
    mean_absolute_error: float | None
    own_mean_error: float | None
    own_mean_absolute_error: float | None
    mred: float | None
    worst_case: float | None
    engines: str
    on_front: bool
    tolerated: bool

    @property
    def difference(self) -> str:
        """What the paired counts say about `points`."""
        if self.points is None or self.gained is None or self.p_value is None:
            return ""
        if not self.gained and not self.lost:
            return "same answers"
        return f"{self.gained} gained, {self.lost} lost"

    @property
    def may_be_chance(self) -> bool:
        """The images answered differently do not tell this row from exact (McNemar)."""
        return self.p_value is not None and self.p_value >= NOTICEABLE


def summary(results: Results, tolerance: float = TOLERANCE) -> list[SummaryRow]:
    """The main table: float first, exact second, the rest as the study lists them."""
    front = {row.name for row in results.pareto("area_um2", "accuracy").front}
    order = {"float": 0, "exact": 1}
    rows = sorted(results.rows, key=lambda row: order.get(row.kind, 2))
    return [_summary_row(results, row, row.name in front, tolerance) for row in rows]


def _summary_row(results: Results, row: Row, on_front: bool, tolerance: float) -> SummaryRow:
    paired, exact = row.against_exact, results.exact
    uniform, own = row.uniform or {}, row.own or {}
    points = None if row.kind == "exact" else row.accuracy.percent - exact.accuracy.percent
    return SummaryRow(
        name=row.name,
        kind=row.kind,
        percent=row.accuracy.percent,
        low=row.accuracy.low,
        high=row.accuracy.high,
        points=points,
        gained=paired.gained if paired else None,
        lost=paired.lost if paired else None,
        p_value=paired.p_value if paired else None,
        area_um2=row.value("area_um2"),
        area_saving=results.saving_percent(row, "area_um2"),
        delay_ps=row.value("delay_ps"),
        delay_saving=results.saving_percent(row, "delay_ps"),
        power_uw=row.power_uw,
        energy_nj=row.energy_nj,
        energy_saving=results.saving_percent(row, "energy_nj"),
        mean_error=uniform.get("mean_error"),
        mean_absolute_error=uniform.get("mean_absolute_error"),
        own_mean_error=own.get("mean_error"),
        own_mean_absolute_error=own.get("mean_absolute_error"),
        mred=uniform.get("mred"),
        worst_case=uniform.get("worst_case"),
        engines=", ".join(dict.fromkeys(_short(plan) for plan in row.plans)),
        on_front=on_front,
        tolerated=row.kind != "float" and round(points or 0.0, 2) >= -tolerance,  # as the table prints it
    )


def conclusion(results: Results, tolerance: float = TOLERANCE) -> str:
    """One sentence: which multiplier saves most area and still loses at most `tolerance` points against exact.

    Where layers that multiply stay float even with exact multipliers, it says so and claims nothing.
    """
    smaller = [row for row in summary(results, tolerance) if row.kind in ("multiplier", "recipe") and _saves(row)]
    exact = results.exact.accuracy
    if results.exact.stays_float:
        return _no_claim(results)
    if results.exact.cost is None:
        return f"No saving can be stated: {results.exact.name} has no cost to compare with."
    tried = [row for row in results.rows if row.kind in ("multiplier", "recipe")]
    if tried and not any(row.cost for row in tried):
        return f"No saving can be stated: no candidate has a cost to compare with {results.exact.name}'s."
    if not smaller:
        return f"Nothing compared here is smaller than exact, which reaches {exact.percent:.2f}\u00a0%."
    good = [row for row in smaller if row.tolerated]
    if not good:
        best = max(smaller, key=lambda row: row.percent)
        return (
            f"Nothing smaller than exact stays within {tolerance:g} points of its {exact.percent:.2f}\u00a0%; "
            f"the closest, {best.name}, saves {best.area_saving:.0f}\u00a0% of the area "
            f"and loses {-(best.points or 0):.2f} points."
        )
    best = max(good, key=lambda row: (row.area_saving or 0.0, row.percent))
    return (
        f"{best.name} saves {best.area_saving:.0f}\u00a0% of an exact multiplier's area and "
        f"{_change(best)}: {best.percent:.2f}\u00a0% against {exact.percent:.2f}\u00a0% "
        f"on {exact.total:,} images{_doubt(best)}."
    )


def _no_claim(results: Results) -> str:
    names = [name or "the model itself" for name, _ in results.exact.stays_float]
    which = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    verb = "stays" if len(names) == 1 else "stay"
    return (
        f"No saving can be claimed for {results.network}: {plural(len(names), 'layer')} that multiplies {verb} float "
        f"({which}), so the accuracies here are of a network that is emulated only in part."
    ).replace("layers that multiplies", "layers that multiply")


def remarks(results: Results) -> list[str]:
    """What limits the rows: layers that multiply and stay float, with the reason and the rows; missing costs."""
    rows = [row for row in results.rows if row.kind != "float"]
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, why in row.stays_float:
            found.setdefault(f"{name or 'The model itself'} stays float: {why}", []).append(row.name)
        for spec, why in row.uncosted:
            found.setdefault(f"{spec} has no cost: {why.removeprefix(f'{spec}: ')}", [])
    return [
        text if not names or len(names) == len(rows) else f"{text} (in {', '.join(names)})"
        for text, names in found.items()
    ]


def _saves(row: SummaryRow) -> bool:
    return row.area_saving is not None and row.area_saving > 0


def _change(row: SummaryRow) -> str:
    points = round(row.points or 0.0, 2)
    if points == 0:
        return "keeps the accuracy"
    unit = "point" if abs(points) == 1 else "points"
    return f"{'loses' if points < 0 else 'gains'} {abs(points):.2f} {unit} of accuracy"


def _doubt(row: SummaryRow) -> str:
    if not row.points or row.p_value is None or row.p_value < NOTICEABLE:
        return ""
    return ", a difference these images cannot tell from chance"


def overview(results: Results, tolerance: float = TOLERANCE) -> str:
    """The second sentence: how many were tried and tolerated, and what the number format alone costs."""
    tried = [row for row in summary(results, tolerance) if row.kind in ("multiplier", "recipe")]
    kept = sum(row.tolerated for row in tried)
    stay = "stays" if kept == 1 else "stay"
    text = f"Of {plural(len(tried), 'approximate candidate')} {kept} {stay} within {tolerance:g} points of exact."
    floats = [row for row in results.rows if row.kind == "float"]
    if floats:
        lost = round(floats[0].accuracy.percent - results.exact.accuracy.percent, 2)
        change = f"{'costs' if lost > 0 else 'gains'} {abs(lost):.2f} points" if lost else "changes nothing"
        text += f" The number format alone (exact multipliers) {change}"
        text += f" against float's {floats[0].accuracy.percent:.2f}\u00a0%."
    return text


@dataclass(frozen=True)
class PlanRow:
    """How each layer of one row was emulated; `cells` are (short text, whole plan) in the order of the layers."""

    name: str
    cells: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]


def plan_table(results: Results) -> tuple[list[str], list[PlanRow]]:
    """Layer names, and a row of plans per recipe (float has none)."""
    rows = [row for row in results.rows if row.plans]
    layers = list(dict.fromkeys(plan.layer for row in rows for plan in row.plans))
    table = []
    for row in rows:
        plans = {plan.layer: plan for plan in row.plans}
        cells = tuple(
            (_short(plans[layer]), plans[layer].text) if layer in plans else ("float", "") for layer in layers
        )
        table.append(PlanRow(row.name, cells, row.left))
    return layers, table


def _short(plan: Any) -> str:
    return f"{plan.engine}\u00a0×{plan.rank}" if plan.engine == "factored" and plan.rank is not None else plan.engine


@dataclass(frozen=True)
class TradeOff:
    """A multiplier's mappings for the area-delay plot."""

    name: str
    area_um2: tuple[float, ...]
    delay_ps: tuple[float, ...]
    scripts: tuple[str, ...]


def trade_offs(results: Results) -> list[TradeOff]:
    """Each multiplier once, the rows' order."""
    costs = {row.cost.spec: row.cost for row in results.rows if row.cost}
    return [
        TradeOff(
            spec,
            tuple(p.area_um2 for p in cost.pareto),
            tuple(p.delay_ps for p in cost.pareto),
            tuple(p.script for p in cost.pareto),
        )
        for spec, cost in costs.items()
    ]


def times(results: Results) -> list[tuple[str, int, int, float]]:
    """Per kind of trial: kind, how many, how many of them kept from earlier runs, seconds of computing in all."""
    kinds = dict.fromkeys(ran.kind for ran in results.ran)
    groups = [(kind, [ran for ran in results.ran if ran.kind == kind]) for kind in kinds]
    return [(kind, len(g), sum(ran.kept for ran in g), sum(ran.seconds for ran in g)) for kind, g in groups]
