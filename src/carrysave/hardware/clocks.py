"""Designs at a clock: of everything the scripts found, the smallest circuit that meets the period, and its power
there."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from carrysave.hardware.activity import Vectors
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import Netlist, verify
from carrysave.hardware.power import OUTPUT_LOAD_FF, Energy, Power, energy
from carrysave.hardware.resizing import meeting
from carrysave.hardware.synthesis import Mapped, Synthesis
from carrysave.multipliers.base import Multiplier
from carrysave.paths import cache_dir, write_atomically

MODEL = "2"  # part of every cache key: raise it when power.py computes something else
_CLOSE = 1.1  # structures within this factor of the smallest are sized to the clock
_ARRAYS = ("of_instance_fj", "load_of_instance_fj")
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


def cached_energy(
    netlist: Netlist, library: Library, vectors: Vectors, output_load_ff: float = OUTPUT_LOAD_FF, glitches: bool = False
) -> Energy:
    """`power.energy`, kept by the content of everything that it depends on."""
    key = hashlib.sha256()
    for part in (
        MODEL,
        library.digest,
        netlist.blif(),
        vectors.label,
        repr(output_load_ff),
        repr(glitches),
        repr(vectors.in_order),
    ):
        key.update(part.encode() + b"\0")
    for words in (vectors.before, vectors.after):
        for port, word in sorted(words.items()):
            key.update(f"{port} {word.width} {word.lanes} ".encode() + np.ascontiguousarray(word.planes).tobytes())
    digest = key.hexdigest()
    path = cache_dir() / "energy" / digest[:2] / f"{digest}.json.gz"
    try:
        data = json.loads(gzip.decompress(path.read_bytes()))
        arrays = {name: np.array(data[name]) for name in _ARRAYS}
        return Energy(**data | arrays | {"notes": tuple(data["notes"])})
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        pass  # not there, or not readable: compute it
    result = energy(netlist, library, vectors, output_load_ff, glitches)
    data = asdict(result) | {name: getattr(result, name).tolist() for name in _ARRAYS}
    write_atomically(path, gzip.compress(json.dumps(data).encode(), 3))
    return result
