"""Energies in the cache, by the content of everything that they depend on."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from carrysave.hardware.activity import Vectors
from carrysave.hardware.clocked_power import Streams, clocked_energy
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import Netlist
from carrysave.hardware.power import OUTPUT_LOAD_FF, Energy, energy
from carrysave.paths import cache_dir, write_atomically
from carrysave.planes import PlaneWord

MODEL = "3"  # part of every key: raise it when power.py or clocked_power.py compute something else
_ARRAYS = ("of_instance_fj", "load_of_instance_fj")


def cached_energy(
    netlist: Netlist, library: Library, vectors: Vectors, output_load_ff: float = OUTPUT_LOAD_FF, glitches: bool = False
) -> Energy:
    """`power.energy`, kept."""
    stated = ("vectors", netlist.blif(), vectors.label, repr(output_load_ff), repr(glitches), repr(vectors.in_order))
    (found,) = kept_energies(
        library,
        stated,
        (vectors.before, vectors.after),
        lambda: [energy(netlist, library, vectors, output_load_ff, glitches)],
    )
    return found


def cached_clocked_energy(
    netlist: Netlist, library: Library, streams: Streams, output_load_ff: float = OUTPUT_LOAD_FF
) -> Energy:
    """`clocked_power.clocked_energy`, kept."""
    stated = ("streams", netlist.blif(), streams.label, repr(output_load_ff), repr(streams.settling))
    (found,) = kept_energies(
        library,
        stated,
        streams.cycles,
        lambda: [clocked_energy(netlist, library, streams, output_load_ff)],
    )
    return found


def kept_energies(
    library: Library,
    stated: Iterable[str],
    words: Sequence[Mapping[str, PlaneWord]],
    compute: Callable[[], Sequence[Energy]],
) -> list[Energy]:
    """What `compute` gives, or what it gave before for the same library, texts and words."""
    key = hashlib.sha256()
    for part in (MODEL, library.digest, *stated):
        key.update(part.encode() + b"\0")
    for ports in words:
        for port, word in sorted(ports.items()):
            key.update(f"{port} {word.width} {word.lanes} ".encode() + np.ascontiguousarray(word.planes).tobytes())
    digest = key.hexdigest()
    path = cache_dir() / "energy" / digest[:2] / f"{digest}.json.gz"
    try:
        return [_read(row) for row in json.loads(gzip.decompress(path.read_bytes()))]
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        pass  # not there, or not readable: compute it
    found = list(compute())
    rows = [asdict(entry) | {name: getattr(entry, name).tolist() for name in _ARRAYS} for entry in found]
    write_atomically(path, gzip.compress(json.dumps(rows).encode(), 3))
    return found


def _read(row: dict[str, Any]) -> Energy:
    values: dict[str, Any] = {**row, "notes": tuple(row["notes"])}
    return Energy(**{**values, **{name: np.array(row[name]) for name in _ARRAYS}})
