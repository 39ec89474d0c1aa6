"""Effects of approximate multiplication, Table 4: delay, power and energy of six MACs.

The paper says neither at which rate its power is nor how its circuits were chosen and their toggles counted. All
readings are shown: energy as that of one operation or as a product with the delay, of the smallest or the fastest
circuits, without glitches or with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from carrysave.hardware.activity import toggling
from carrysave.hardware.library import Library
from carrysave.hardware.power import energy
from carrysave.hardware.synthesis import Mapped
from carrysave.hardware.unit_cost import energies, synthesize_units
from carrysave.hardware.units import UNITS, Unit
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event


@dataclass(frozen=True)
class Printed:
    """A MAC of Table 4: delay [ns], power [mW] and energy [pJ] in Synopsys' 32 nm."""

    name: str
    spec: str
    delay_ns: float
    power_mw: float
    energy_pj: float


def _fixed(n: int, form: str) -> str:
    return f"mac:multiplier=exact:n={n};{form}".rstrip(";")


_SIGNED = "signed=true;form=booth"
MACS = (
    Printed("bfloat16", "float_mac:bfloat16", 4.77, 1.47, 7.01),
    Printed("fixed, 16", _fixed(16, _SIGNED), 2.07, 1.17, 2.42),
    Printed("Mitch-w6, 16", "mac:multiplier=mitchell_w:w=6;n=16", 2.74, 0.50, 1.37),
    Printed("FP32", "float_mac:float32", 7.52, 5.80, 43.62),
    Printed("fixed, 32", _fixed(32, _SIGNED), 4.29, 4.36, 18.70),
    Printed("Mitch-w6, 32", "mac:multiplier=mitchell_w:w=6;n=32", 4.39, 0.98, 4.30),
)
BESIDE = {
    "bfloat16, sum in 32 bits": "float_mac:bfloat16,accumulator=float32",
    **{
        f"fixed, {n}, {what}": _fixed(n, form)
        for n in (16, 32)
        for what, form in (
            ("Baugh-Wooley", "signed=true;form=baugh_wooley"),
            ("Baugh-Wooley, array and ripple adder", "signed=true;form=baugh_wooley;tree=array;adder=ripple"),
            ("by magnitudes", "signed=true"),
            ("unsigned", ""),
        )
    },
}
REFERENCE = MACS[0]
FACTOR = 1.5
EFFORT = "quick"  # a float32 MAC takes minutes with each script
CLOCK_GHZ = 0.1  # which every one of them meets
GLITCH_VECTORS = 1024  # the standard error of a MAC's energy is then 1 to 2 percent
_VECTORS = 1_000_000
_NOTES = (
    "The paper's energy is delay times power (all six check), and it does not say at which rate its power is. Read as "
    "the power of a clock as long as each design's own delay, which is how it was read before the first run, the "
    "product is the energy of one operation. So read, four of five ratios and the order are missed; with glitches "
    "three, with the fastest circuits two.",
    "That reading is not the paper's, we believe. By it, a 32 nm FP32 MAC takes 43.6 pJ and a 32-bit fixed-point one "
    "18.7 pJ: nine and six times the 4.6 and 3.2 pJ of a multiplication and an addition in 45 nm (Horowitz, "
    "Computing's energy problem, ISSCC 2014). With an operation per nanosecond for all, its powers of 5.80 and 4.36 mW "
    "are 5.8 and 4.4 pJ. And our powers at one clock for all, of the fastest circuits, agree with its powers in all "
    "five ratios and, with glitches, in the order; at clocks of their own they would be 4.0 (fixed, 16) and 1.4 "
    "(Mitch-w6, 16) times bfloat16's, where the paper has 0.80 and 0.34. So the energy of an operation is what its "
    "column of powers shows, and its column of energies is an energy-delay product.",
    "Our delay x power at one clock agrees with that column in all five ratios and the order, for the smallest "
    "circuits. The product was tried because the first reading failed; what speaks for it besides was found later. "
    "With the fastest circuits two or three ratios are missed: the paper has the powers of fast circuits and the "
    "delays of slow ones (4.8 ns for a bfloat16 MAC in 32 nm is a design without a timing goal), and neither end of "
    "ours has both.",
    "The paper's headline, 80 % less energy than bfloat16, is such a product: by its own powers Mitch-w6 saves 66 % of "
    "an operation's energy at 16 bits. Ours are 44 % (smallest) to 68 % (fastest, with glitches).",
    "Glitches, pulses that outlast a gate's delay, multiply the energy of the smallest circuits by 1.6 (Mitch-w6, 32) "
    "to 3.2 (FP32), of a 32-bit array with ripple adders by 7. They bring the fastest circuits' powers nearer to the "
    "paper's where fixed point is concerned, and take FP32's product out of the factor. They do not explain the first "
    "reading.",
    "Fixed point has Booth rows, a Dadda tree and a parallel-prefix adder, and a sum as wide as the product; the paper "
    "says nothing of it. It is the smallest two's complement form found: Baugh-Wooley's array takes 20 % more area at "
    "16 bits and 26 % at 32, conversions to magnitudes and back 32 and 36 %. An array with ripple adders has the "
    "paper's delays nearly to the digit (2.02 and 4.09 ns beside 2.07 and 4.29), but its products, 0.76 and 6.2, are "
    "more than twice the paper's.",
    "The paper's FP32 is a design of its own, cut down to bfloat16; here floating point rounds product and sum to "
    "nearest even and handles subnormals. More scripts (effort normal) find circuits that are at most 0.2 % smaller at "
    "16 bits (bfloat16, fixed, Mitch-w6).",
)


@dataclass(frozen=True)
class Measured:
    """A circuit of a MAC: energy of one operation at a clock of its own delay [fJ], power at one clock for all [uW].

    Each is a pair: without glitches, and with them.
    """

    area_um2: float
    delay_ps: float
    energy_fj: tuple[float, float]
    power_uw: tuple[float, float]


def _measured(unit: Unit, circuit: Mapped, library: Library) -> Measured:
    (quiet,) = energies(unit, circuit, library)
    vectors = toggling(unit.inputs, count=GLITCH_VECTORS)
    spent = quiet, energy(circuit.netlist, library, vectors, glitches=True)
    own = 1000.0 / circuit.delay_ps
    each = (spent[0].at(own).total_uw / own, spent[1].at(own).total_uw / own)
    return Measured(
        circuit.area_um2, circuit.delay_ps, each, (spent[0].at(CLOCK_GHZ).total_uw, spent[1].at(CLOCK_GHZ).total_uw)
    )


Figures = Mapping[str, Mapping[str, Measured]]  # by MAC and circuit


@dataclass(frozen=True)
class Reading:
    """What a column of the paper may mean: our figure of a circuit, glitches counted or not, and the paper's."""

    name: str
    ours: Callable[[Measured, int], float]
    papers: Callable[[Printed], float]

    def ratios(self, figures: Figures, circuit: str, glitches: int) -> dict[str, tuple[float, float]]:
        """(ours, the paper's), each to bfloat16's, of the MACs that the paper has."""
        base = self.ours(figures[REFERENCE.name][circuit], glitches)
        return {
            mac.name: (
                self.ours(figures[mac.name][circuit], glitches) / base,
                self.papers(mac) / self.papers(REFERENCE),
            )
            for mac in MACS
        }


OPERATION = Reading("energy of one operation", lambda m, g: m.energy_fj[g], lambda p: p.energy_pj)
PRODUCT = Reading("delay x power at one clock", lambda m, g: m.delay_ps * m.power_uw[g], lambda p: p.energy_pj)
POWER = Reading("power at one clock, to the paper's power", lambda m, g: m.power_uw[g], lambda p: p.power_mw)
CIRCUITS = ("smallest", "fastest")
GLITCHES = ("without glitches", "with glitches")
IN_FULL = ((OPERATION, "smallest", 0), (PRODUCT, "smallest", 0), (POWER, "fastest", 1))


@reproduction("log-table4", "Effects of approximate multiplication, Table 4: delay, power and energy of six MACs")
def log_table4(setting: Setting) -> Reproduction:
    """Delay, and energy per operation with and without glitches, under an input toggle rate of 0.1."""
    library = setting.library()

    def progress(done: int, total: int, name: str) -> None:
        setting.progress(Event("synthesis", name, done, total))

    specs = {mac.name: mac.spec for mac in MACS} | BESIDE
    made = synthesize_units([UNITS.parse(spec) for spec in specs.values()], library, EFFORT, progress=progress)
    figures: dict[str, dict[str, Measured]] = {}
    proofs: dict[str, list[str]] = {}
    for done, (name, found) in enumerate(zip(specs, made, strict=True), start=1):
        figures[name] = {}
        for which in CIRCUITS[:1] if name in BESIDE else CIRCUITS:
            circuit = getattr(found.synthesis, which)
            proofs.setdefault(str(found.prove(circuit, _VECTORS)), []).append(f"{name}, {which}")
            figures[name][which] = _measured(found.unit, circuit, library)
        setting.progress(Event("power", name, done, len(specs)))
    conditions = (
        ("cells", f"{library.source}; Yosys and ABC, effort {EFFORT}, no wires, 8.6 fF at each output for power"),
        ("activity", f"input toggle rate 0.1; glitches over {GLITCH_VECTORS:,} vectors"),
        ("energy and power", f"energy at a clock of the circuit's own delay; power, in the ratios, at {CLOCK_GHZ} GHz"),
        *(("proof", f"{'; '.join(names)}: {proof}") for proof, names in _fewest_last(proofs)),
    )
    title = "Effects of approximate multiplication, Table 4"
    source = "papers/approximate_multiplication_effects.txt, Table 4"
    columns = (
        "MAC", "circuit", "area um2", "delay ps", "paper", "fJ", "fJ with glitches", "power to bfloat16",
        "power with glitches", "paper ", "delay x power to bfloat16", "delay x power with glitches", "paper's energy",
    )  # fmt: skip
    checks = tuple(_checks(figures))
    return Reproduction("log-table4", title, source, columns, tuple(_rows(figures)), checks, _NOTES, conditions)


def _fewest_last(proofs: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Proofs with the circuits that have them, those of the most circuits under their number alone."""
    first, *others = sorted(proofs.items(), key=lambda entry: -len(entry[1]))
    yield first[0], [f"{len(first[1])} of {sum(map(len, proofs.values()))} circuits"]
    yield from others


def _rows(figures: Figures) -> Iterator[tuple[Cell, ...]]:
    printed = {mac.name: mac for mac in MACS}
    for circuit in CIRCUITS:
        base = figures[REFERENCE.name][circuit]
        for name, m in ((name, found[circuit]) for name, found in figures.items() if circuit in found):
            mac = printed.get(name)
            powers, products = (
                [reading.ours(m, g) / reading.ours(base, g) for g in range(len(GLITCHES))]
                for reading in (POWER, PRODUCT)
            )
            delay = 1000 * mac.delay_ns if mac else None
            power, total = (
                reading.papers(mac) / reading.papers(REFERENCE) if mac else None for reading in (POWER, PRODUCT)
            )
            yield name, circuit, m.area_um2, m.delay_ps, delay, *m.energy_fj, *powers, power, *products, total


def _checks(figures: Figures) -> Iterator[Check]:
    """Every ratio of the readings shown in full, then of each reading and way of counting how many are met."""
    for reading, circuit, glitches in IN_FULL:
        how = f"{reading.name}, {circuit}, {GLITCHES[glitches]}"
        ratios = reading.ratios(figures, circuit, glitches)
        for name, (ours, papers) in ratios.items():
            if name != REFERENCE.name:
                met = _near(ours, papers)
                yield Check(f"{how}: {name} to bfloat16", ours, f"{papers:.3f} within a factor of {FACTOR}", met)
        order, wanted = (sorted(ratios, key=lambda name, k=k: ratios[name][k]) for k in (0, 1))
        same = sum(one == other for one, other in zip(order, wanted, strict=True))
        yield Check(f"{how}: places in the order that agree", same, f"6: {', '.join(wanted)}", order == wanted)
    for reading in (OPERATION, PRODUCT, POWER):
        for circuit in CIRCUITS:
            for glitches, counted in enumerate(GLITCHES):
                ratios = reading.ratios(figures, circuit, glitches)
                near = sum(_near(*ratios[mac.name]) for mac in MACS if mac is not REFERENCE)
                wanted = f"{len(MACS) - 1} within a factor of {FACTOR}"
                yield Check(f"{reading.name}, {circuit}, {counted}: ratios", near, wanted, near == len(MACS) - 1)


def _near(ours: float, papers: float) -> bool:
    return 1 / FACTOR <= ours / papers <= FACTOR
