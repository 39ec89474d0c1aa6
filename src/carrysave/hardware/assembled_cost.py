"""What an assembly costs at a clock: area and power of each different part, times how often it stands there.

Activity is each part's own: the whole runs on its input streams, and what goes into some of a part's places is
recorded. A net between two parts is counted once, where it goes in; the load outside is counted at the outputs of the
whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from carrysave.hardware.assembled import AssemblySynthesis, Built
from carrysave.hardware.clocked_power import Streams, clocked_energy, toggling_streams
from carrysave.hardware.flat import pieces
from carrysave.hardware.kept_energy import kept_energies
from carrysave.hardware.power import OUTPUT_LOAD_FF, Energy, Power
from carrysave.hardware.proof import VECTORS, UnitProof, rtlil_of, verified
from carrysave.hardware.units.assembly import Assembly, Glue, Observed, pin
from carrysave.hardware.units.base import RESET, Unit
from carrysave.planes import PlaneWord

PLACES = 4  # of each different part, at which its inputs are recorded
CYCLES = 18  # 17 transitions at 4 places in 128 streams: as many as a single circuit's vectors
WHOLE_VECTORS = 4_096  # on which the flat netlist is run: its parts are proved one by one
WHOLE_CELLS = 20_000  # up to which it is: the proof of a large assembly is that of its parts and its glue


@dataclass(frozen=True)
class Piece:
    """One different part of an assembly, or its glue: how often it stands there, and what each one costs."""

    spec: str
    count: int
    area_um2: float
    script: str
    power: Mapping[str, Power]
    proof: UnitProof


@dataclass(frozen=True)
class AssemblyAtClock:
    """An assembly at a clock.

    Attributes:
        period_ps: the shortest period of the flat netlist; of the nearest circuit where the clock is missed, None if a
            part alone misses it.
        met: whether it meets the clock; pieces, area and power are of a circuit that does.
        power: of the whole by activity, the load outside included.
        proof: of the flat netlist; None where that is larger than `WHOLE_CELLS`.
    """

    spec: str
    frequency_ghz: float
    period_ps: float | None
    met: bool
    pieces: tuple[Piece, ...] = ()
    area_um2: float = 0.0
    power: Mapping[str, Power] = field(default_factory=dict)
    proof: UnitProof | None = None


def assembly_at_clock(
    synthesis: AssemblySynthesis,
    frequency_ghz: float,
    streams: Sequence[Streams] = (),
    *,
    vectors: int = VECTORS,
    whole_vectors: int = WHOLE_VECTORS,
) -> AssemblyAtClock:
    """The smallest circuit of an assembly that meets a clock, proved, with its power.

    Args:
        streams: activities of the whole's inputs; an input toggle rate of 0.1 if there are none.
        vectors: random vectors on which each part is proved.
        whole_vectors: on which the flat netlist is.

    Raises:
        ValueError: for a clock that is not positive.
        MismatchError: for a circuit that is something else than its definition.
    """
    if not 0 < frequency_ghz < float("inf"):
        raise ValueError(f"frequency_ghz={frequency_ghz}: a clock is positive and finite")
    assembly, library = synthesis.assembly, synthesis.library
    built = synthesis.nearest(1000.0 / frequency_ghz)
    if built is None or built.period_ps > 1000.0 / frequency_ghz:
        return AssemblyAtClock(assembly.spec, frequency_ghz, built.period_ps if built else None, False)
    counts = pieces(assembly)
    proofs = {unit: synthesis.found[unit].prove(built.circuits[unit], vectors) for unit in counts}
    small = sum(n * built.circuits[unit].netlist.cells().total() for unit, n in counts.items()) <= WHOLE_CELLS
    whole = verified(built.netlist(), library, assembly, whole_vectors) if small else None
    spent = [energies(built, activity) for activity in (streams or (toggling_streams(assembly, cycles=CYCLES),))]
    found = tuple(
        Piece(
            unit.spec,
            count,
            built.circuits[unit].area_um2,
            built.circuits[unit].script,
            {e.label: e.pieces[unit].at(frequency_ghz) for e in spent},
            proofs[unit],
        )
        for unit, count in counts.items()
    )
    power = {e.label: e.power(frequency_ghz, counts) for e in spent}
    return AssemblyAtClock(assembly.spec, frequency_ghz, built.period_ps, True, found, built.area_um2, power, whole)


# ---------------------------------------------------------------- power


@dataclass(frozen=True)
class Energies:
    """Energy per cycle of each different piece under one activity, and of the load at the outputs of the whole."""

    label: str
    pieces: Mapping[Unit, Energy]
    load_fj: float

    def power(self, frequency_ghz: float, counts: Mapping[Unit, int]) -> Power:
        """Of the whole. The standard errors of equal pieces add up: they were measured together."""
        each = [(counts[unit], energy.at(frequency_ghz)) for unit, energy in self.pieces.items()]
        return Power(
            self.label,
            frequency_ghz,
            sum(n * p.switching_uw for n, p in each) + self.load_fj * frequency_ghz,
            sum(n * p.internal_uw for n, p in each),
            sum(n * p.leakage_uw for n, p in each),
            float(np.sqrt(sum((n * p.standard_error_uw) ** 2 for n, p in each))),
            tuple(dict.fromkeys(note for _, p in each for note in p.notes)),
        )


def energies(built: Built, streams: Streams, output_load_ff: float = OUTPUT_LOAD_FF) -> Energies:
    """Energy per cycle of every piece under the activity that input streams of the whole cause in it; cached."""
    order = list(pieces(built.assembly))
    texts = [built.circuits[unit].netlist.blif() for unit in order]
    stated = ("assembly", rtlil_of(built.assembly), *texts, streams.label, repr(streams.settling), repr(output_load_ff))

    def compute() -> list[Energy]:
        recorded = activity(built.assembly, streams)
        load_fj = 0.5 * built.library.voltage**2 * output_load_ff * recorded.output_toggles
        return [*(_energy(built, unit, recorded.inputs[unit]) for unit in order), _none(streams.label, load_fj)]

    *found, load = kept_energies(built.library, stated, streams.cycles, compute)
    return Energies(streams.label, dict(zip(order, found, strict=True)), load.switching_fj)


def _energy(built: Built, unit: Unit, own: Streams) -> Energy:
    netlist = built.circuits[unit].netlist
    if not netlist.cells():  # wires
        return _none(own.label)
    return clocked_energy(netlist, built.library, own, 0.0)


def _none(label: str, switching_fj: float = 0.0) -> Energy:
    """What no gate spends, and a load outside may."""
    return Energy(label, switching_fj, 0.0, 0.0, 0.0, 0, np.zeros(0), np.zeros(0), 0.0)


@dataclass(frozen=True)
class Activity:
    """Input streams of each different piece, and how many output bits of the whole toggle per cycle."""

    inputs: Mapping[Unit, Streams]
    output_toggles: float


def activity(assembly: Assembly, streams: Streams, places: int = PLACES) -> Activity:
    """Run an assembly on input streams and record what goes into some of each part's places, evenly spread."""
    watched = {unit: _spread([p for p, u in assembly.parts.items() if u == unit], places) for unit in assembly.counts}
    glue, observed = Glue(of=assembly), Observed(of=assembly)
    of_glue: list[dict[str, PlaneWord]] = []
    of_parts: dict[Unit, list[dict[str, PlaneWord]]] = {unit: [] for unit in watched}
    before: Mapping[str, PlaneWord] = {}
    toggles, counted = 0.0, 0
    for t, (values, out) in enumerate(zip(streams.cycles, observed.steps(streams.cycles, seed=0), strict=True)):
        of_glue.append({port: (values if port in values else out)[port] for port in glue.ports})
        for unit, where in watched.items():
            words = {port: _side_by_side([out[pin(place, port)] for place in where]) for port in unit.inputs}
            if unit.has_reset:
                words[RESET] = _side_by_side([values[RESET]] * len(where))
            of_parts[unit].append(words)
        if t > streams.settling:
            counted += 1
            toggles += sum(_toggles(before[port], out[port]) for port in assembly.outputs)
        before = out
    found: dict[Unit, Streams] = {glue: Streams(streams.label, of_glue, streams.settling)}
    for unit, cycles in of_parts.items():
        own = Streams(streams.label, cycles, streams.settling)
        found |= activity(unit, own, places).inputs if isinstance(unit, Assembly) else {unit: own}
    return Activity(found, toggles / counted)


def _spread(names: Sequence[str], count: int) -> list[str]:
    """`count` of the names, or all, from the first to the last."""
    chosen = {round(k) for k in np.linspace(0, len(names) - 1, count)}
    return [name for k, name in enumerate(names) if k in chosen]


def _side_by_side(words: Iterable[PlaneWord]) -> PlaneWord:
    words = list(words)
    return PlaneWord(np.concatenate([word.planes for word in words], axis=1), sum(word.lanes for word in words))


def _toggles(before: PlaneWord, after: PlaneWord) -> float:
    """Bits that differ, per lane."""
    return float(np.bitwise_count(before.planes ^ after.planes).sum()) / before.lanes
