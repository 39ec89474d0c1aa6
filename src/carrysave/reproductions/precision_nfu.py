"""Precision study, Figure 3 and Table III: what the logic of its tile costs in each precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carrysave.bits import cat
from carrysave.hardware.assembled import AssemblySynthesis, synthesize_assemblies
from carrysave.hardware.assembled_cost import CYCLES, assembly_at_clock
from carrysave.hardware.clocked_power import Streams
from carrysave.hardware.library import Library
from carrysave.hardware.unit_cost import UnitSynthesis, synthesize_units
from carrysave.hardware.units.precisions import Binary, Floating, PowerOfTwo, Precision
from carrysave.hardware.units.tile import Neuron, TileCore
from carrysave.planes import PlaneWord
from carrysave.reproductions.base import Bars, Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

CLOCK_GHZ = 0.25
EFFORT = "quick"  # a float32 multiplier takes minutes with each script
ROWS = 64  # of each buffer: DianNao's
SIDE = 16  # neurons, and synapses of each
_VECTORS = 200_000
_STREAMS = 64  # with 17 transitions, and four places of each part: its power to a percent
_SUMMED = 8  # rows of synapses to a sum, under the activity of values: 128 inputs
_STAGES = {
    "weight_block": "weight blocks",
    "adder_tree": "adder trees",
    "merged_tree": "adder trees",
    "float_adder": "adder trees",
    "float_accumulator": "adder trees",
    "nonlinearity": "nonlinearity",
}
_REST = "control"
STAGES: tuple[str, ...] = ("weight blocks", "adder trees", "nonlinearity", _REST)


@dataclass(frozen=True)
class Printed:
    """A row of Table III: area [mm2] and power [mW] of the whole accelerator at 65 nm, buffers included."""

    name: str
    precision: str
    area_mm2: float
    power_mw: float


TABLE = (
    Printed("floating point (32, 32)", "float32", 16.74, 1379.60),
    Printed("fixed point (32, 32)", "fixed32", 14.13, 1213.40),
    Printed("fixed point (16, 16)", "fixed16", 6.88, 574.75),
    Printed("fixed point (8, 8)", "fixed8", 3.36, 219.87),
    Printed("fixed point (4, 4)", "fixed4", 1.66, 111.17),
    Printed("powers of two (6, 16)", "power_of_two6x16", 3.05, 209.91),
    Printed("binary (1, 16)", "binary16", 1.21, 95.36),
)
AREA_SHARE, POWER_SHARE = (0.76, 0.96), (0.75, 0.93)  # of the buffers, over all precisions (section V-B)
DIANNAO_MM2_PER_KB = 0.195  # the density at which the buffers alone would be the whole accelerator


def buffer_kb(of: Precision) -> float:
    """KB of the three buffers."""
    return ROWS * (SIDE * SIDE * of.weight_bits + 2 * SIDE * of.word_bits) / 8192


def buffer_density() -> float:
    """mm2 per KB that makes the buffers 76 % of the accelerator where their share is smallest."""
    return AREA_SHARE[0] * max(row.area_mm2 / buffer_kb(_neuron(row.precision).of) for row in TABLE)


def paper_logic_mm2(row: Printed) -> float:
    """What is left of a printed area without the buffers, at `buffer_density`."""
    return row.area_mm2 - buffer_density() * buffer_kb(_neuron(row.precision).of)


def bounds(total: float, share: tuple[float, float]) -> tuple[float, float]:
    """What the logic is at least and at most, if the buffers' share lies within the printed range."""
    return total * (1 - share[1]), total * (1 - share[0])


# ---------------------------------------------------------------- activity


def words(of: Precision, x: NDArray[np.floating]) -> NDArray[np.int64]:
    """Codes of values in [-1, 1) as words of the tile."""
    if isinstance(of, Floating):
        return x.astype(np.float32).view(np.uint32).astype(np.int64) >> 32 - of.word_bits
    return _fixed(x, of.word_bits)


def weights(of: Precision, w: NDArray[np.floating]) -> NDArray[np.int64]:
    """Codes of values in [-1, 1) as weights of the tile."""
    if isinstance(of, Binary):
        return (w >= 0).astype(np.int64)
    if isinstance(of, PowerOfTwo):
        top = (1 << of.weight_bits - 1) - 2  # the exponent of 1; one more means 0
        power = np.rint(np.log2(np.maximum(np.abs(w), 2.0**-64))).astype(np.int64) + top
        return np.where(power < 0, top + 1, np.minimum(power, top)) + ((w < 0).astype(np.int64) << of.weight_bits - 1)
    return words(of, w) if isinstance(of, Floating) else _fixed(w, of.weight_bits)


def _fixed(values: NDArray[np.floating], bits: int) -> NDArray[np.int64]:
    half = 1 << bits - 1
    return np.clip(np.rint(values * half), -half, half - 1).astype(np.int64) % (1 << bits)


def values_of_a_layer(neuron: Neuron, seed: int = 0) -> Streams:
    """The same values for every precision: words as a rectifier leaves them, weights normal, new ones each cycle."""
    generator, of = np.random.default_rng(seed), neuron.of
    cycles = CYCLES + neuron.settling + 1
    shape = (cycles, _STREAMS, neuron.synapses)
    x = words(of, np.clip(generator.normal(0, 0.3, shape), 0, 0.999))
    w = weights(of, np.clip(generator.normal(0, 0.15, shape), -0.999, 0.999))
    lanes, made = np.arange(_STREAMS), []
    for t in range(cycles):
        row = {
            "x": cat(*[PlaneWord.from_ints(x[t, :, k], of.word_bits) for k in range(neuron.synapses)]),
            "w": cat(*[PlaneWord.from_ints(w[t, :, k], of.weight_bits) for k in range(neuron.synapses)]),
        }
        marks = {"first": (t + lanes) % _SUMMED == 0, "valid": lanes >= 0, "linear": lanes < 0, "rst": lanes < 0}
        made.append(
            row | {port: PlaneWord.from_ints(bit | (t == 0 and port == "rst"), 1) for port, bit in marks.items()}
        )
    return Streams("values of a layer", made, neuron.settling + 1)


# ---------------------------------------------------------------- cost


@dataclass(frozen=True)
class Cost:
    """The logic of a tile: area [um2] and power [uW] of each stage."""

    area: Mapping[str, float]
    power: Mapping[str, float]
    period_ps: float
    proofs: frozenset[str]

    @property
    def area_um2(self) -> float:
        return sum(self.area.values())

    @property
    def power_uw(self) -> float:
        return sum(self.power.values())


def _neuron(precision: str) -> Neuron:
    return Neuron(precision=precision, neurons=1, synapses=SIDE, blocks=ROWS)


def _core(precision: str) -> TileCore:
    return TileCore(precision=precision, neurons=SIDE, synapses=SIDE, blocks=ROWS, depth=ROWS)


@dataclass(frozen=True)
class Made:
    """What the scripts found for the parts of one precision's tile."""

    precision: str
    neuron: AssemblySynthesis
    control: UnitSynthesis

    def cost(self, frequency_ghz: float) -> Cost:
        """Sixteen neurons and the control at a clock.

        Raises ValueError for a clock that is missed.
        """
        at = assembly_at_clock(
            self.neuron, frequency_ghz, (values_of_a_layer(_neuron(self.precision)),), vectors=_VECTORS
        )
        if not at.met or at.period_ps is None:
            raise ValueError(
                f"{self.precision}: {frequency_ghz:g} GHz is missed; the shortest period found is {at.period_ps} ps"
            )
        area, power = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
        for piece in at.pieces:
            stage = stage_of(piece.spec)
            area[stage] += SIDE * piece.count * piece.area_um2
            power[stage] += SIDE * piece.count * sum(spent.total_uw for spent in piece.power.values())
        control = self.control.at_clock(frequency_ghz, vectors=_VECTORS)
        assert control.mapped is not None  # a counter meets what a multiplier does
        area[_REST] += control.mapped.area_um2
        power[_REST] += sum(spent.total_uw for spent in control.power.values())
        return Cost(area, power, at.period_ps, frozenset(str(piece.proof) for piece in at.pieces))


def stage_of(spec: str) -> str:
    """The stage that a part belongs to."""
    return _STAGES.get(spec.partition(":")[0], _REST)


def synthesized(precisions: Sequence[str], library: Library, setting: Setting) -> dict[str, Made]:
    """The parts of each precision's tile, mapped."""

    def progress(done: int, total: int, spec: str) -> None:
        setting.progress(Event("synthesis", spec, done, total))

    neurons = synthesize_assemblies([_neuron(p) for p in precisions], library, EFFORT, progress=progress)
    controls = synthesize_units([_core(p).control for p in precisions], library, EFFORT)
    return {p: Made(p, n, c) for p, n, c in zip(precisions, neurons, controls, strict=True)}


# ---------------------------------------------------------------- the table

_BASE, _SCALE = TABLE[0], TABLE[2]  # what ratios are to; what sets the area of 65 nm against ours
_NOTES = (
    "What the study does not print: the bars of Figure 3, the sizes of the buffers, the widths of products and "
    "sums, the functions of the third stage, and under which activity its power is. It prints the whole "
    "accelerator's area and power, and that buffers take 76 to 96 % of the one and 75 to 93 % of the other.",
    "The paper's area of the logic is derived: with DianNao's buffers (64 rows of 256 weights, 16 inputs, 16 "
    "outputs) and one density for all precisions, the buffers' share is smallest for floating point and largest for "
    "fixed point (4, 4). The density that makes the first 76 % makes the second 95.8 %, so one number meets both "
    "ends of the printed range; the rest of each area is the logic. (At 0.195 mm2/KB, which fits the totals by "
    "buffers alone, nothing is left for the logic of four of the seven.) For power no such density exists: the "
    "share is bounded, and the ratio with it, if floating point is where the buffers take 75 %; fixed point (32, "
    "32) has the same buffers, which gives its logic.",
    "Floating point is dearer in the study, against all the others, than here. It was designed there to just meet "
    "250 MHz at 65 nm in three stages, the whole adder tree of five additions in one: its gates are sized for speed "
    "and those of the other precisions are not. ASAP7 meets that clock with nearly the smallest circuits, with a "
    "register after each float adder (five in a row take 8 ns with the fastest one found). How much speed is worth: "
    "the fastest circuits of `carrysave synth weight_block:precision=float32 float_adder --effort quick` take 451 and "
    "145 um2, the smallest 313 and 84.",
    "Fixed point (32, 32) is dearer here: products are kept whole, 64 bits, and added exactly. What the study keeps "
    "of them it does not say; its 1.4 mm2 hold no 256 multipliers of 32 x 32 bits at the scale of its 16-bit ones.",
    "Powers of two agree with fixed point (16, 16) as in the study, though their products are kept whole as well: "
    "6-bit weights shift by up to 30, so a product has 47 bits, its adder tree is larger than that of fixed point "
    "(16, 16), and its weight block less than a third.",
    "Binary is a third of what the study's areas leave for it, and the order of the two smallest is the other way "
    "round. Here the bits of 16 words, complemented or not, go through one carry-save tree with their carries; a "
    "negator for each word and a tree of carry-propagate adders would be larger. What the study built it does not "
    "say. A part that does not shrink with the words (the DMAs, which are not here) would explain some of it, and of "
    "the rise from fixed point (16, 16) to (4, 4): the smaller the logic, the more its 65 nm area is above ours.",
    "The activity is the same values in each precision (words as a rectifier leaves them, half of them zero, "
    "weights normal, new ones each cycle, a new sum every eight rows), as the format encodes them. Random "
    "bits would be no floating-point numbers of a network: most of their sums are infinite or no number, and stand "
    "still. The control's inputs toggle at a rate of 0.1.",
    "A neuron (16 weight blocks, tree, nonlinearity) is mapped part by part and timed flat; the logic is 16 of them "
    "and the control, its wires no gates: the buffers, SRAM, are taken to drive all neurons. They are listed with "
    "their size and not synthesised.",
)


def _stage_names() -> tuple[str, ...]:
    return (*(f"{stage} um2" for stage in STAGES), *(f"{stage} uW" for stage in STAGES))


@reproduction("precision-nfu", "Precision study, Figure 3 and Table III: the logic of the tile in seven precisions")
def precision_nfu(setting: Setting) -> Reproduction:
    """Area and power of the stages of 16 neurons with 16 synapses each at 250 MHz, as ratios to float32."""
    library = setting.library()
    made = synthesized([row.precision for row in TABLE], library, setting)
    found: dict[str, Cost] = {}
    for row in TABLE:
        found[row.name] = made[row.precision].cost(CLOCK_GHZ)
        setting.progress(Event("power", row.name, len(found), len(TABLE)))
    return table(found, library)


def table(found: Mapping[str, Cost], library: Library) -> Reproduction:
    """The costs, by the names of Table III, beside what it lets one derive."""
    columns = (
        "precision (w, in)", "buffers KB", *_stage_names()[:4], "logic um2", "area to float32", "paper",
        "mm2 at 65 nm per mm2 here", "accelerator mm2 (see conditions)", "paper ", *_stage_names()[4:], "logic uW",
        "power to float32", "paper  ", "period ps",
    )  # fmt: skip
    rows = [_row(row, found) for row in TABLE]
    scale, proofs = _scale(found), {proof for cost in found.values() for proof in cost.proofs}
    conditions = (
        ("cells", f"{library.source}; Yosys and ABC, effort {EFFORT}, no wires, no clock tree"),
        ("clock", f"{CLOCK_GHZ * 1000:g} MHz"),
        ("activity", "values of a layer, the same in each precision; no glitches"),
        ("accelerator", f"buffers at {buffer_density():.4f} mm2/KB, which makes them 76 % of the printed float32 "
         f"accelerator, and our logic times {scale:.1f}, which fits {_SCALE.name}"),
        ("sums", f"exact for {ROWS} rows of {SIDE} synapses; float32 in pairs, each sum rounded"),
        ("proof", "each part and the wires between: " + "; ".join(sorted(proofs))),
    )  # fmt: skip
    return Reproduction(
        "precision-nfu",
        "Precision study, Figure 3 and Table III: the logic of the tile",
        "papers/precision_study.txt, Figures 2 and 3, Table III, sections IV-A and V-B",
        columns,
        tuple(rows),
        tuple(checks({name: cost.area_um2 for name, cost in found.items()})),
        _NOTES,
        conditions,
        bars=_bars(found),
    )


def _scale(found: Mapping[str, Cost]) -> float:
    """Area at 65 nm to area here."""
    return paper_logic_mm2(_SCALE) / (found[_SCALE.name].area_um2 * 1e-6)


def _row(row: Printed, found: Mapping[str, Cost]) -> tuple[Cell, ...]:
    cost, base = found[row.name], found[_BASE.name]
    kb, logic, here = buffer_kb(_neuron(row.precision).of), paper_logic_mm2(row), cost.area_um2 * 1e-6
    whole = buffer_density() * kb + _scale(found) * here
    areas, powers = ([round(by_stage[stage], 1) for stage in STAGES] for by_stage in (cost.area, cost.power))
    return (
        *(row.name, kb, *areas, round(cost.area_um2)),
        *(cost.area_um2 / base.area_um2, logic / paper_logic_mm2(_BASE), logic / here, whole, row.area_mm2),
        *(*powers, round(cost.power_uw), cost.power_uw / base.power_uw, power_ratio(row), round(cost.period_ps)),
    )


def power_ratio(printed: Printed) -> str:
    """What the paper says of the power of a precision's logic, to float32's: a figure, or from what to what."""
    buffers = POWER_SHARE[0] * _BASE.power_mw
    logic = _BASE.power_mw - buffers
    if buffer_kb(_neuron(printed.precision).of) == buffer_kb(_neuron(_BASE.precision).of):
        return f"{(printed.power_mw - buffers) / logic:.3f}"
    low, high = bounds(printed.power_mw, POWER_SHARE)
    return f"{low / logic:.3f} to {high / logic:.3f}"


def checks(areas: Mapping[str, float]) -> list[Check]:
    """What the printed figures let us ask of the areas of the logic, by the names of Table III."""
    shares = {row.name: 1 - paper_logic_mm2(row) / row.area_mm2 for row in TABLE}
    largest = max(shares.values())
    made = [
        Check(
            "paper: buffers' largest share of the area at the density that makes the smallest 0.76",
            largest,
            f"{AREA_SHARE[1]} +- 0.005",
            abs(largest - AREA_SHARE[1]) <= 0.005,
        )
    ]
    for of, rows in ((_BASE, TABLE[1:]), (_SCALE, TABLE[1:2] + TABLE[3:])):
        for row in rows:
            ours, papers = areas[row.name] / areas[of.name], paper_logic_mm2(row) / paper_logic_mm2(of)
            text = f"{papers:.4f} within a factor of 1.5"
            made.append(Check(f"logic, {row.name} to {of.name}", ours, text, 1 / 1.5 <= ours / papers <= 1.5))
    scale = paper_logic_mm2(_SCALE) / areas[_SCALE.name]
    off = max(abs(paper_logic_mm2(row) - scale * areas[row.name]) / row.area_mm2 for row in TABLE)
    made.append(Check("accelerator, largest deviation from a printed area", off, "at most 0.1", off <= 0.1))
    order = sorted((row.name for row in TABLE), key=lambda name: areas[name])
    wanted = [row.name for row in sorted(TABLE, key=paper_logic_mm2)]
    same = sum(a == b for a, b in zip(order, wanted, strict=True))
    made.append(
        Check("places in the order of logic areas that agree", same, f"7: {', '.join(wanted)}", order == wanted)
    )
    return made


def _bars(found: Mapping[str, Cost]) -> tuple[Bars, ...]:
    names = tuple(row.name for row in TABLE)
    short = tuple(name.replace("floating point", "float").replace("fixed point", "fixed") for name in names)
    own = [
        Bars(panel, short, {stage: tuple(getattr(found[name], of)[stage] for name in names) for stage in STAGES})
        for panel, of in (("logic, area (um2)", "area"), ("logic, power (uW) at 250 MHz", "power"))
    ]
    scale = _scale(found) * 1e-6
    whole = {stage: tuple(scale * height for height in heights) for stage, heights in own[0].parts.items()}
    whole["buffers"] = tuple(buffer_density() * buffer_kb(_neuron(row.precision).of) for row in TABLE)
    return (Bars("accelerator, area at 65 nm (mm2)", short, whole), *own)
