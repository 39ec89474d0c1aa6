"""Assemblies in standard cells: each different part mapped once, the glue apart, the whole timed flat.

The period is that of the flat netlist of all parts and the glue, with the loads they are to each other. Where a path
through several of them is too slow, those on it are sized to less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from carrysave.hardware.cells import compact_library
from carrysave.hardware.flat import flat_netlist, pieces, places
from carrysave.hardware.glue import GlueSynthesis, synthesize_glue
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import Netlist
from carrysave.hardware.registers import meeting_period
from carrysave.hardware.resizing import meeting
from carrysave.hardware.synthesis import Mapped
from carrysave.hardware.timing import analyze
from carrysave.hardware.tools import Tools
from carrysave.hardware.unit_cost import UnitSynthesis, synthesize_units
from carrysave.hardware.units.assembly import Assembly, Glue
from carrysave.hardware.units.base import Unit

_ROUNDS = 12  # of sizing to a period
_MARGIN = 1.1  # of what a path is too slow by, taken off the parts on it


@dataclass(frozen=True)
class Built:
    """A circuit of an assembly.

    Attributes:
        circuits: that of each different part, and of each `Glue`.
        period_ps: the shortest clock period of the flat netlist (its delay, without registers).
        path: the time that the slowest path spends in each piece [ps].
    """

    assembly: Assembly
    library: Library
    circuits: Mapping[Unit, Mapped]
    period_ps: float
    path: Mapping[Unit, float]

    @property
    def area_um2(self) -> float:
        return sum(n * self.circuits[unit].area_um2 for unit, n in pieces(self.assembly).items())

    def netlist(self) -> Netlist:
        """The flat netlist of the whole."""
        return flat_netlist(self.assembly, {unit: m.netlist for unit, m in self.circuits.items()}, self.library)


def build(assembly: Assembly, library: Library, circuits: Mapping[Unit, Mapped]) -> Built:
    """Put circuits together and time the whole."""
    built = Built(assembly, library, dict(circuits), 0.0, {})
    timing, where = analyze(built.netlist(), library), dict(places(assembly))
    path: Counter[Unit] = Counter()
    for step in timing.path:
        path[where[step.net.rpartition("/")[0]]] += step.delay_ps  # type: ignore[assignment]
    return replace(built, period_ps=timing.delay_ps, path=dict(path))


@dataclass(frozen=True)
class AssemblySynthesis:
    """What the scripts found for each different part, and for each `Glue`, of an assembly."""

    assembly: Assembly
    library: Library
    effort: str
    found: Mapping[Unit, UnitSynthesis | GlueSynthesis]

    def at(self, period_ps: float) -> Built | None:
        """The circuit whose parts are as small as the period allows; None where none meets it."""
        built = self.nearest(period_ps)
        return built if built is not None and built.period_ps <= period_ps else None

    def nearest(self, period_ps: float) -> Built | None:
        """As `at`; where a period is missed, the fastest circuit on the way there. None if a part alone misses it."""
        chosen: dict[Unit, Mapped] = {}
        for unit in self.found:
            mapped = self._piece(unit, period_ps)
            if mapped is None:
                return None
            chosen[unit] = mapped
        best = built = build(self.assembly, self.library, chosen)
        for _ in range(_ROUNDS):
            over, spent = built.period_ps - period_ps, sum(built.path.values())
            if over <= 0:
                break
            faster = {}
            for unit, part in built.path.items():
                budget = chosen[unit].delay_ps - _MARGIN * over * part / spent
                mapped = self._piece(unit, budget) or self._fastest(unit)
                if mapped.delay_ps < chosen[unit].delay_ps:
                    faster[unit] = mapped
            if not faster:
                break
            chosen |= faster
            built = build(self.assembly, self.library, chosen)
            best = built if built.period_ps < best.period_ps else best
        return best

    def _piece(self, unit: Unit, period_ps: float) -> Mapped | None:
        """The smallest circuit of one piece that meets a period by itself."""
        found = self.found[unit]
        if period_ps <= 0:
            return None
        if isinstance(found, GlueSynthesis):
            return found.at(period_ps)
        return meeting_period(found.clocked, period_ps) if found.clocked else meeting(found.synthesis, period_ps)

    def _fastest(self, unit: Unit) -> Mapped:
        found = self.found[unit]
        mapped = found.at(found.synthesis.fastest.delay_ps) if isinstance(found, GlueSynthesis) else None
        return mapped or found.synthesis.fastest


def synthesize_assemblies(
    assemblies: Iterable[Assembly],
    library: Library | None = None,
    effort: str = "normal",
    *,
    progress: Callable[[int, int, str], None] | None = None,
    tools: Tools | None = None,
) -> list[AssemblySynthesis]:
    """Map every different part, and every glue, onto the library's cells (the built-in compact one if None).

    Raises:
        SynthesisError, LibraryError: as `unit_cost.synthesize_units`.
    """
    assemblies, library = list(assemblies), library or compact_library()
    every = list(dict.fromkeys(unit for assembly in assemblies for unit in pieces(assembly)))
    units = [unit for unit in every if not isinstance(unit, Glue)]
    made = synthesize_units(units, library, effort, progress=progress, tools=tools)
    found: dict[Unit, UnitSynthesis | GlueSynthesis] = dict(zip(units, made, strict=True))
    found |= {unit: synthesize_glue(unit, library, effort, tools) for unit in every if isinstance(unit, Glue)}
    return [AssemblySynthesis(a, library, effort, {unit: found[unit] for unit in pieces(a)}) for a in assemblies]
