"""What a unit costs in standard cells: its proved circuits, and the smallest that meets a clock, with its power."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from carrysave.hardware.activity import toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.clocked_power import Streams, toggling_streams
from carrysave.hardware.clocks import AtClock
from carrysave.hardware.kept_energy import cached_clocked_energy, cached_energy
from carrysave.hardware.library import Library
from carrysave.hardware.power import OUTPUT_LOAD_FF, Energy
from carrysave.hardware.proof import VECTORS, UnitProof, prove_unit, rtlil_of, verified
from carrysave.hardware.registers import Clocked, Cut, meeting_period, synthesize_clocked_many
from carrysave.hardware.resizing import meeting
from carrysave.hardware.rtl import module_name
from carrysave.hardware.synthesis import Mapped, Synthesis, lower, make_job, run_jobs
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
        proof: of the smallest, and of the fastest where it is another.
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


@dataclass(frozen=True)
class UnitSynthesis:
    """What the scripts found for one unit; `clocked` is None for a combinational one.

    `tools` are those that the circuits are proved with; None for the installed ones.
    """

    unit: Unit
    synthesis: Synthesis
    effort: str
    clocked: Clocked | None = None
    tools: Tools | None = None

    def prove(self, mapped: Mapped, vectors: int = VECTORS) -> UnitProof:
        """Prove one of the circuits, or one that was sized from them; cached. Raises as `proof.prove_unit`."""
        tools = self.tools or Tools.installed()
        if self.clocked:
            rtl: str | Cut = self.clocked.cut
        else:
            rtl = lower(self.synthesis.name, rtlil_of(self.unit), tools)
        return prove_unit(self.unit, mapped.netlist, self.synthesis.library, rtl, vectors, tools=tools)

    def cost(self, vectors: int = VECTORS) -> UnitCost:
        """Prove the smallest and the fastest circuit, run those between on fewer vectors, and sum up.

        Raises MismatchError for a circuit that is something else, SynthesisError if ABC fails.
        """
        found, unit = self.synthesis, self.unit
        library, smallest, fastest = found.library, found.smallest, found.fastest
        for mapped in found.pareto[1:-1]:
            verified(mapped.netlist, library, unit, min(vectors, QUICK_VECTORS))
        proof = self.prove(smallest, vectors)
        if fastest is not smallest:
            proof = proof.beside(self.prove(fastest, vectors), "the fastest circuit")
        source = f"{library.source}; Yosys and ABC, effort {self.effort}, no wires, no clock tree, unloaded outputs"
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
        )

    def at_clock(self, frequency_ghz: float, streams: Sequence[Streams] = (), vectors: int = VECTORS) -> AtClock:
        """The smallest circuit that meets a clock, proved, with its power under an input toggle rate of 0.1.

        Args:
            streams: further activities of a clocked unit.

        Raises:
            ValueError: for a clock that is not positive.
            MismatchError, SynthesisError: as `prove`.
        """
        if not 0 < frequency_ghz < float("inf"):
            raise ValueError(f"frequency_ghz={frequency_ghz}: a clock is positive and finite")
        period, library, fastest = 1000.0 / frequency_ghz, self.synthesis.library, self.synthesis.fastest.delay_ps
        if self.clocked:
            chosen = meeting_period(self.clocked, period, tools=self.tools)
        else:
            chosen = meeting(self.synthesis, period, tools=self.tools)
        if chosen is None:
            return AtClock(self.unit.spec, frequency_ghz, None, {}, fastest_ps=fastest)
        proof = self.prove(chosen, vectors)
        spent = energies(self.unit, chosen, library, streams)
        power = {e.activity: e.at(frequency_ghz) for e in spent}
        return AtClock(self.unit.spec, frequency_ghz, chosen, power, str(proof), fastest)


def synthesize_units(
    units: Iterable[Unit],
    library: Library | None = None,
    effort: str = "normal",
    *,
    progress: Callable[[int, int, str], None] | None = None,
    tools: Tools | None = None,
) -> list[UnitSynthesis]:
    """Map units onto the library's cells (the built-in compact one if None), their scripts side by side.

    Raises:
        SynthesisError, LibraryError: as `synthesis.synthesize` and `registers.synthesize_clocked`.
    """
    chosen, library, tools = list(units), library or compact_library(), tools or Tools.installed()
    texts = {unit: rtlil_of(unit) for unit in chosen}
    plain, clocked = ([unit for unit in texts if unit.clocked is with_] for with_ in (False, True))
    found: dict[Unit, UnitSynthesis] = {}
    if plain:
        jobs = [make_job(module_name(u.spec), texts[u], library, None, effort, 0.0, tools) for u in plain]
        made = run_jobs(jobs, progress)
        found |= {u: UnitSynthesis(u, synthesis, effort, None, tools) for u, synthesis in zip(plain, made, strict=True)}
    if clocked:
        designs = [(module_name(unit.spec), texts[unit]) for unit in clocked]
        registered = synthesize_clocked_many(designs, library, effort=effort, progress=progress, tools=tools)
        found |= {u: UnitSynthesis(u, c.synthesis, effort, c, tools) for u, c in zip(clocked, registered, strict=True)}
    return [found[unit] for unit in chosen]


def energies(
    unit: Unit,
    mapped: Mapped,
    library: Library,
    streams: Sequence[Streams] = (),
    output_load_ff: float = OUTPUT_LOAD_FF,
) -> list[Energy]:
    """Energy per cycle of a circuit under an input toggle rate of 0.1, and of a clocked one under each of `streams`."""
    if not unit.clocked:
        return [cached_energy(mapped.netlist, library, toggling(unit.inputs), output_load_ff)]
    activities = [toggling_streams(unit), *streams]
    return [cached_clocked_energy(mapped.netlist, library, activity, output_load_ff) for activity in activities]
