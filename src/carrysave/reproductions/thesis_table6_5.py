"""Simplification thesis, Table 6.5: a layer of ten neurons with 8-bit multipliers and with reconfigurable ones."""

from __future__ import annotations

from dataclasses import dataclass

from carrysave.hardware.fpga import FAMILIES, FpgaCost, fpga_cost
from carrysave.hardware.units import UNITS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

FAMILY = "xcu"  # the thesis's KU115
NEURONS = 10
WORDS = 512  # weights of a neuron: at every width of the table in one 18K block, as the thesis's 5 BRAMs of 36K say
WITHOUT_DSPS = "8 bit, no DSPs"
_VECTORS = 200_000


@dataclass(frozen=True)
class Row:
    """A row of Table 6.5, or one beside it: how it is built here, and what the thesis prints of it."""

    name: str
    multiplier: str
    family: str = FAMILY
    luts: int | None = None
    ffs: int | None = None
    dsps: int | None = None
    brams: int | None = None
    mhz: float | None = None

    @property
    def with_dsps(self) -> bool:
        return "with DSPs" in self.name


ROWS = (
    Row("8 bit, with DSPs (7 series)", "native", "xc7", 238, 1015, 10, 5, 446.63),
    Row("8 bit, with DSPs (UltraScale)", "native"),
    Row(f"{WITHOUT_DSPS}: pairs of rows", "pairs", FAMILY, 1407, 1515, 0, 5, 355.11),
    Row(f"{WITHOUT_DSPS}: Booth rows", "booth"),
    Row(f"{WITHOUT_DSPS}: Yosys' own", "native"),
    Row("2-Add", "2add", FAMILY, 818, 1421, 0, 5, 464.11),
    Row("3-Add", "3add", FAMILY, 928, 1365, 0, 5, 415.15),
    Row("4-Add", "4add", FAMILY, 1179, 1385, 0, 5, 342.68),
)
ADDERS = ("2-Add", "3-Add", "4-Add")
_NOTES = (
    "A core of ten elements with one product a cycle: a register for the feature, a weight memory, the multiplier, a "
    "register for the product, 28 bits of accumulator, the ReLU, and the output register that is the converter from "
    f"parallel to serial. The thesis gives no widths and no depth; ours are 28 bits and {WORDS} weights. The scaling "
    "constant's multiplier is not counted: with it the thesis's first row had an eleventh DSP.",
    "The thesis's 8-bit row without DSPs has 117 LUTs per neuron more than its row with DSPs, its 2-, 3- and 4-Add "
    "rows 58, 69 and 94. An accumulator of 28 LUTs, which the DSP block holds otherwise, taken off, these are 30, 41 "
    "and 66 for the reconfigurable multipliers, as its Figure 6.8 and ours have them, and 89 for the 8-bit one, which "
    "is 59 in its Figure 6.8: there 4-Add saves nothing below 10 bits, here 16 % at 8. So the ratios owe as much to a "
    "generic multiplier of 89 LUTs as to the adders; ours are 57 (pairs of rows), 40 (Booth rows, the best form known) "
    "and 110 (what Yosys makes of `*`). With the first two the ratios are missed, and 4-Add is larger than 8 bits.",
    "With DSPs 27 LUTs of an element cut the sum at zero and hand it on, and 32 of the core control it; the "
    "thesis's 24 per neuron hold a sum of some 21 bits.",
    "Flip-flops are fewer here: features and controls are registered once per element, products in as many bits as "
    "they have. What the library of the thesis keeps in its 100 to 150 per neuron it does not say.",
    "Block memories by the widths of 6.7.2 (1, 2, 4, 9, 18 bits) are those of Table 6.7 where they matter: conv3's "
    "2,304 weights of 4 bits take one 18K block, of 8 bits two. By the same widths one would do in conv4 and conv5, "
    "and in conv2 at 4 bits, where the table has two.",
    "The thesis's MHz are after place and route. Ours are what cell delays alone would allow on a slower device "
    "(Artix-7 figures), routing and the way out of the block memory left out; DSP blocks have no delay here.",
    "Only of the 7 series does Yosys know how to put registers and accumulator into a DSP block; for UltraScale it "
    "places the multiplier alone.",
)


@reproduction("thesis-table6.5", "Simplification thesis, Table 6.5: one layer with 10 neurons")
def thesis_table6_5(setting: Setting) -> Reproduction:
    """LUTs, flip-flops, DSPs and block memories of the layer core, its parts proved where they have no DSPs."""
    costs: dict[str, FpgaCost] = {}
    for done, row in enumerate(ROWS, start=1):
        spec = f"layer_core:pes={NEURONS},words={WORDS},multiplier={row.multiplier},memory=block"
        unit = UNITS.parse(spec)
        costs[row.name] = fpga_cost(unit, row.family, dsps=row.with_dsps, vectors=_VECTORS)
        setting.progress(Event("synthesis", row.name, done, len(ROWS)))
    rows: list[tuple[Cell, ...]] = []
    for row in ROWS:
        counts, delay = costs[row.name].counts, costs[row.name].logic_delay_ps
        mhz = None if row.with_dsps else 1e6 / delay
        ours: list[Cell] = [counts.luts, counts.ffs, counts.dsps, counts.bram18 / 2, mhz]
        printed: list[Cell] = [row.luts, row.ffs, row.dsps, row.brams, row.mhz]
        rows.append((row.name, *(cell for pair in zip(ours, printed, strict=True) for cell in pair)))
    columns = (
        "method", "LUT", "paper", "FF", "paper ", "DSP", "paper  ", "BRAM (36K)", "paper   ", "MHz (logic alone)",
        "paper    ",
    )  # fmt: skip
    proofs = {str(part.proof) for cost in costs.values() for _, part in cost.parts if part.proof is not None}
    conditions = (
        ("flow", f"{costs[ROWS[2].name].source}; {FAMILIES['xc7']} where it says so"),
        ("proof", f"of each part by itself: {'; '.join(sorted(proofs))}; memories and elements with DSPs are not run"),
    )
    luts = {name: cost.counts.luts for name, cost in costs.items()}
    brams = [cost.counts.bram18 / 2 for cost in costs.values()]
    return Reproduction(
        "thesis-table6.5",
        "Simplification thesis, Table 6.5",
        "papers/simplification_thesis.txt, Table 6.5",
        columns,
        tuple(rows),
        tuple(checks(luts, brams, costs[ROWS[0].name].counts.dsps)),
        _NOTES,
        conditions,
    )


def checks(luts: dict[str, int], brams: list[float], dsps: int) -> list[Check]:
    """What is asked of the LUTs by method, of all block memories, and of the DSPs of the first row."""
    printed = {row.name: row.luts for row in ROWS if row.luts is not None}
    first, plain = ROWS[0].name, f"{WITHOUT_DSPS}: pairs of rows"
    found = [
        Check("DSPs of ten neurons", dsps, "10", dsps == NEURONS),
        Check("block memories (36K), all methods", max(brams), "5", set(brams) == {5.0}),
    ]
    for name in (first, *ADDERS):
        wanted = printed[name]
        text = f"{wanted} within 15 %"
        found.append(Check(f"{name}: LUTs", luts[name], text, abs(luts[name] / wanted - 1) <= 0.15))
    for form in ("pairs of rows", "Booth rows", "Yosys' own"):
        base, same = luts[f"{WITHOUT_DSPS}: {form}"], [first, *ADDERS]
        for name in ADDERS:
            ratio, wanted = luts[name] / base, printed[name] / printed[plain]
            text = f"{wanted:.3f} +- 0.1"
            found.append(Check(f"{name}: LUTs to those of 8 bit, {form}", ratio, text, abs(ratio - wanted) <= 0.1))
        ordered = [luts[name] for name in same] + [base]
        rising = sum(a < b for a, b in zip(ordered, ordered[1:], strict=False))
        text = "4: DSPs, 2-, 3-, 4-Add, 8 bit"
        found.append(Check(f"steps upwards in that order, 8 bit as {form}", rising, text, rising == 4))
    return found
