"""Intra-layer nonuniform quantization, Table V: area and critical path of the conversion units, as ratios."""

from __future__ import annotations

from dataclasses import dataclass

from carrysave.hardware.unit_cost import synthesize_units
from carrysave.hardware.units import UNITS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event


@dataclass(frozen=True)
class Printed:
    """A unit of Table V: area [um2] and critical path [ns] in TSMC's 90 nm."""

    name: str
    spec: str
    area_um2: float
    delay_ns: float


UNITS_OF_TABLE = (
    Printed("QE", "enq_quantizer:amounts=ports", 776, 0.43),
    Printed("CE", "enq_converter:amounts=ports", 311, 0.25),
    Printed("QK", "knq_quantizer", 7512, 0.65),
    Printed("CK", "knq_converter", 4087, 0.31),
)
CONSTANT = {"QE": "enq_quantizer", "CE": "enq_converter"}
REFERENCE = "CK"
_NOTES = (
    "The paper's 90 nm library is not public and its timing goal is not given: compare ratios to CK, the unit that is "
    "all multiplexer and leaves the least open. Areas are those of the smallest circuits, delays those of the fastest.",
    "Inferred: 12-bit values, 32 centroids and, in QE and CE, the C = 3 shift amounts as inputs, so that one unit "
    "serves any network; a layer index of 4 bits. Rows marked constant have the amounts of VGG-16 built in.",
    "Missed: the paper's CE is smaller and faster than its QE, as if only one of the two had its shift amounts at "
    "inputs or QE took values wider than it stores; the text says the same of both, and ours come out alike.",
)


@reproduction("nonuniform-table5", "Intra-layer nonuniform quantization, Table V: area and delay of QE, CE, QK, CK")
def nonuniform_table5(setting: Setting) -> Reproduction:
    """Area and critical path of the four conversion units, each circuit proved."""
    library = setting.library()

    def progress(done: int, total: int, name: str) -> None:
        setting.progress(Event("synthesis", name, done, total))

    specs = [unit.spec for unit in UNITS_OF_TABLE] + list(CONSTANT.values())
    found = synthesize_units([UNITS.parse(spec) for spec in specs], library, progress=progress)
    costs = {spec: entry.cost(1_000_000) for spec, entry in zip(specs, found, strict=True)}
    reference = next(unit for unit in UNITS_OF_TABLE if unit.name == REFERENCE)
    base = costs[reference.spec]
    rows: list[tuple[Cell, ...]] = []
    checks = []
    for unit in UNITS_OF_TABLE:
        cost = costs[unit.spec]
        areas = cost.area_um2 / base.area_um2, unit.area_um2 / reference.area_um2
        delays = cost.min_delay_ps / base.min_delay_ps, unit.delay_ns / reference.delay_ns
        rows.append((unit.name, cost.area_um2, unit.area_um2, *areas, cost.min_delay_ps, 1000 * unit.delay_ns, *delays))
        for what, (ours, papers) in (("area", areas), ("delay", delays)):
            if unit is not reference:
                text = f"{papers:.3f} within a factor of 1.5"
                checks.append(Check(f"{unit.name}: {what} to CK's", ours, text, 1 / 1.5 <= ours / papers <= 1.5))
    for name, spec in CONSTANT.items():
        cost = costs[spec]
        ratios = cost.area_um2 / base.area_um2, cost.min_delay_ps / base.min_delay_ps
        rows.append(
            (f"{name}, constant", cost.area_um2, None, ratios[0], None, cost.min_delay_ps, None, ratios[1], None)
        )
    columns = ("unit", "area um2", "paper", "area to CK", "paper ", "delay ps", "paper  ", "delay to CK", "paper   ")
    proofs = sorted({str(cost.proof) for cost in costs.values()})
    conditions = (("cells", base.source), ("proof", "; ".join(proofs)))
    source = "papers/intra_layer_nonuniform_quantization.txt, Table V"
    title = "Intra-layer nonuniform quantization, Table V"
    return Reproduction("nonuniform-table5", title, source, columns, tuple(rows), tuple(checks), _NOTES, conditions)
