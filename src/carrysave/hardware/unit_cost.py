"""What a unit costs in standard cells: its proved circuits, and the smallest that meets a clock, with its power."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from carrysave.hardware.activity import toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.clocked_power import Streams, clocked_energy, toggling_streams
from carrysave.hardware.library import Library
from carrysave.hardware.power import OUTPUT_LOAD_FF, Energy, Power, energy
from carrysave.hardware.proof import VECTORS, UnitProof, verify_unit
from carrysave.hardware.registers import synthesize_clocked_many
from carrysave.hardware.resizing import meeting
from carrysave.hardware.rtl import module_name
from carrysave.hardware.synthesis import Mapped, Synthesis, make_job, run_jobs
from carrysave.hardware.tools import Tools
from carrysave.hardware.units.base import Unit

QUICK_VECTORS = 200_000  # for the circuits of a Pareto set whose figures are not quoted alone


@dataclass(frozen=True)
class UnitCost:
    """Cost of a unit's mapped and proved circuits.

    Attributes:
        area_um2, delay_ps: of the smallest circuit; with registers the delay is the shortest clock period.
        min_delay_ps: of the fastest.
        pareto: (area_um2, delay_ps, script) of the circuits that no other one beats, smallest first.
        cells: how many of each cell the smallest has.
        proof: what the smallest and the fastest were run on.
        frequency_ghz: the clock of `power`, one operation per cycle.
        at_clock: the smallest circuit that meets the clock; None where none does.
        power: of that circuit, by activity.
        source: library and flow the figures come from.
    """

    spec: str
    area_um2: float
    delay_ps: float
    min_delay_ps: float
    pareto: tuple[tuple[float, float, str], ...]
    cells: Mapping[str, int]
    proof: UnitProof
    source: str
    frequency_ghz: float
    at_clock: Mapped | None = None
    power: Mapping[str, Power] = field(default_factory=dict)


def unit_costs(
    units: Iterable[Unit],
    library: Library | None = None,
    effort: str = "normal",
    *,
    frequency_ghz: float = 1.0,
    vectors: int = VECTORS,
    streams: Sequence[Streams] = (),
    progress: Callable[[int, int, str], None] | None = None,
    tools: Tools | None = None,
) -> list[UnitCost]:
    """Synthesise units, prove their circuits, and state area, delay and the power at a clock.

    Args:
        library: the built-in compact one if None.
        effort: "quick" or "normal", as in `synthesis.synthesize`.
        vectors: random inputs that the quoted circuits are proved on where they cannot be enumerated.
        streams: further activities of clocked units, besides the input toggle rate of 0.1.

    Raises:
        SynthesisError, LibraryError: as `synthesis.synthesize` and `registers.synthesize_clocked`.
        MismatchError: if a circuit computes something else than its unit's definition.
        ValueError: for a clock that is not positive.
    """
    if not 0 < frequency_ghz < float("inf"):
        raise ValueError(f"frequency_ghz={frequency_ghz}: a clock is positive and finite")
    chosen, library, tools = list(units), library or compact_library(), tools or Tools.installed()
    texts = {unit: unit.circuit().rtlil() for unit in chosen}
    plain, clocked = ([unit for unit in chosen if unit.clocked is with_] for with_ in (False, True))
    jobs = [make_job(module_name(u.spec), texts[u], library, None, effort, 0.0, tools) for u in plain]
    found: dict[Unit, Synthesis] = dict(zip(plain, run_jobs(jobs, progress), strict=True)) if jobs else {}
    if clocked:
        designs = [(module_name(unit.spec), texts[unit]) for unit in clocked]
        made = synthesize_clocked_many(designs, library, effort=effort, progress=progress, tools=tools)
        found |= {unit: entry.synthesis for unit, entry in zip(clocked, made, strict=True)}
    return [_cost(unit, found[unit], effort, frequency_ghz, vectors, streams) for unit in chosen]


def _cost(
    unit: Unit, found: Synthesis, effort: str, frequency_ghz: float, vectors: int, streams: Sequence[Streams]
) -> UnitCost:
    library, smallest, fastest = found.library, found.smallest, found.fastest
    for mapped in found.pareto[1:-1]:
        verify_unit(mapped.netlist, library, unit, min(vectors, QUICK_VECTORS))
    proof = verify_unit(smallest.netlist, library, unit, vectors)
    if fastest is not smallest:
        verify_unit(fastest.netlist, library, unit, vectors)
    period = 1000.0 / frequency_ghz
    chosen = found.meeting(period) if unit.clocked else meeting(found, period)
    power = {}
    if chosen is not None:
        if chosen not in found.pareto:
            verify_unit(chosen.netlist, library, unit, vectors)
        power = {e.activity: e.at(frequency_ghz) for e in energies(unit, chosen, library, streams)}
    source = f"{library.source}; Yosys and ABC, effort {effort}, no wires, no clock tree, unloaded outputs"
    if found.failures:
        source += f"; scripts that failed: {', '.join(name for name, _ in found.failures)}"
    return UnitCost(
        unit.spec,
        smallest.area_um2,
        smallest.delay_ps,
        fastest.delay_ps,
        tuple((mapped.area_um2, mapped.delay_ps, mapped.script) for mapped in found.pareto),
        dict(sorted(smallest.netlist.cells().items())),
        proof,
        source,
        frequency_ghz,
        chosen,
        power,
    )


def energies(
    unit: Unit,
    mapped: Mapped,
    library: Library,
    streams: Sequence[Streams] = (),
    output_load_ff: float = OUTPUT_LOAD_FF,
) -> list[Energy]:
    """Energy per cycle of a circuit under an input toggle rate of 0.1, and of a clocked one under each of `streams`."""
    if not unit.clocked:
        return [energy(mapped.netlist, library, toggling(unit.inputs), output_load_ff)]
    activities = [toggling_streams(unit), *streams]
    return [clocked_energy(mapped.netlist, library, activity, output_load_ff) for activity in activities]
