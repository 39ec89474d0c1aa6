"""Intra-layer nonuniform quantization, Table V: area and critical path of the conversion units, as ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carrysave.hardware.unit_cost import UnitCost, synthesize_units
from carrysave.hardware.units import UNITS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event


@dataclass(frozen=True)
class Printed:
    """A unit of Table V: area [um2] and critical path [ns] in TSMC's 90 nm."""

    name: str
    area_um2: float
    delay_ns: float
    spec: str
    built_in: str | None = None  # the same with the shift amounts of VGG-16 in place of inputs for them


UNITS_OF_TABLE = (
    Printed("QE", 776, 0.43, "enq_quantizer:amounts=ports,arriving=14", "enq_quantizer:arriving=14"),
    Printed("CE", 311, 0.25, "enq_converter:amounts=ports", "enq_converter"),
    Printed("QK", 7512, 0.65, "knq_quantizer:arriving=14"),
    Printed("CK", 4087, 0.31, "knq_converter"),
)
REFERENCE = UNITS_OF_TABLE[-1]
BESIDE = {"QE, values of 12 bits": "enq_quantizer:amounts=ports", "QK, values of 12 bits": "knq_quantizer"}
FACTOR = 1.5
_NOTES = (
    "The paper's 90 nm library is not public and its timing goal is not given: compare ratios to CK, the unit that is "
    "all multiplexer and leaves the least open. Areas are those of the smallest circuits, delays those of the fastest, "
    "whose areas stand beside.",
    "Inferred: stored values of 12 bits, 32 centroids as inputs, a layer index of 4 bits, C = 3 shift amounts (for 5, "
    "6 and 8 bits stored). A value arrives at QE and QK in 14 bits: Section III-A stores what is above 2^12 - 1 as the "
    "largest code, and Section IV has activations above 15000, which take 14. For CE nothing of the kind is needed. "
    "The rows with values of 12 bits show what it adds.",
    "Whether the C amounts that Figure 2's multiplexer chooses from are inputs is not said. For it: CK is as large as "
    "a multiplexer of 32 inputs, so the centroids, constants of VGG-16 as well, were inputs. Against it: the units are "
    "for VGG-16, and the three amounts need no memory. Both are shown; with inputs QE fits and CE does not, with the "
    "amounts built in CE's delay fits, its area is 2 % outside the factor (that of the fastest circuits is inside), "
    "and QE does not fit.",
    "Missed in either reading: the paper's CE is 2.5 times smaller and 1.7 times faster than its QE. The text "
    "describes the two alike, a decoder, a multiplexer and a shifter; what it adds to QE, the largest code for what is "
    "too large, takes 3 % (inputs) and 17 % (built in) here.",
)


@reproduction("nonuniform-table5", "Intra-layer nonuniform quantization, Table V: area and delay of QE, CE, QK, CK")
def nonuniform_table5(setting: Setting) -> Reproduction:
    """Area and critical path of the four conversion units, each circuit proved."""
    library = setting.library()

    def progress(done: int, total: int, name: str) -> None:
        setting.progress(Event("synthesis", name, done, total))

    built_in = {f"{unit.name}, built in": unit.built_in for unit in UNITS_OF_TABLE if unit.built_in}
    specs = {unit.name: unit.spec for unit in UNITS_OF_TABLE} | built_in | BESIDE
    found = synthesize_units([UNITS.parse(spec) for spec in specs.values()], library, progress=progress)
    costs = {name: entry.cost(1_000_000) for name, entry in zip(specs, found, strict=True)}
    rows = tuple(_row(name, costs) for name in costs)
    columns = (
        "unit", "area um2", "paper", "to CK", "paper ", "delay ps", "paper  ", "to CK ", "paper   ",
        "area um2 of the fastest", "to CK  ",
    )  # fmt: skip
    proofs = sorted({str(cost.proof) for cost in costs.values()})
    conditions = (("cells", costs[REFERENCE.name].source), ("proof", "; ".join(proofs)))
    source = "papers/intra_layer_nonuniform_quantization.txt, Table V"
    title = "Intra-layer nonuniform quantization, Table V"
    return Reproduction("nonuniform-table5", title, source, columns, rows, tuple(_checks(costs)), _NOTES, conditions)


def _printed(name: str) -> Printed | None:
    """The unit of the table that a row stands beside; of rows without a figure None."""
    return next((u for u in UNITS_OF_TABLE if name in (u.name, f"{u.name}, built in")), None)


def _row(name: str, costs: Mapping[str, UnitCost]) -> tuple[Cell, ...]:
    cost, base, unit = costs[name], costs[REFERENCE.name], _printed(name)
    area, delay = (unit.area_um2, 1000 * unit.delay_ns) if unit else (None, None)
    areas, delays = _papers_ratios(unit) if unit else (None, None)
    own_area, own_delay = cost.area_um2 / base.area_um2, cost.min_delay_ps / base.min_delay_ps
    fastest = _fastest_area(cost), _fastest_area(cost) / _fastest_area(base)
    return (name, cost.area_um2, area, own_area, areas, cost.min_delay_ps, delay, own_delay, delays, *fastest)


def _papers_ratios(unit: Printed) -> tuple[float, float]:
    return unit.area_um2 / REFERENCE.area_um2, unit.delay_ns / REFERENCE.delay_ns


def _fastest_area(cost: UnitCost) -> float:
    return cost.pareto[-1][0]


def _checks(costs: Mapping[str, UnitCost]) -> list[Check]:
    checks, base = [], costs[REFERENCE.name]
    for name, cost in costs.items():
        unit = _printed(name)
        if unit and unit is not REFERENCE:
            areas, delays = _papers_ratios(unit)
            for what, ours, papers in (
                ("area", cost.area_um2 / base.area_um2, areas),
                ("delay", cost.min_delay_ps / base.min_delay_ps, delays),
            ):
                text = f"{papers:.3f} within a factor of {FACTOR}"
                met = 1 / FACTOR <= ours / papers <= FACTOR
                checks.append(Check(f"{name}: {what} to CK's", ours, text, met))
    return checks
