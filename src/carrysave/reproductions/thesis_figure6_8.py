"""Simplification thesis, Figure 6.8: LUTs of the reconfigurable multipliers and of a generic one, by input bits."""

from __future__ import annotations

import numpy as np

from carrysave.hardware.fpga import FpgaCost, fpga_costs
from carrysave.hardware.units import UNITS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

BITS = tuple(range(3, 17))
FAMILY = "xcu"  # the thesis's KU115
DESIGNS = {
    "2-Add": "rccm:2add",
    "3-Add": "rccm:3add",
    "4-Add": "rccm:4add",
    "generic, pairs of rows": "generic_multiplier:form=pairs",
    "generic, Booth rows": "generic_multiplier:form=booth",
    "generic, Yosys' own": "generic_multiplier:form=native",
}
SLOPES = {"2-Add": 2.0, "3-Add": 3.0, "4-Add": 4.0}  # LUT per bit, section 6.7.1
GENERIC_SLOPE = 7.4
SAVED = {"2-Add": 0.552, "3-Add": 0.328}  # of the generic multiplier's LUTs at 9 bits, section 6.7.1
AT = 9
_VECTORS = 1_000_000
_NOTES = (
    "The figure's points are not printed in the text; its growth per bit and its savings at 9 bits are. A generic "
    "multiplier of 67 LUTs at 9 bits (7.4 a bit) with those savings means 30 LUTs for 2-Add and 45 for 3-Add.",
    "Three generic multipliers, an unsigned input times an 8-bit two's complement weight: the textbook form, two rows "
    "of partial products to each adder (the thesis's generic multiplier grows like it); the best form known, one adder "
    "per radix-4 Booth digit, whose selection fits the adder's LUTs (six inputs a bit; Kumm, Abbas and Zipf, ARITH "
    "2015, reference [64] of the thesis); and what Yosys makes of `*`.",
    "Booth rows take 4 (n + 2) LUTs, 4 per bit, and change the thesis's conclusion: against them 2-Add always saves "
    "LUTs, 3-Add from 13 bits on, 4-Add never. The thesis holds them to be efficient from 16 bits on only (6.2.1), and "
    "compares with Xilinx' own multiplier; here they are the smallest from 3 bits on. What the RCCMs keep is the "
    "smaller weight memory (4 and 6 bits for 8) and fewer levels of adders.",
    "A pair of LUTs that feed one carry bit and have at most five inputs together counts once, as in the device "
    "(LUT6_2); topology B needs it. No place and route.",
)


@reproduction("thesis-figure6.8", "Simplification thesis, Figure 6.8: LUTs of the RCCMs and a generic multiplier")
def thesis_figure6_8(setting: Setting) -> Reproduction:
    """LUTs from 3 to 16 input bits, each netlist proved."""
    points = [(name, bits) for name in DESIGNS for bits in BITS]
    units = [UNITS.parse(f"{DESIGNS[name]},n={bits}") for name, bits in points]

    def progress(done: int, total: int, spec: str) -> None:
        setting.progress(Event("synthesis", spec, done, total))

    costs = fpga_costs(units, FAMILY, dsps=False, vectors=_VECTORS, progress=progress)
    found: dict[str, dict[int, FpgaCost]] = {name: {} for name in DESIGNS}
    for (name, bits), cost in zip(points, costs, strict=True):
        found[name][bits] = cost
    luts = {name: {bits: cost.counts.luts for bits, cost in row.items()} for name, row in found.items()}
    rows: list[tuple[Cell, ...]] = [(bits, *(luts[name][bits] for name in DESIGNS)) for bits in BITS]
    slopes = {name: float(np.polyfit(BITS, [row[b] for b in BITS], 1)[0]) for name, row in luts.items()}
    rows.append(("LUT per bit", *(round(slopes[name], 2) for name in DESIGNS)))
    rows.append(("thesis: LUT per bit", *SLOPES.values(), GENERIC_SLOPE, None, None))
    delays = {name: found[name][AT].logic_delay_ps / 1000 for name in DESIGNS}
    rows.append((f"logic delay estimate at {AT} bits, ns", *(round(delays[name], 2) for name in DESIGNS)))
    curves = {f"LUTs|{name}": [(float(b), float(n)) for b, n in row.items()] for name, row in luts.items()}
    proofs = {str(cost.proof) for row in found.values() for cost in row.values()}
    conditions = (
        ("flow", next(iter(found["2-Add"].values())).source),
        ("proof", "; ".join(sorted(proofs, key=len)[-1:]) + " at the widest; all inputs up to 20 bits together"),
    )
    return Reproduction(
        "thesis-figure6.8",
        "Simplification thesis, Figure 6.8",
        "papers/simplification_thesis.txt, Figure 6.8 and section 6.7.1",
        ("input bits", *DESIGNS),
        tuple(rows),
        tuple(_checks(luts, slopes)),
        _NOTES,
        conditions,
        curves,
        "input bits",
    )


def _checks(luts: dict[str, dict[int, int]], slopes: dict[str, float]) -> list[Check]:
    generic = luts["generic, pairs of rows"]
    checks = [
        Check(f"{name}: LUT per bit", slopes[name], f"{wanted:g}", abs(slopes[name] - wanted) < 0.05)
        for name, wanted in SLOPES.items()
    ]
    slope = slopes["generic, pairs of rows"]
    checks.append(Check("generic, pairs of rows: LUT per bit", slope, "6 to 7.4", 6 <= slope <= GENERIC_SLOPE))
    for name, wanted in SAVED.items():
        saved = 1 - luts[name][AT] / generic[AT]
        text = f"{wanted:.3f} +- 0.07"
        checks.append(Check(f"{name}: LUTs saved of the pairs' at {AT} bits", saved, text, abs(saved - wanted) < 0.07))
    for name in ("2-Add", "3-Add"):
        worst = max(luts[name][b] / generic[b] for b in BITS if b > 4)
        checks.append(Check(f"{name} to the pairs above 4 bits, at most", worst, "below 1", worst < 1))
    first = next((b for b in BITS if luts["4-Add"][b] < generic[b]), 0)
    checks.append(Check("4-Add is smaller than the pairs from this many bits on", first, "10", abs(first - 10) <= 1))
    booth = luts["generic, Booth rows"]
    for name, above in (("2-Add", 4), ("3-Add", 4), ("4-Add", 9)):  # the thesis's claims, against the best form known
        worst = max(luts[name][b] / booth[b] for b in BITS if b > above)
        checks.append(Check(f"{name} to the Booth rows above {above} bits, at most", worst, "below 1", worst < 1))
    return checks
