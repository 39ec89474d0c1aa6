"""HEAM, Figure 4: area and power of the 8x8 multipliers at fixed frequencies; one that misses a clock is absent."""

from __future__ import annotations

from carrysave.hardware.activity import COUNT, toggling
from carrysave.hardware.clocks import at_clocks
from carrysave.multipliers import MULTIPLIERS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.reproductions.heam_designs import DESIGNS, scripts_progress, synthesize_designs
from carrysave.trials import Event

CLOCKS_GHZ = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_NOTES = (
    "A dash stands where no script and sizing meets the clock. The paper's figure is a drawing without printed values;"
    " its table at 3 GHz is reproduced by heam-table1.",
    "Our OU (L.3) meets 3 GHz, where the paper's, of 464 ps, does not: xc and yc are odd multiples of half a plane's"
    " width, so that its three products fold into one sum of few rows.",
)


@reproduction("heam-figure4", "HEAM, Figure 4: area and power of the 8x8 multipliers at fixed frequencies")
def heam_figure4(setting: Setting) -> Reproduction:
    """Area and power at seven clocks, under an input toggle rate of 0.1."""
    library = setting.library()
    syntheses = synthesize_designs(library, scripts_progress(setting))
    rows: list[tuple[Cell, ...]] = []
    curves: dict[str, list[tuple[float, float]]] = {}
    met: dict[str, list[float]] = {}
    for done, design in enumerate(DESIGNS, start=1):
        m = MULTIPLIERS.parse(design.spec)
        vectors = toggling({"a": m.a_bits, "b": m.b_bits})
        found = at_clocks(design.name, syntheses[design.name], CLOCKS_GHZ, [vectors], m=m)
        areas = [at.mapped.area_um2 if at.mapped else None for at in found]
        powers = [next(iter(at.power.values())).total_uw if at.power else None for at in found]
        rows.append((design.name, *areas, *powers))
        met[design.name] = [at.frequency_ghz for at in found if at.mapped]
        for what, values in (("area um2", areas), ("power uW", powers)):
            curves[f"{what}|{design.name}"] = [
                (clock, value) for clock, value in zip(CLOCKS_GHZ, values, strict=True) if value is not None
            ]
        setting.progress(Event("power", design.name, done, len(DESIGNS)))
    columns = ("design", *(f"um2 at {c:g} GHz" for c in CLOCKS_GHZ), *(f"uW at {c:g} GHz" for c in CLOCKS_GHZ))
    others = [max(clocks, default=0.0) for name, clocks in met.items() if name != "OU (L.3)"]
    check = Check(
        "OU (L.3) is the first to miss a clock: its highest",
        max(met["OU (L.3)"], default=0.0),
        f"below every other's ({min(others):g} GHz or more)",
        max(met["OU (L.3)"], default=0.0) < min(others),
    )
    conditions = (
        ("cells", f"{library.source}; Yosys and ABC, effort normal, no wires, 8.6 fF at each output for power"),
        ("activity", f"input toggle rate 0.1, {COUNT:,} vector pairs"),
    )
    title = "HEAM, Figure 4"
    return Reproduction(
        "heam-figure4", title, "papers/heam.txt, Figure 4", columns, tuple(rows), (check,), _NOTES, conditions, curves
    )
