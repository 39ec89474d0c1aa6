"""Simplification thesis, Figure 2.8: the average cost of a MAC on an FPGA at different bit widths."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import numpy as np

from carrysave.hardware.fpga import fpga_cost
from carrysave.hardware.units import UNITS
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

FAMILY = "xc7"  # of which Yosys can use a DSP block's adder
PRECISIONS = ((1, 1), (1, 2), (2, 2), (1, 4), (2, 4), (1, 8), (2, 8), (4, 4), (4, 8), (8, 8), (16, 16), (32, 32))
SUMMED = 4096  # products that an accumulator holds without overflow
_VECTORS = 200_000
_NOTES = (
    "The figure's bars are not printed in the text; what the text says of them is checked. Which MAC modules were "
    "instantiated, the accumulator's width, and whether the first figure of a label, the weight, is signed, it does "
    f"not say. Ours: the sum of so many products and an accumulator that takes {SUMMED} of them without overflow, by "
    "the number of products, the accumulator's addition included. Activations are unsigned; weights of one bit are "
    "+1 and -1, of two bits ternary, others two's complement; 1-1 counts signs that agree.",
    "With DSPs allowed a DSP block multiplies and adds: the 25 by 18 bits of the 7 series, of which alone Yosys knows "
    "how to use the adder too. It leaves 4 bits by 4 in LUTs; where it uses no DSP, the LUTs are those without DSPs. "
    "These are Booth rows: half an adder per bit of the weight.",
    "A product's LUTs grow as k^2 / 2, the additions of the sum and the accumulator as k: up to 8 bits these hold the "
    "power of k down (1.5 from 4 to 8 bits, 1.8 from 16 to 32), so that it is missed.",
    "Float32 rounds product and sum, each to nearest even, with subnormals; one MAC, no average. Its shifters and "
    "rounding, not its product, take most of the LUTs.",
)


@dataclass(frozen=True)
class Point:
    """One bar: LUTs and DSPs of a MAC, DSPs allowed or not."""

    label: str
    lanes: int
    accumulator: int
    luts: float
    dsps: float
    luts_alone: float


@reproduction("thesis-figure2.8", "Simplification thesis, Figure 2.8: average cost of a MAC at different bit widths")
def thesis_figure2_8(setting: Setting) -> Reproduction:
    """LUTs and DSPs per MAC, every netlist without DSPs proved."""
    points, proofs = {}, set()
    total = len(PRECISIONS) + 1
    for done, (m, n) in enumerate(PRECISIONS, start=1):
        lanes, accumulator = 4 if m > 16 else 16, n + (m if m > 2 else 1) + 12 if n > 1 else SUMMED.bit_length()
        spec = f"dot_product:n={n},m={m},lanes={lanes},accumulator={accumulator}"
        native = f"{spec},form=native" if m > 2 else spec
        points[m, n] = _point(f"{m}-{n}", native, spec, lanes, accumulator, proofs)
        setting.progress(Event("synthesis", spec, done, total))
    real = _point("float32", "fpga_float_mac:float32", "fpga_float_mac:float32,form=booth", 1, 32, proofs)
    setting.progress(Event("synthesis", "float32", total, total))
    rows: list[tuple[Cell, ...]] = [
        (p.label, p.luts, p.dsps, p.luts_alone, p.lanes, p.accumulator) for p in [*points.values(), real]
    ]
    columns = ("weight-activation", "LUT", "DSP", "LUT, no DSPs", "products added", "accumulator bits")
    conditions = (
        ("flow", "Yosys synth_xilinx for 7 series, no place and route; LUT pairs of one carry bit counted once"),
        ("proof", "; ".join(sorted(proofs)) + "; netlists with DSPs are counted and not run"),
    )
    return Reproduction(
        "thesis-figure2.8",
        "Simplification thesis, Figure 2.8",
        "papers/simplification_thesis.txt, section 2.6.3 and Figure 2.8",
        columns,
        tuple(rows),
        tuple(checks(points)),
        _NOTES,
        conditions,
        _curves(points),
        "log2(weight bits x activation bits)",
    )


def _point(label: str, native: str, own: str, lanes: int, accumulator: int, proofs: set[str]) -> Point:
    with_dsps = fpga_cost(UNITS.parse(native), FAMILY, vectors=_VECTORS)
    without = fpga_cost(UNITS.parse(own), FAMILY, dsps=False, vectors=_VECTORS)
    proofs.add(str(without.proof))
    counts = with_dsps.counts if with_dsps.counts.dsps else without.counts
    return Point(label, lanes, accumulator, counts.luts / lanes, counts.dsps / lanes, without.counts.luts / lanes)


def checks(points: dict[tuple[int, int], Point]) -> list[Check]:
    """What section 2.6.3 says of the figure; keys are (weight bits, activation bits)."""
    few = max(point.dsps for (m, _), point in points.items() if m <= 2)
    found = [Check("DSPs per MAC, at most, with ternary weights or binary ones", few, "0", few == 0)]
    alone = {key: point.luts_alone for key, point in points.items()}
    by_weight = [(alone[m, n], alone[k, n]) for m, n in alone for k, other in alone if other == n and k < m]
    by_activation = [(alone[m, n], alone[m, k]) for m, n in alone for other, k in alone if other == m and k < n]
    for what, pairs in (("weight", by_weight), ("activation", by_activation)):
        worst = max(fewer / more for more, fewer in pairs)
        found.append(Check(f"LUTs with fewer {what} bits to those with more, at most", worst, "below 1", worst < 1))
    bits = [m for m, n in alone if m == n and m > 2]
    power = float(np.polyfit(np.log2(bits), np.log2([alone[k, k] for k in bits]), 1)[0])
    found.append(
        Check(f"power of k in LUTs, k = {bits[0]} to {bits[-1]} bits", power, "2 +- 0.3", abs(power - 2) < 0.3)
    )
    return found


def _curves(points: dict[tuple[int, int], Point]) -> dict[str, list[tuple[float, float]]]:
    """LUTs without DSPs and DSPs where they are allowed, over the product of the widths: slope 1 is O(k^2)."""
    curves: dict[str, list[tuple[float, float]]] = {}
    kinds = {1: "binary weights", 2: "ternary weights"}
    for (m, n), point in points.items():
        x, kind = log2(m * n), kinds.get(m, "fixed point")
        curves.setdefault(f"log2(LUT per MAC, no DSPs)|{kind}", []).append((x, log2(point.luts_alone)))
        curves.setdefault(f"DSP per MAC|{kind}", []).append((x, point.dsps))
    return curves
