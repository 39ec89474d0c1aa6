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
    Printed("fixed, 16", "mac:multiplier=exact:n=16;signed=true", 2.07, 1.17, 2.42),
    Printed("Mitch-w6, 16", "mac:multiplier=mitchell_w:w=6;n=16", 2.74, 0.50, 1.37),
    Printed("FP32", "float_mac:float32", 7.52, 5.80, 43.62),
    Printed("fixed, 32", "mac:multiplier=exact:n=32;signed=true", 4.29, 4.36, 18.70),
    Printed("Mitch-w6, 32", "mac:multiplier=mitchell_w:w=6;n=32", 4.39, 0.98, 4.30),
)
BESIDE = ("bfloat16, sum in 32 bits", "float_mac:bfloat16,accumulator=float32")
REFERENCE = "bfloat16"
FACTOR = 1.5
EFFORT = "quick"  # the smallest circuits come from its scripts; a float32 MAC takes minutes with each
_VECTORS = 1_000_000
_NOTES = (
    "Energy is delay times power, as in the paper (all six check): the power of a clock as long as the delay. Circuits "
    "are the smallest found: 4.8 ns for a bfloat16 MAC in 32 nm is a design without a timing goal. The paper's "
    "library, its activity and its RTL of FP32 (cut down to bfloat16) are not ours; compare energy to bfloat16.",
    "Floating point here rounds product and sum to nearest even and handles subnormals; sums of fixed point are as "
    "wide as the product (the paper does not say).",
)


@reproduction("log-table4", "Effects of approximate multiplication, Table 4: delay, power and energy of six MACs")
def log_table4(setting: Setting) -> Reproduction:
    """Delay, power at a clock as long as the delay, and energy per operation, under an input toggle rate of 0.1."""
    library = setting.library()

    def progress(done: int, total: int, name: str) -> None:
        setting.progress(Event("synthesis", name, done, total))

    specs = [mac.spec for mac in MACS] + [BESIDE[1]]
    found = synthesize_units([UNITS.parse(spec) for spec in specs], library, EFFORT, progress=progress)
    figures: dict[str, tuple[float, float, float, float]] = {}
    proofs = set()
    for done, (spec, entry) in enumerate(zip(specs, found, strict=True), start=1):
        cost, smallest = entry.cost(_VECTORS), entry.synthesis.smallest
        (spent,) = energies(entry.unit, smallest, library)
        power = spent.at(1000.0 / smallest.delay_ps).total_uw
        figures[spec] = (cost.area_um2, smallest.delay_ps, power, power * smallest.delay_ps * 1e-3)
        proofs.add(str(cost.proof))
        setting.progress(Event("power", spec, done, len(specs)))
    printed = {mac.name: mac for mac in MACS}
    base, papers = figures[printed[REFERENCE].spec][3], printed[REFERENCE].energy_pj
    rows: list[tuple[Cell, ...]] = []
    for mac in MACS:
        area, delay, power, energy = figures[mac.spec]
        own = (delay, 1000 * mac.delay_ns, power, 1000 * mac.power_mw, energy, 1000 * mac.energy_pj)
        rows.append((mac.name, area, *own, energy / base, mac.energy_pj / papers))
    area, delay, power, energy = figures[BESIDE[1]]
    rows.append((BESIDE[0], area, delay, None, power, None, energy, None, energy / base, None))
    columns = (
        "MAC", "area um2", "delay ps", "paper", "power uW", "paper ", "energy fJ", "paper  ", "energy to bfloat16",
        "paper   ",
    )  # fmt: skip
    checks = []
    ratios = {mac.name: (figures[mac.spec][3] / base, mac.energy_pj / papers) for mac in MACS}
    for name, (ours, theirs) in ratios.items():
        if name != REFERENCE:
            text = f"{theirs:.3f} within a factor of {FACTOR}"
            checks.append(Check(f"{name}: energy to bfloat16's", ours, text, 1 / FACTOR <= ours / theirs <= FACTOR))
    order = sorted(ratios, key=lambda name: ratios[name][0])
    wanted = sorted(ratios, key=lambda name: ratios[name][1])
    same = sum(one == other for one, other in zip(order, wanted, strict=True))
    checks.append(Check("places in the order by energy that agree", same, f"6 ({', '.join(wanted)})", order == wanted))
    conditions = (
        ("cells", f"{library.source}; Yosys and ABC, effort {EFFORT}, no wires, 8.6 fF at each output for power"),
        ("activity", "input toggle rate 0.1, no glitches"),
        ("proof", "; ".join(sorted(proofs))),
    )
    title = "Effects of approximate multiplication, Table 4"
    source = "papers/approximate_multiplication_effects.txt, Table 4"
    return Reproduction("log-table4", title, source, columns, tuple(rows), tuple(checks), _NOTES, conditions)
