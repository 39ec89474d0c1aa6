"""Simplification thesis, Table 6.8: what a register after each level of adders does to the RCCMs' clock."""

from __future__ import annotations

from carrysave.hardware.fpga import fpga_costs
from carrysave.hardware.units import UNITS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

FAMILY = "xcu"  # the thesis's KU115
BITS = 9  # activations, as in section 6.7.1
PRINTED = {"2add": (447.43, 770.42), "3add": (483.09, 578.03), "4add": (342.82, 623.83)}  # MHz: original, pipelined
_CLOCK_TO_Q_PS = 303  # an unpipelined circuit stands between registers, too
_VECTORS = 1_000_000
_NOTES = (
    "The thesis's frequencies are after place and route, against a goal of 250 MHz; ours are what cell delays alone "
    "would allow on a slower device (Artix-7 figures), routing left out. Only the gain by pipelining compares.",
)


@reproduction("thesis-table6.8", "Simplification thesis, Table 6.8: RCCMs without and with pipeline registers")
def thesis_table6_8(setting: Setting) -> Reproduction:
    """LUTs, flip-flops and the bound that logic alone sets to the clock."""
    units = [
        UNITS.parse(f"rccm:{kind},n={BITS}" + (",pipelined=true" if piped else ""))
        for kind in PRINTED
        for piped in (False, True)
    ]

    def progress(done: int, total: int, spec: str) -> None:
        setting.progress(Event("synthesis", spec, done, total))

    costs = fpga_costs(units, FAMILY, dsps=False, vectors=_VECTORS, progress=progress)
    rows: list[tuple[Cell, ...]] = []
    checks = []
    for k, (kind, (original, pipelined)) in enumerate(PRINTED.items()):
        plain, piped = costs[2 * k : 2 * k + 2]
        bounds = 1e6 / (plain.logic_delay_ps + _CLOCK_TO_Q_PS), 1e6 / piped.logic_delay_ps
        gain, papers = bounds[1] / bounds[0], pipelined / original
        name = f"{kind[0]}-Add"
        rows.append((name, "original", plain.counts.luts, plain.counts.ffs, bounds[0], original, None, None))
        rows.append((name, "pipelined", piped.counts.luts, piped.counts.ffs, bounds[1], pipelined, gain, papers))
        checks.append(Check(f"{name}: gain by pipelining", gain, "above 1", gain > 1))
        extra = piped.counts.luts - plain.counts.luts
        checks.append(Check(f"{name}: LUTs that the registers cost", extra, "at most 1", extra <= 1))
    columns = ("circuit", "", "LUT", "FF", "MHz (logic alone)", "paper", "gain", "paper ")
    conditions = (("flow", costs[0].source), ("proof", "; ".join(sorted({str(cost.proof) for cost in costs}))))
    title, source = "Simplification thesis, Table 6.8", "papers/simplification_thesis.txt, Table 6.8"
    return Reproduction("thesis-table6.8", title, source, columns, tuple(rows), tuple(checks), _NOTES, conditions)
