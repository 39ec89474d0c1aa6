"""What a multiplier costs in standard cells: area, delay and power, with the Pareto set they come from and where that
comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from numpy.typing import ArrayLike

from carrysave.hardware.activity import drawn, toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.clocks import at_clocks
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import verify
from carrysave.hardware.power import Power
from carrysave.hardware.synthesis import Synthesis, synthesize_many
from carrysave.hardware.tools import Tools
from carrysave.multipliers import MULTIPLIERS, Multiplier

TOGGLED = "input toggle rate 0.1"
OWN = "this network's operands"


@dataclass(frozen=True)
class MultiplierCost:
    """Cost of a multiplier's mapped and proved circuits.

    Attributes:
        area_um2, delay_ps: of the smallest circuit.
        min_delay_ps: of the fastest.
        pareto: (area_um2, delay_ps, script) of the circuits that no other one beats, smallest first.
        cells: how many of each cell the smallest has.
        source: library and flow the figures come from.
        frequency_ghz: the clock of `power`.
        power: by activity ("input toggle rate 0.1", "this network's operands"), of the smallest circuit that meets the
            clock, one product per cycle; empty where none meets it.
    """

    area_um2: float
    delay_ps: float
    min_delay_ps: float
    pareto: tuple[tuple[float, float, str], ...]
    cells: Mapping[str, int]
    source: str
    frequency_ghz: float = 1.0
    power: Mapping[str, Power] = field(default_factory=dict)

    def energy_fj(self, activity: str = TOGGLED) -> float | None:
        """Energy of one product at the clock, leakage included; None where no circuit meets the clock."""
        return self.power[activity].total_uw / self.frequency_ghz if self.power else None

    def area_at(self, delay_ps: float) -> float | None:
        """Area [um2] of the smallest circuit with at most this delay; None where there is none."""
        return next((area for area, delay, _ in self.pareto if delay <= delay_ps), None)


def cost(
    m: Multiplier | str,
    library: Library | None = None,
    effort: str = "normal",
    *,
    frequency_ghz: float = 1.0,
    operands: tuple[ArrayLike, ArrayLike] | None = None,
    tools: Tools | None = None,
) -> MultiplierCost:
    """Synthesise a multiplier, prove its circuits equal to its definition, and report area, delay and power.

    Args:
        m: a multiplier or its spec string.
        library: the built-in compact one if None.
        effort: "quick" or "normal", as in `synthesis.synthesize`.
        frequency_ghz: the clock at which power is stated.
        operands: histograms of the codes of both operands, such as a calibration's; power is then given under this
            network's operands, too.

    Raises:
        SynthesisError, LibraryError: as `synthesis.synthesize`.
        MismatchError: if a circuit computes something else than the definition.
        ValueError: for a clock that is not positive, and operands that do not fit the multiplier.
    """
    return costs([m], library, effort, frequency_ghz=frequency_ghz, operands=operands, tools=tools)[0]


def costs(
    multipliers: Iterable[Multiplier | str],
    library: Library | None = None,
    effort: str = "normal",
    *,
    frequency_ghz: float = 1.0,
    operands: tuple[ArrayLike, ArrayLike] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    workers: int | None = None,
    tools: Tools | None = None,
) -> list[MultiplierCost]:
    """`cost` of many multipliers, synthesised in parallel; `progress` as in `synthesis.synthesize_many`."""
    if not 0 < frequency_ghz < float("inf"):
        raise ValueError(f"frequency_ghz={frequency_ghz}: a clock is positive and finite")
    chosen: list[Multiplier] = [MULTIPLIERS.parse(m) for m in multipliers]
    activities = [[toggling({"a": m.a_bits, "b": m.b_bits})] for m in chosen]
    if operands is not None:
        for m, vectors in zip(chosen, activities, strict=True):
            vectors.append(drawn(m, operands, OWN))
    library = library or compact_library()
    found = synthesize_many(chosen, library, effort, progress=progress, workers=workers, tools=tools)
    results = []
    for m, synthesis, vectors in zip(chosen, found, activities, strict=True):
        (at,) = at_clocks(m.spec, [synthesis], [frequency_ghz], vectors, m=m)
        results.append(replace(cost_of(m, synthesis, effort), frequency_ghz=frequency_ghz, power=at.power))
    return results


def cost_of(m: Multiplier, synthesis: Synthesis, effort: str) -> MultiplierCost:
    """Area and delay that a synthesis of `m` amounts to, once its Pareto circuits are proved; no power."""
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
