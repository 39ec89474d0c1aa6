"""Simplification thesis, Table 5.7: a matrix-vector unit with layer-wise and with SYQ's scales on an FPGA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from carrysave.hardware.fpga import DEVICES, FpgaCost, fpga_cost, fpga_costs
from carrysave.hardware.units.mvtu import MvtuWithMemories
from carrysave.hardware.units.signed_sums import SignedSums
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

ZU3 = DEVICES["zu3"]
KERNEL, CHANNELS, FILTERS, BITS = 3, 384, 256, 2  # K, I, N, bits of an activation
SIZES = ((32, 32), (64, 32), (32, 64))  # SIMD, PE
# (scales, SIMD, PE): BRAM18, LUT (thousands), DSP
PRINTED = {
    (0, 32, 32): (64, 29.8, 4),
    (0, 64, 32): (64, 56.5, 4),
    (0, 32, 64): (64, 58.9, 4),
    (9, 32, 32): (64, 29.4, 36),
    (9, 64, 32): (64, 56.1, 36),
    (9, 32, 64): (64, 57.7, 68),
}
CONFIGS = {0: "Layer", 9: "SYQ(P)", 3: "SYQ(R)"}
SCALE_BITS = 8
HLS_ADDER = 7  # LUTs that Vivado HLS' estimate gives an adder besides one a bit
Weights = Literal["binary", "ternary"]
Key = tuple[Weights, int, int, int]
_VECTORS = 20_000  # SAT decides
_BINARY: list[Key] = [("binary", *key) for key in PRINTED]
_MORE: list[Key] = [("binary", 3, 32, 32), *(("ternary", 0, *size) for size in SIZES)]
_COLUMNS = (
    "scales",
    "weights",
    "SIMD",
    "PE",
    "BRAM18",
    "paper",
    "DSP",
    "paper ",
    "LUT (k)",
    "paper  ",
    "LUT per MAC",
    "paper   ",
    "FF (k)",
    "LUT (k), accumulator in the DSP",
    "LUT (k), adders as HLS counts them",
)
_NOTES = (
    "Which weights: the text says binary/ternary. With binary ones a memory for each processing element takes "
    "864 x 32, 432 x 64 and 432 x 32 bits in the three sizes, which is 64 BRAM18 in all in each, as printed; ternary "
    "weights take twice that. So the table is of binary weights; ours with ternary ones are beside it.",
    "LUTs are a quarter of the paper's: those are estimates of Vivado HLS, made before logic synthesis, ours are "
    "counts of the mapped netlist. In published HLS reports (one of them for this device) an adder of 32 bits "
    "counts 39 LUTs, one of 63 counts 70: one a bit and 7 more. In a tree of narrow adders most is the 7. The "
    "last column counts our trees and accumulators so (each activation negated by an adder of its own and chosen "
    "by a LUT a bit, SYQ's accumulator in its DSP), everything else as mapped, and comes within 5 % of all six. "
    "The 7 is known from these two widths; that it holds for 3 bits is assumed, and that the paper's unit is "
    "built so, too.",
    "Where SIMD doubles our LUTs grow less than the paper's: comparators and memories of the thresholds (58 LUTs of "
    "the 208 of an element) stay as they are, and weigh more beside a smaller tree.",
    "DSPs: the paper's unit has 4 besides those of the scales, in both configurations, and does not say what for; "
    "ours has no product but the scales'. What the scales add is one DSP for each processing element in both.",
    "SYQ's sums are wider than layer-wise ones by the bits of a scale (8; the paper gives no width), and so are "
    "accumulator and thresholds, of which nothing is rounded here. The device's DSP can hold the accumulator, which "
    "Yosys uses for 7 series and not for UltraScale+: the column says what is left of the LUTs then (the tree is the "
    "same). The thresholds' comparators and memories stay wider.",
    "Weights are in block memories, thresholds and the vector that is used again for each group of channels in "
    "distributed ones; a port fills them. FINN's memories are constants.",
)


@dataclass(frozen=True)
class _Found:
    """What one configuration takes: as mapped, and in the two other ways of counting."""

    unit: MvtuWithMemories
    cost: FpgaCost
    in_dsp: int | None
    as_hls: int


@reproduction("thesis-table5.7", "Simplification thesis, Table 5.7: a matrix-vector unit, layer-wise and SYQ scales")
def thesis_table5_7(setting: Setting) -> Reproduction:
    """The six configurations, part by part, and the same with ternary weights and with row-wise scales."""
    keys = [*_BINARY, *_MORE]

    def progress(done: int, total: int, spec: str) -> None:
        setting.progress(Event("synthesis", spec, done, total))

    units = [unit_of(key) for key in keys]
    costs = fpga_costs(units, ZU3.family, vectors=_VECTORS, progress=progress)
    found = {key: _found(unit, cost) for key, unit, cost in zip(keys, units, costs, strict=True)}
    rows = tuple(_row(key, found[key]) for key in keys)
    return Reproduction(
        "thesis-table5.7",
        "Simplification thesis, Table 5.7",
        "papers/simplification_thesis.txt, Table 5.7 and section 5.7.2",
        _COLUMNS,
        rows,
        tuple(_checks(found)),
        _NOTES,
        tuple(_conditions(found)),
    )


def unit_of(key: Key) -> MvtuWithMemories:
    """The unit of a row: weights, scales (0: one for the layer), SIMD, PE."""
    weights, scales, simd, pe = key
    return MvtuWithMemories(
        columns=KERNEL * KERNEL * CHANNELS,
        rows=FILTERS,
        simd=simd,
        pe=pe,
        a=BITS,
        weights=weights,
        levels=1,
        scales=scales,
        scale_bits=SCALE_BITS,
        memory="block",
    )


def _found(unit: MvtuWithMemories, cost: FpgaCost) -> _Found:
    elements = unit.pe * unit.mmv
    own = _part(cost, unit.element).counts.luts
    rest = cost.counts.luts - elements * own
    packed = fpga_cost(unit.element, "xc7", vectors=_VECTORS).counts.luts if unit.scales else None
    as_hls = rest + elements * hls_luts(unit.element, accumulates=not unit.scales)
    return _Found(unit, cost, None if packed is None else rest + elements * packed, as_hls)


def _part(cost: FpgaCost, unit: SignedSums) -> FpgaCost:
    return next(part for _, part in cost.parts if part.spec == unit.spec)


def hls_luts(element: SignedSums, *, accumulates: bool) -> int:
    """LUTs of a processing element, counted as Vivado HLS estimates them before synthesis."""
    wide = element.a + 1
    selections = 1 if element.weights == "binary" else 2
    total = element.simd * (wide + HLS_ADDER + selections * wide)
    lanes = [1] * element.simd
    while len(lanes) > 1:
        pairs = [sum(lanes[k : k + 2]) for k in range(0, len(lanes), 2)]
        total += sum((n * ((1 << element.a) - 1)).bit_length() + 1 + HLS_ADDER for n in pairs[: len(lanes) // 2])
        lanes = pairs
    return total + (2 * element.accumulator + HLS_ADDER if accumulates else 0)


def _row(key: Key, found: _Found) -> tuple[Cell, ...]:
    weights, scales, simd, pe = key
    counts, macs = found.cost.counts, simd * pe
    printed = PRINTED.get((scales, simd, pe)) if weights == "binary" else None
    brams, luts, dsps = printed or (None, None, None)
    per_mac = None if luts is None else 1000 * luts / macs
    in_dsp = None if found.in_dsp is None else found.in_dsp / 1000
    return (
        *(CONFIGS[scales], weights, simd, pe),
        *(counts.bram18, brams, counts.dsps, dsps),
        *(counts.luts / 1000, luts, counts.luts / macs, per_mac),
        *(counts.ffs / 1000, in_dsp, found.as_hls / 1000),
    )


def _checks(found: Mapping[Key, _Found]) -> Iterable[Check]:
    counts = {key[1:]: found[key].cost.counts for key in _BINARY}
    for key, (brams, _, _) in PRINTED.items():
        ours = counts[key].bram18
        yield Check(f"{_name(key)}: BRAM18", ours, str(brams), ours == brams)
    for simd, pe in SIZES:
        more = counts[9, simd, pe].dsps - counts[0, simd, pe].dsps
        papers = PRINTED[9, simd, pe][2] - PRINTED[0, simd, pe][2]
        yield Check(f"SIMD {simd}, PE {pe}: DSPs that the scales add", more, f"PE, {papers}", more == papers == pe)
    papers = PRINTED[0, 32, 32][2]
    ours = counts[0, 32, 32].dsps
    yield Check("Layer: DSPs", ours, str(papers), ours == papers)
    for what, size in (("SIMD", (64, 32)), ("PE", (32, 64))):
        for scales in (0, 9):
            ours = counts[scales, *size].luts / counts[scales, 32, 32].luts
            papers = PRINTED[scales, *size][1] / PRINTED[scales, 32, 32][1]
            text = f"{papers:.3f} +- 10 %"
            yield Check(f"{CONFIGS[scales]}: LUTs where {what} doubles", ours, text, abs(ours / papers - 1) < 0.1)
    for simd, pe in SIZES:
        one, other = found["binary", 9, simd, pe], found["binary", 0, simd, pe].cost.counts.luts
        papers = PRINTED[9, simd, pe][1] / PRINTED[0, simd, pe][1]
        name, wanted = f"SIMD {simd}, PE {pe}: LUTs of SYQ to layer-wise", f"{papers:.3f} +- 0.02"
        for how, luts in (("", one.cost.counts.luts), (", accumulator in the DSP", one.in_dsp or 0)):
            yield Check(name + how, luts / other, wanted, abs(luts / other - papers) < 0.02)
    row, pixel = (found["binary", scales, 32, 32].cost.counts.luts for scales in (3, 9))
    yield Check("LUTs of row-wise to pixel-wise SYQ", row / pixel, "within 2 %", abs(row / pixel - 1) < 0.02)
    for key, (_, luts, _) in PRINTED.items():
        ours = found["binary", *key].cost.counts.luts / 1000 / luts
        yield Check(f"{_name(key)}: LUTs to the paper's", ours, "0.8 to 1.25", 0.8 < ours < 1.25)
    for key, (_, luts, _) in PRINTED.items():
        ours = found["binary", *key].as_hls / 1000 / luts
        what = f"{_name(key)}: LUTs, adders as HLS counts them, to the paper's"
        yield Check(what, ours, "0.9 to 1.1", 0.9 < ours < 1.1)


def _name(key: tuple[int, int, int]) -> str:
    scales, simd, pe = key
    return f"{CONFIGS[scales]}, SIMD {simd}, PE {pe}"


def _conditions(found: Mapping[Key, _Found]) -> Iterable[tuple[str, str]]:
    first = next(iter(found.values()))
    parts = {part.spec: part for entry in found.values() for _, part in entry.cost.parts}
    proved = [part for part in parts.values() if part.proof is not None]
    weakest = min((part.proof for part in proved if part.proof), key=lambda proof: proof.vectors)
    decided = sum("equal to" in str(part.proof) for part in proved)
    elements = {entry.unit.element for entry in found.values() if entry.unit.scales}
    plain = [fpga_cost(element, ZU3.family, dsps=False, vectors=_VECTORS).proof for element in elements]
    least = min((proof for proof in plain if proof), key=lambda proof: proof.vectors)
    yield "unit", first.unit.spec
    yield "flow", first.cost.source
    yield "device", f"{ZU3.part}: {ZU3.luts:,} LUT, {ZU3.dsps} DSP, {ZU3.bram18} BRAM18"
    yield (
        "proof",
        f"{len(proved)} of {len(parts)} different parts and glues proved, {decided} of them by SAT, the least on "
        f"{weakest}; the others hold memories or DSPs and are counted, not run; SYQ's {len(plain)} processing "
        f"elements are proved as mapped without DSPs ({least})",
    )
    breakdown = ", ".join(f"{n} x {part.spec} ({part.counts.luts} LUT)" for n, part in first.cost.parts)
    yield "LUTs of the first row", breakdown
    longest = max(part.logic_delay_ps for part in proved)
    yield "logic delay", f"the longest path in a part takes {longest / 1000:.2f} ns in cells alone (Artix-7 figures)"
