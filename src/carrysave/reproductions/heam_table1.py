"""HEAM, Table I: hardware cost of ten 8x8 multipliers, and the accuracy of a LeNet on MNIST with each; and of one
designed here for that LeNet."""

from __future__ import annotations

from collections.abc import Iterator

from numpy.typing import ArrayLike

from carrysave.exploration import explore
from carrysave.hardware.activity import COUNT, Vectors, drawn, toggling
from carrysave.hardware.clocks import AtClock, at_clocks, smallest_at
from carrysave.hardware.synthesis import Mapped, Synthesis
from carrysave.methods.heam import distribution_of
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.recipes import Arithmetic
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, ratio, reproduction
from carrysave.reproductions.heam_designed import DESIGNED, EQUATION_5, PUBLISHED, designed_for
from carrysave.reproductions.heam_designs import DESIGNS, Design, scripts_progress, synthesize_designs
from carrysave.reproductions.heam_networks import LENET_MNIST, Subject, subject
from carrysave.results import Results
from carrysave.trials import Event

CLOCK_GHZ = 3.0
_STEP_GHZ = 0.05  # of the search for the nearest clock that a slower design meets
_LOWER_GHZ = 2.8  # where the exact multiplier is not yet paid for with oversized gates
_COLUMNS = (
    "design",
    "clock GHz",
    "area um2",
    "paper",
    "/ exact",
    "paper ",
    "power uW, toggle rate 0.1",
    "paper  ",
    "/ exact ",
    "paper   ",
    "power uW, LeNet's operands",
    "min. delay ps",
    "paper    ",
    "LeNet accuracy %",
    "paper     ",
    "95 % interval",
)
_COMPARED = ("HEAM", "KMap", "CR (C.6)", "CR (C.7)", "SDLC")
_NOTES = (
    "Exact is the smallest of twelve structures (array, Wallace, Dadda; four adders) at the clock; the others have one"
    " structure each, Dadda with a Sklansky adder. The paper's exact multiplier is a commercial generator's.",
    "The paper's accuracies depend on its LeNet and its quantization: its C.6 to L.3 lose far more than a LeNet trained"
    " to 99.4 % does. A multiplier's order by area and power does not depend on that.",
    "Power is without wires and glitches, with 8.6 fF at each output; see docs/cost-model.md.",
)


@reproduction("heam-table1", "HEAM, Table I: area, power, delay and LeNet accuracy of ten 8x8 multipliers")
def heam_table1(setting: Setting) -> Reproduction:
    """Runs the comparison on MNIST's 10,000 test images and the given cells."""
    library = setting.library()
    setting.progress(Event("network", "", 0, 1))
    network = subject(LENET_MNIST, setting)
    model, calibration, test = network.model, network.calibration, network.tests[LENET_MNIST.data_title]
    setting.progress(Event("network", "lenet", 1, 1))
    ours = designed_for(network, setting, EQUATION_5)
    designs = (*DESIGNS, Design(DESIGNED, (ours.multiplier.spec,), None, None, None, None))
    results = explore(
        model, calibration, [d.spec for d in designs], data=test, library=library, progress=setting.progress
    )
    syntheses = synthesize_designs(library, scripts_progress(setting), designs)
    own = calibration.operands_of_all(Arithmetic.natural("exact"))
    rows, clocks = [], {}
    for done, design in enumerate(designs, start=1):
        activities = _activities(design, (own.activation, own.weight))
        clocks[design.name] = at_clock = _nearest(design, syntheses[design.name], activities)
        setting.progress(Event("power", design.name, done, len(designs)))
        rows.append((design, at_clock))
    exact = clocks["Exact"]
    table = tuple(_row(design, at, exact, syntheses[design.name], results) for design, at in rows)
    conditions = (
        ("cells", f"{library.source}; area and delay by Yosys and ABC, effort normal, unloaded outputs, no wires"),
        (
            "network",
            f"LeNet, float {results.rows[0].accuracy}; all layers uint8 affine, per tensor, min-max of 512 images",
        ),
        (f"the {DESIGNED} one", f"for this LeNet: {EQUATION_5.how}, {ours.within_um2:.2f} um2: {ours.multiplier.spec}"),
        ("power", f"{COUNT:,} vector pairs; standard error at most {_largest_error(clocks):.2f} % of dynamic power"),
    )
    checks = (*_checks(clocks, exact), *_designed_checks(network, ours.multiplier, clocks, results))
    notes = (*_NOTES, _at_a_lower_clock({d.name: smallest_at(syntheses[d.name], _LOWER_GHZ) for d in designs}))
    return Reproduction(
        "heam-table1", "HEAM, Table I", "papers/heam.txt, Table I", _COLUMNS, table, checks, notes, conditions
    )


def _activities(design: Design, operands: tuple[ArrayLike, ArrayLike]) -> tuple[Vectors, Vectors]:
    m = MULTIPLIERS.parse(design.spec)
    return toggling({"a": m.a_bits, "b": m.b_bits}), drawn(m, operands, "operands of LeNet on MNIST")


def _nearest(design: Design, syntheses: list[Synthesis], activities: tuple[Vectors, Vectors]) -> AtClock:
    """At 3 GHz, else at the highest clock below, in steps, that is met."""
    fastest = min(s.fastest.delay_ps for s in syntheses)
    clock = CLOCK_GHZ
    while 1000 / clock < fastest:
        clock -= _STEP_GHZ
    return at_clocks(design.name, syntheses, [round(clock, 2)], activities, m=MULTIPLIERS.parse(design.spec))[0]


def _row(design: Design, at: AtClock, exact: AtClock, syntheses: list[Synthesis], results: Results) -> tuple[Cell, ...]:
    assert at.mapped is not None and exact.mapped is not None
    paper = {d.name: d for d in DESIGNS}["Exact"]
    toggled, own = at.power.values()
    same_clock = at.frequency_ghz == exact.frequency_ghz
    accuracy = results.row(design.spec).accuracy
    return (
        design.name,
        at.frequency_ghz,
        at.mapped.area_um2,
        design.area_um2,
        ratio(at.mapped.area_um2, exact.mapped.area_um2) if same_clock else None,
        ratio(design.area_um2, paper.area_um2),
        toggled.total_uw,
        design.power_uw,
        ratio(toggled.total_uw, next(iter(exact.power.values())).total_uw) if same_clock else None,
        ratio(design.power_uw, paper.power_uw),
        own.total_uw,
        min(s.fastest.delay_ps for s in syntheses),
        design.delay_ps,
        f"{accuracy.percent:.2f}",
        f"{design.accuracy:.2f}" if design.accuracy is not None else None,
        f"{accuracy.low:.2f} to {accuracy.high:.2f}",
    )


def _largest_error(clocks: dict[str, AtClock]) -> float:
    """Of all powers shown, the largest standard error [%]."""
    return max(100 * p.standard_error_uw / p.dynamic_uw for at in clocks.values() for p in at.power.values())


def _at_a_lower_clock(mapped: dict[str, Mapped | None]) -> str:
    exact = mapped["Exact"]
    ratios = {
        name: ratio(m.area_um2, exact.area_um2) for name, m in mapped.items() if m is not None and exact is not None
    }
    listed = ", ".join(f"{name} {value:.3f}" for name, value in ratios.items() if value is not None and name != "Exact")
    area = f"{exact.area_um2:.2f}" if exact is not None else "-"
    return f"Area over exact's at {_LOWER_GHZ:g} GHz (exact {area} um2): {listed}."


def _designed_checks(
    network: Subject, ours: Multiplier, clocks: dict[str, AtClock], results: Results
) -> Iterator[Check]:
    operands = distribution_of(network.calibration)
    error, published = (operands.error(m).value for m in (ours, MULTIPLIERS.parse(PUBLISHED)))
    yield Check(f"{DESIGNED}: expected error / HEAM's", error / published, "below 1", error < published)
    at, beside = clocks[DESIGNED], clocks["HEAM"]
    if at.mapped is not None and beside.mapped is not None and at.frequency_ghz == beside.frequency_ghz:
        area = at.mapped.area_um2 / beside.mapped.area_um2
        yield Check(f"{DESIGNED}: area / HEAM's at the same clock", area, "below 1", area < 1)
    lost = results.row("exact").accuracy.percent - results.row(ours.spec).accuracy.percent
    yield Check(f"{DESIGNED}: LeNet's accuracy below exact's, points", lost, "at most 0.1", lost <= 0.1)


def _checks(clocks: dict[str, AtClock], exact: AtClock) -> Iterator[Check]:
    paper = {d.name: d for d in DESIGNS}
    for name in _COMPARED:
        at = clocks[name]
        if at.mapped is None or exact.mapped is None or at.frequency_ghz != exact.frequency_ghz:
            continue
        toggled, reference = next(iter(at.power.values())), next(iter(exact.power.values()))
        pairs = (
            ("area", at.mapped.area_um2 / exact.mapped.area_um2, ratio(paper[name].area_um2, paper["Exact"].area_um2)),
            ("power", toggled.total_uw / reference.total_uw, ratio(paper[name].power_uw, paper["Exact"].power_uw)),
        )
        for what, ours, published in pairs:
            assert published is not None
            met = abs(ours - published) <= 0.1
            yield Check(f"{name}: {what} / exact", ours, f"{published:.3f} +- 0.1", met)
