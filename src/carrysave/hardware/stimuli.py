"""What units are run on: all inputs where they can be enumerated, else random ones with corners among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from carrysave.hardware.units.base import RESET, Unit, random_word
from carrysave.planes import PlaneWord


def enumerated(widths: Mapping[str, int], start: int, lanes: int) -> dict[str, PlaneWord]:
    """The inputs number `start` to `start + lanes - 1` of all there are, the first port counting fastest."""
    index = np.arange(start, start + lanes)
    values, low = {}, 0
    for port, width in widths.items():
        values[port] = PlaneWord.from_ints(index >> low, width)
        low += width
    return values


def mixed(generator: np.random.Generator, widths: Mapping[str, int], lanes: int) -> dict[str, PlaneWord]:
    """Random words, three lanes of eight at each port holding a corner: 0, ones, powers of two, their neighbours."""
    values = {}
    for port, width in widths.items():
        corners = np.array(_corners(width), dtype=np.uint64 if width <= 64 else object)
        chosen = PlaneWord.from_ints(corners[generator.integers(0, len(corners), lanes)], width)
        tosses = random_word(generator, 3, lanes)
        corner = ~(tosses[2] | (tosses[0] & tosses[1]))  # three of eight
        values[port] = corner.mux(chosen, random_word(generator, width, lanes))
    return values


def _corners(width: int) -> list[int]:
    mask = (1 << width) - 1
    patterns = {v & mask for k in range(width + 1) for v in ((1 << k) - 1, 1 << k, (1 << k) + 1, -(1 << k))}
    return sorted(patterns)


def streams(unit: Unit, cycles: int, lanes: int, seed: int) -> Iterator[dict[str, PlaneWord]]:
    """One cycle of reset, then inputs; now and then a later reset, in one lane of 32 in each cycle."""
    generator = np.random.default_rng(seed)
    for t in range(cycles):
        values = mixed(generator, unit.inputs, lanes)
        if unit.has_reset:
            some = next(iter(values.values())) if values else PlaneWord.from_ints(np.zeros(lanes), 1)
            rare = random_word(generator, 5, lanes)
            later = rare[0] & rare[1] & rare[2] & rare[3] & rare[4]
            values[RESET] = some.const(1, 1) if t == 0 else later
        yield {port: values[port] for port in unit.ports}
