"""Designs at a clock: of everything the scripts found, the smallest circuit that meets the period, and its power
there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from carrysave.hardware.activity import Vectors
from carrysave.hardware.kept_energy import cached_energy
from carrysave.hardware.netlist import verify
from carrysave.hardware.power import OUTPUT_LOAD_FF, Power
from carrysave.hardware.resizing import meeting
from carrysave.hardware.synthesis import Mapped, Synthesis
from carrysave.multipliers.base import Multiplier

_CLOSE = 1.1  # structures within this factor of the smallest are sized to the clock
_UNITS = {"hz": 1e-9, "khz": 1e-6, "mhz": 1e-3, "ghz": 1.0}


@dataclass(frozen=True)
class AtClock:
    """The smallest circuit of one design at a clock, and its power under each activity; `mapped` None where none
    meets it.

    Attributes:
        proof: what a hardware unit's circuit was proved on.
        fastest_ps: delay or period of the fastest circuit that the scripts found.
    """

    design: str
    frequency_ghz: float
    mapped: Mapped | None
    power: Mapping[str, Power]
    proof: str = ""
    fastest_ps: float | None = None


def parse_frequencies(text: str) -> list[float]:
    """GHz of "1GHz,2.5GHz,800MHz". Raises ValueError for anything else."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e-?\d+)?)\s*([kMG]?Hz)\s*", part, re.IGNORECASE)
        if not match or float(match[1]) <= 0:
            raise ValueError(
                f"frequency {part.strip()!r}: expected a positive number with a unit, such as 2GHz or 800MHz"
            )
        found.append(float(match[1]) * _UNITS[match[2].lower()])
    return found


def smallest_at(syntheses: Iterable[Synthesis], frequency_ghz: float) -> Mapped | None:
    """The smallest circuit among several structures of one function that meets the period, sized to it.

    Only structures that come close to the smallest are sized: the gain is a few percent.
    """
    syntheses, period = list(syntheses), 1000.0 / frequency_ghz
    met = {k: mapped for k, s in enumerate(syntheses) if (mapped := s.meeting(period)) is not None}
    best = min((mapped.area_um2 for mapped in met.values()), default=math.inf)
    close = [s for k, s in enumerate(syntheses) if not met or (k in met and met[k].area_um2 <= _CLOSE * best)]
    found = [mapped for s in close if (mapped := meeting(s, period)) is not None]
    return min(found, key=lambda mapped: mapped.area_um2, default=None)


def at_clocks(
    design: str,
    syntheses: Sequence[Synthesis],
    frequencies_ghz: Sequence[float],
    activities: Sequence[Vectors],
    output_load_ff: float = OUTPUT_LOAD_FF,
    m: Multiplier | None = None,
) -> list[AtClock]:
    """One entry per clock.

    Args:
        syntheses: the design, or several structures of it among which the smallest is taken.
        activities: each gives a power, by its label.
        m: the definition against which each circuit chosen is proved; None where that was done.
    """
    rows = []
    for frequency in frequencies_ghz:
        mapped = smallest_at(syntheses, frequency)
        power = {}
        if mapped is not None:
            if m is not None:
                verify(mapped.netlist, syntheses[0].library, m)
            for vectors in activities:
                spent = cached_energy(mapped.netlist, syntheses[0].library, vectors, output_load_ff)
                power[vectors.label] = spent.at(frequency)
        fastest = min(synthesis.fastest.delay_ps for synthesis in syntheses)
        rows.append(AtClock(design, frequency, mapped, power, fastest_ps=fastest))
    return rows
