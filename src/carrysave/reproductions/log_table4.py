"""Effects of approximate multiplication, Table 4: delay, power and energy of six MACs."""

from __future__ import annotations

from dataclasses import dataclass

from carrysave.hardware.unit_cost import energies, synthesize_units
from carrysave.hardware.units import UNITS
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


MACS = (
    Printed("bfloat16", "float_mac:bfloat16", 4.77, 1.47, 7.01),
    Printed("fixed, 16", "mac:multiplier=exact:n=16", 2.07, 1.17, 2.42),
    Printed("Mitch-w6, 16", "mac:multiplier=mitchell_w:w=6;n=16", 2.74, 0.50, 1.37),
    Printed("FP32", "float_mac:float32", 7.52, 5.80, 43.62),
    Printed("fixed, 32", "mac:multiplier=exact:n=32", 4.29, 4.36, 18.70),
    Printed("Mitch-w6, 32", "mac:multiplier=mitchell_w:w=6;n=32", 4.39, 0.98, 4.30),
)
BESIDE = {
    "bfloat16, sum in 32 bits": "float_mac:bfloat16,accumulator=float32",
    "fixed, 16, by magnitudes": "mac:multiplier=exact:n=16;signed=true",
    "fixed, 32, by magnitudes": "mac:multiplier=exact:n=32;signed=true",
}
REFERENCE = "bfloat16"
FACTOR = 1.5
EFFORT = "quick"  # the smallest circuits come from its scripts; a float32 MAC takes minutes with each
CLOCK_GHZ = 0.1  # which every one of them meets
_VECTORS = 1_000_000
_NOTES = (
    "The paper's energy is delay times power (all six check), and it does not say at which clock its power is. Read "
    "as the power of a clock as long as each design's own delay, which is how it was read before the run, the "
    "product is the energy of one operation; so read, four of five ratios and the order are missed. Read as the "
    "power at one clock for all (a tool's default activity, per nanosecond), it weighs the energy of an operation "
    "by the delay once more; so read, the ratios and the order agree. That agreement is the evidence for the second "
    "reading, there is no other: both are shown.",
    "Per operation an exact 16-bit multiplier takes more than bfloat16's 8-bit one here, with four times its "
    "partial products. Glitches are not counted; the deep floating-point circuits would have more of them.",
    "Circuits are the smallest found: 4.8 ns for a bfloat16 MAC in 32 nm is a design without a timing goal. The "
    "paper's library, its activity and its RTL of FP32 (cut down to bfloat16) are not ours; compare with bfloat16.",
    "Floating point here rounds product and sum to nearest even and handles subnormals. Fixed point is an unsigned "
    "array, as many partial products as in two's complement, its sum as wide as the product; the paper says "
    "neither. The rows by magnitudes are the same array between conversions from and to two's complement: they are "
    "outside the factor of 1.5 in both readings.",
)


@reproduction("log-table4", "Effects of approximate multiplication, Table 4: delay, power and energy of six MACs")
def log_table4(setting: Setting) -> Reproduction:
    """Delay, power at one clock, and energy per operation, under an input toggle rate of 0.1."""
    library = setting.library()

    def progress(done: int, total: int, name: str) -> None:
        setting.progress(Event("synthesis", name, done, total))

    specs = [mac.spec for mac in MACS] + list(BESIDE.values())
    found = synthesize_units([UNITS.parse(spec) for spec in specs], library, EFFORT, progress=progress)
    figures: dict[str, tuple[float, float, float, float]] = {}
    proofs = set()
    for done, (spec, entry) in enumerate(zip(specs, found, strict=True), start=1):
        cost, smallest = entry.cost(_VECTORS), entry.synthesis.smallest
        (spent,) = energies(entry.unit, smallest, library)
        own = spent.at(1000.0 / smallest.delay_ps).total_uw * smallest.delay_ps * 1e-3
        power = spent.at(CLOCK_GHZ).total_uw
        figures[spec] = (cost.area_um2, smallest.delay_ps, own, power)
        proofs.add(str(cost.proof))
        setting.progress(Event("power", spec, done, len(specs)))
    printed = {mac.name: mac for mac in MACS}
    base, papers = figures[printed[REFERENCE].spec], printed[REFERENCE].energy_pj

    def ratios(spec: str) -> tuple[float, float]:
        """Energy to bfloat16's: per operation, and as delay times the power at one clock."""
        _, delay, own, power = figures[spec]
        return own / base[2], delay * power / (base[1] * base[3])

    rows: list[tuple[Cell, ...]] = []
    for mac in MACS:
        area, delay, own, power = figures[mac.spec]
        each, product = ratios(mac.spec)
        row = (area, delay, 1000 * mac.delay_ns, power, 1000 * mac.power_mw, own, each, product, mac.energy_pj / papers)
        rows.append((mac.name, *row))
    for name, spec in BESIDE.items():
        area, delay, own, power = figures[spec]
        rows.append((name, area, delay, None, power, None, own, *ratios(spec), None))
    columns = (
        "MAC", "area um2", "delay ps", "paper", f"uW at {CLOCK_GHZ * 1000:g} MHz", "paper ", "fJ per operation",
        "per operation, to bfloat16", "delay x power at one clock, to bfloat16", "paper  ",
    )  # fmt: skip
    checks = []
    for k, reading in enumerate(("delay x power at one clock", "energy per operation")):
        found_ratios = {mac.name: ratios(mac.spec)[1 - k] for mac in MACS}
        checks += _checks(reading, found_ratios, {mac.name: mac.energy_pj / papers for mac in MACS})
    conditions = (
        ("cells", f"{library.source}; Yosys and ABC, effort {EFFORT}, no wires, 8.6 fF at each output for power"),
        ("activity", "input toggle rate 0.1, no glitches"),
        ("proof", "; ".join(sorted(proofs))),
    )
    title = "Effects of approximate multiplication, Table 4"
    source = "papers/approximate_multiplication_effects.txt, Table 4"
    return Reproduction("log-table4", title, source, columns, tuple(rows), tuple(checks), _NOTES, conditions)


def _checks(reading: str, ours: dict[str, float], papers: dict[str, float]) -> list[Check]:
    checks = []
    for name, value in ours.items():
        if name != REFERENCE:
            text, factor = f"{papers[name]:.3f} within a factor of {FACTOR}", value / papers[name]
            checks.append(Check(f"{reading}: {name} to bfloat16", value, text, 1 / FACTOR <= factor <= FACTOR))
    order, wanted = (sorted(table, key=lambda name: table[name]) for table in (ours, papers))
    same = sum(one == other for one, other in zip(order, wanted, strict=True))
    checks.append(Check(f"{reading}: places in the order that agree", same, f"6: {', '.join(wanted)}", order == wanted))
    return checks
