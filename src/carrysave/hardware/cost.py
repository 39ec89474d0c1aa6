"""What a multiplier costs in standard cells: area and delay, with the Pareto set they come from and where that comes
from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from carrysave.hardware.cells import compact_library
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import verify
from carrysave.hardware.synthesis import Synthesis, synthesize_many
from carrysave.hardware.tools import Tools
from carrysave.multipliers import MULTIPLIERS, Multiplier


@dataclass(frozen=True)
class MultiplierCost:
    """Cost of a multiplier's mapped and proved circuits.

    Attributes:
        area_um2, delay_ps: of the smallest circuit.
        min_delay_ps: of the fastest.
        pareto: (area_um2, delay_ps, script) of the circuits that no other one beats, smallest first.
        cells: how many of each cell the smallest has.
        source: library and flow the figures come from.
    """

    area_um2: float
    delay_ps: float
    min_delay_ps: float
    pareto: tuple[tuple[float, float, str], ...]
    cells: Mapping[str, int]
    source: str

    def area_at(self, delay_ps: float) -> float | None:
        """Area [um2] of the smallest circuit with at most this delay; None where there is none."""
        return next((area for area, delay, _ in self.pareto if delay <= delay_ps), None)


def cost(
    m: Multiplier | str,
    library: Library | None = None,
    effort: str = "normal",
    *,
    tools: Tools | None = None,
) -> MultiplierCost:
    """Synthesise a multiplier, prove its circuits equal to its definition, and report area and delay.

    Args:
        m: a multiplier or its spec string.
        library: the built-in compact one if None.
        effort: "quick" or "normal", as in `synthesis.synthesize`.

    Raises:
        SynthesisError, LibraryError: as `synthesis.synthesize`.
        MismatchError: if a circuit computes something else than the definition.
    """
    return costs([m], library, effort, tools=tools)[0]


def costs(
    multipliers: Iterable[Multiplier | str],
    library: Library | None = None,
    effort: str = "normal",
    *,
    progress: Callable[[int, int, str], None] | None = None,
    workers: int | None = None,
    tools: Tools | None = None,
) -> list[MultiplierCost]:
    """`cost` of many multipliers, synthesised in parallel; `progress` as in `synthesis.synthesize_many`."""
    chosen: list[Multiplier] = [MULTIPLIERS.parse(m) for m in multipliers]
    library = library or compact_library()
    found = synthesize_many(chosen, library, effort, progress=progress, workers=workers, tools=tools)
    return [cost_of(m, synthesis, effort) for m, synthesis in zip(chosen, found, strict=True)]


def cost_of(m: Multiplier, synthesis: Synthesis, effort: str) -> MultiplierCost:
    """The cost that a synthesis of `m` amounts to, once its Pareto circuits are proved."""
    smallest = synthesis.smallest
    for mapped in synthesis.pareto:
        outer = mapped in (smallest, synthesis.fastest)  # wide operands are sampled: more where the figures are quoted
        verify(mapped.netlist, synthesis.library, m, pairs=1_000_000 if outer else 100_000)
    source = f"{synthesis.library.source}; Yosys and ABC, effort {effort}, no wires, unloaded outputs"
    if synthesis.failures:
        source += f"; scripts that failed: {', '.join(name for name, _ in synthesis.failures)}"
    return MultiplierCost(
        smallest.area_um2,
        smallest.delay_ps,
        synthesis.fastest.delay_ps,
        tuple((p.area_um2, p.delay_ps, p.script) for p in synthesis.pareto),
        dict(sorted(smallest.netlist.cells().items())),
        source,
    )
