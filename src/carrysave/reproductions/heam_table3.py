"""HEAM, Table III: area and power of three accelerator modules with nine 8x8 multipliers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from carrysave.hardware.assembled import synthesize_assemblies
from carrysave.hardware.assembled_cost import AssemblyAtClock, assembly_at_clock
from carrysave.hardware.flat import pieces
from carrysave.hardware.flops import plain_flops
from carrysave.hardware.library import Library
from carrysave.hardware.unit_cost import UnitSynthesis, synthesize_units
from carrysave.hardware.units.assembly import Assembly, Glue
from carrysave.hardware.units.base import Unit
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, ratio, reproduction
from carrysave.reproductions.heam_designs import DESIGNS
from carrysave.reproductions.heam_modules import LABEL, MODULES, Module, operation
from carrysave.trials import Event

EFFORT = "quick"
WITHIN = 0.1
_VECTORS, _WHOLE = 50_000, 1_024  # on which each part is run, and the sample's flat netlist
# um2 and mW, in the order of DESIGNS without OU (L.3), which the paper leaves out
_NAMES = tuple(d.name for d in DESIGNS if d.name != "OU (L.3)")
_AREA = {
    "TASU": (84726.74, 90209.57, 90568.82, 91023.57, 87283.42, 88737.03, 86294.51, 90011.99, 98573.89),
    "SC": (3462.40, 3709.50, 3698.00, 3683.87, 3581.05, 3546.40, 3569.24, 4258.61, 4831.81),
    "SA": (25508.38, None, 24473.36, 24858.45, 22839.51, None, 22105.41, 24926.97, None),
}
_POWER = {
    "TASU": (151.87, 157.60, 157.50, 158.49, 156.63, 154.27, 157.28, 157.37, 158.17),
    "SC": (17.06, 17.84, 17.69, 17.76, 17.60, 16.76, 17.75, 18.37, 18.26),
    "SA": (74.76, None, 82.38, 82.50, 81.52, None, 81.56, 83.06, None),
}
_COLUMNS = (
    "module", "multiplier", "clock GHz", "shortest period ps", "area um2", "paper", "/ exact", "paper ",
    "power mW", "paper  ", "/ exact ", "paper   ",
)  # fmt: skip
_DESIGNS = tuple(d for d in DESIGNS if d.name in _NAMES)
_NOTES = (
    "The paper gives neither circuits nor sizes. Sizes follow from the differences between its areas; the dataflow of "
    "SC, TASU and `SA, sums stay` is that which its authors published with a later paper (github.com/phyzhenli/AM, "
    "accelerators). SA is the weight-stationary array of the TPU that the paper cites; the published one keeps its "
    "sums in 32 bits three times over per element, and has no register between multiplier and adder.",
    "Where a module misses the paper's clock with some multiplier, all are compared once more at a clock that those "
    "meet which the paper shows. A flip-flop's delay and setup under the load of a multiplier's first gates take more "
    "than 100 ps of the period here: gates are sized before flip-flops are put in front of them, and registers are "
    "not moved into the multiplier. That is what a commercial flow does better.",
    "Products and sums are unsigned, as of affine codes. Weights are in flip-flops with a synchronous reset; TASU's "
    "memory for the sums between two image rows is outside. No clock tree, no wires: both add to the paper's totals.",
    "Clocks are lower than Table I's, so exact multipliers are not paid for with oversized gates, and Wallace's is as "
    "large as Dadda's. OU (L.1) is half as large here as in the paper's Table I (heam-table1: 0.35 of exact, printed "
    "0.78), and so it is in each module.",
    "Power falls further here than in the paper where multipliers are a large part of the module (SC, and the array "
    "whose sums stay). From Table I HEAM saves 23 fJ per cycle and multiplier, 3.7 mW in SC's 64 at 2.5 GHz; Table III "
    "prints 1.3 mW: operands toggle less in the paper's modules than at its multipliers, by an activity that is not "
    "given. The paper's area of SA with HEAM is above exact's, against its own Table I; ours follow the multipliers.",
)


@dataclass(frozen=True)
class Part:
    """One different part of a module: how often it stands there, area [um2] and power [mW] of all together."""

    spec: str
    count: int
    area_um2: float
    power_mw: float


@dataclass(frozen=True)
class Row:
    """One module with one multiplier at one clock; without parts where it misses the clock."""

    module: Module
    multiplier: str
    clock_ghz: float
    period_ps: float | None
    parts: tuple[Part, ...] = ()
    load_mw: float = 0.0

    @property
    def area_um2(self) -> float | None:
        return sum(part.area_um2 for part in self.parts) or None

    @property
    def power_mw(self) -> float | None:
        return sum(part.power_mw for part in self.parts) + self.load_mw if self.parts else None


@reproduction("heam-table3", "HEAM, Table III: area and power of three accelerator modules with nine multipliers")
def heam_table3(setting: Setting) -> Reproduction:
    """Every module with every multiplier at the paper's clock, and where one misses it, at one that all meet."""
    library = setting.library()
    return table_of([row for module in MODULES for row in rows_of(module, library, setting)], library)


def rows_of(module: Module, library: Library, setting: Setting) -> list[Row]:
    """One module with every multiplier."""

    def progress(done: int, total: int, name: str) -> None:
        setting.progress(Event("synthesis", f"{module.name}: {name}", done, total))

    specs = [design.specs[0].replace(",", ";") for design in _DESIGNS]
    made = synthesize_assemblies([module.sample(spec) for spec in specs], library, EFFORT, progress=progress)

    others = _leaves(module.whole("exact")).keys() - _leaves(module.sample("exact")).keys()
    apart = synthesize_units(others, library, EFFORT)

    def at(clock_ghz: float) -> list[Row]:
        rows = []
        alone = [_alone(unit, clock_ghz) for unit in apart]
        for done, (design, spec, synthesis) in enumerate(zip(_DESIGNS, specs, made, strict=True), start=1):
            found = assembly_at_clock(
                synthesis, clock_ghz, [operation(module, synthesis.assembly)], vectors=_VECTORS, whole_vectors=_WHOLE
            )
            rows.append(_scaled(module, design.name, module.whole(spec), synthesis.assembly, found, alone))
            setting.progress(Event("power", f"{module.name}, {design.name}, {clock_ghz:g} GHz", done, len(_DESIGNS)))
        return rows

    rows = at(module.clock_ghz)
    return rows if all(row.parts for row in rows) else rows + at(module.lower_ghz)


def _leaves(assembly: Assembly) -> dict[Unit, int]:
    """How often each part stands in an assembly, its wiring left out."""
    return {unit: count for unit, count in pieces(assembly).items() if not isinstance(unit, Glue)}


@lru_cache
def _output_bits(assembly: Assembly) -> int:
    return sum(assembly.outputs.values())


def _alone(synthesis: UnitSynthesis, clock_ghz: float) -> Part:
    """One part that is not in the sample, under an input toggle rate of 0.1.

    Raises ValueError if it misses the clock.
    """
    at = synthesis.at_clock(clock_ghz, vectors=_VECTORS)
    if at.mapped is None:
        raise ValueError(f"{at.design}: no circuit meets {clock_ghz:g} GHz")
    (power,) = at.power.values()
    return Part(at.design, 1, at.mapped.area_um2, power.total_uw / 1000)


def _scaled(
    module: Module, name: str, whole: Assembly, sample: Assembly, found: AssemblyAtClock, alone: Sequence[Part] = ()
) -> Row:
    """The whole, of the sample's parts: as many as it has; of wiring, in proportion to its parts."""
    if not found.met:
        return Row(module, name, found.frequency_ghz, found.period_ps)
    counts = {unit.spec: count for unit, count in _leaves(whole).items()}
    wiring = {unit.spec for unit in pieces(sample) if isinstance(unit, Glue)}
    larger = sum(counts.values()) / sum(_leaves(sample).values())
    parts, spent = [], 0.0
    for piece in found.pieces:
        power = piece.power[LABEL].total_uw / 1000
        spent += piece.count * power
        count = piece.count * larger if piece.spec in wiring else counts.get(piece.spec, 0)
        parts.append(Part(piece.spec, round(count), count * piece.area_um2, count * power))
    parts += [Part(p.spec, n := counts[p.spec], n * p.area_um2, n * p.power_mw) for p in alone]
    load = found.power[LABEL].total_uw / 1000 - spent
    outputs = _output_bits(module.whole("exact")) / _output_bits(module.sample("exact"))
    return Row(module, name, found.frequency_ghz, found.period_ps, tuple(parts), load * outputs)


def table_of(rows: Sequence[Row], library: Library) -> Reproduction:
    """The table of all modules' rows."""
    conditions = (
        ("cells", f"{library.source}; Yosys and ABC, effort {EFFORT}, no wires, 8.6 fF at each output for power"),
        ("activity", f"{LABEL}, control in its rhythm, weights that stay in registers at random; no glitches"),
        ("multipliers", "exact and all others with one structure: Dadda tree, Sklansky adder; Wallace: its own tree"),
        (
            "sizes",
            "timed flat and simulated: TASU's control with one channel of one filter, 4x2 elements of SC and of SA, "
            "2x2 of the array whose sums stay, all with the whole's parts; area and power of each times its count in "
            "the whole. TASU's sums over channels stand alone, under an input toggle rate of 0.1",
        ),
        (
            "proof",
            f"each part on {_VECTORS:,} vectors or more and by SAT as far as that decides; the wiring on its own",
        ),
    )
    return Reproduction(
        "heam-table3",
        "HEAM, Table III",
        "papers/heam.txt, Table III",
        _COLUMNS,
        tuple(_cells(row, rows) for row in rows),
        tuple(_checks(rows)),
        (*_NOTES, *(_anatomy(module, rows, library) for module in MODULES)),
        conditions,
    )


# ---------------------------------------------------------------- the table


def _printed(module: Module, name: str) -> tuple[float | None, float | None]:
    """The paper's area [um2] and power [mW]."""
    if name not in _NAMES:
        return None, None
    k = _NAMES.index(name)
    return _AREA[module.printed][k], _POWER[module.printed][k]


def _ratios(row: Row, rows: Sequence[Row]) -> list[tuple[float | None, float | None]]:
    """(ours, the paper's) to exact: of area, of power."""
    key = (row.module, "Exact", row.clock_ghz)
    (exact,) = (r for r in rows if (r.module, r.multiplier, r.clock_ghz) == key)
    ours = ((row.area_um2, exact.area_um2), (row.power_mw, exact.power_mw))
    papers = zip(_printed(row.module, row.multiplier), _printed(row.module, "Exact"), strict=True)
    return [(ratio(*mine), ratio(*theirs)) for mine, theirs in zip(ours, papers, strict=True)]


def _cells(row: Row, rows: Sequence[Row]) -> tuple[Cell, ...]:
    same_clock = row.clock_ghz == row.module.clock_ghz
    area, power = _printed(row.module, row.multiplier) if same_clock else (None, None)
    of_area, of_power = _ratios(row, rows)
    return (
        row.module.name, row.multiplier, row.clock_ghz, row.period_ps, row.area_um2, area, *of_area,
        row.power_mw, power, *of_power,
    )  # fmt: skip


def _checks(rows: Sequence[Row]) -> Iterator[Check]:
    for row in rows:
        if row.multiplier == "Exact":
            continue
        for what, (ours, papers) in zip(("area", "power"), _ratios(row, rows), strict=True):
            if ours is None or papers is None or (what, row.module.printed) == ("area", "SA"):
                continue
            where = f"{row.module.name}, {row.multiplier}, {row.clock_ghz:g} GHz"
            yield Check(f"{where}: {what} / exact", ours, f"{papers:.3f} +- {WITHIN:g}", abs(ours - papers) <= WITHIN)


def _anatomy(module: Module, rows: Sequence[Row], library: Library) -> str:
    """Where area and power go with exact multipliers, in words."""
    exact = [row for row in rows if row.module == module and row.multiplier == "Exact"][-1]
    area, power = exact.area_um2, exact.power_mw
    if area is None or power is None:
        return f"{module.name}: no circuit with exact multipliers meets {exact.clock_ghz:g} GHz."
    bits = sum(register.width for register in module.whole("exact").registers.values())
    flop = min(cell.area_um2 for cell in plain_flops(library))
    largest = sorted((part for part in exact.parts if part.area_um2), key=lambda part: -part.area_um2)[:6]
    listed = "; ".join(
        f"{part.count:,} {part.spec} {100 * part.area_um2 / area:.1f} % and {100 * part.power_mw / power:.1f} %"
        for part in largest
    )
    (element,) = (part for part in exact.parts if part.spec.split(":")[0] == module.element)
    printed = _printed(module, "Exact")[0]
    assert printed is not None
    return (
        f"{module.name} with exact at {exact.clock_ghz:g} GHz: {area:.0f} um2, {area / printed:.2f} of the paper's "
        f"{printed:.0f}. {bits:,} flip-flops are at least {100 * bits * flop / area:.0f} % of the area. Area and power "
        f"by part: {listed}. An element ({module.element}) has {element.area_um2 / element.count:.1f} um2, multiplier "
        "included."
    )
