"""Toggles of every net when gates take time: the glitches that a zero-delay run does not see.

Time is cut into steps of `STEP_PS`; a gate's output follows its inputs after its typical delay, and a pulse that is
shorter than that delay is swallowed (inertial delay). Many vectors run at once: a net's waveform is an array [steps,
words], kept until the last gate that reads it is done.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.activity import Vectors
from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import CONSTANTS, WIRE, Instance, Netlist
from carrysave.hardware.timing import EDGES, Timing

STEP_PS = 2.0
_WORDS = 8  # of 64 vectors each, at a time: the waveforms of nine thousand steps then take half a megabyte a net
Waves = NDArray[np.uint64]


def toggles_in_time(
    netlist: Netlist,
    library: Library,
    timing: Timing,
    vectors: Vectors,
    before: Mapping[str, Waves],
    after: Mapping[str, Waves],
) -> dict[str, NDArray[np.float64]]:
    """How often each net toggles in each vector; at least as often as without glitches."""
    words = next(iter(before.values())).size
    parts = []
    for low in range(0, words, _WORDS):
        part = slice(low, low + _WORDS)
        starts, ends = ({net: value[part] for net, value in state.items()} for state in (before, after))
        parts.append(_toggles(netlist, library, timing, starts, ends))
    return {net: np.concatenate([part[net] for part in parts])[: vectors.count] for net in parts[0]}


def _toggles(
    netlist: Netlist, library: Library, timing: Timing, before: Mapping[str, Waves], after: Mapping[str, Waves]
) -> dict[str, NDArray[np.float64]]:
    """Toggles of every net in every lane of these words."""
    steps = int(np.ceil(timing.delay_ps / STEP_PS)) * 2 + 2  # rounding delays up can lengthen a path
    words = next(iter(before.values())).size
    waves: dict[str, Waves] = {net: np.broadcast_to(after[net], (steps, words)) for net in netlist.inputs}
    counts = {net: _count(before[net], waves[net]) for net in netlist.inputs}
    ones = np.full((steps, words), np.uint64(0xFFFFFFFFFFFFFFFF))
    done_with = _last_readers(netlist)
    for k, instance in enumerate(netlist.instances):
        values = {pin: waves[net] for pin, net in instance.inputs}
        for pin, net in instance.outputs:
            if instance.cell in CONSTANTS:
                waves[net], counts[net] = np.broadcast_to(after[net], (steps, words)), np.zeros(64 * words)
            elif instance.cell == WIRE:
                source = instance.inputs[0][1]
                waves[net], counts[net] = waves[source], counts[source]
            elif (function := library[instance.cell].pin(pin).function) is not None:
                ideal = evaluate(parse_function(function), values, ones)
                waves[net] = _inertial(before[net], ideal, _delay_steps(instance, net, timing))
                counts[net] = _count(before[net], waves[net])
        for net in done_with.get(k, ()):
            waves.pop(net, None)
    return counts


def _last_readers(netlist: Netlist) -> dict[int, list[str]]:
    """By the place of an instance, the nets that nothing after it reads; those that nothing reads at their driver."""
    last: dict[str, int] = {}
    for k, instance in enumerate(netlist.instances):
        last |= {net: k for _, net in (*instance.inputs, *instance.outputs)}
    places: dict[int, list[str]] = {}
    for net, k in last.items():
        places.setdefault(k, []).append(net)
    return places


def _delay_steps(instance: Instance, net: str, timing: Timing) -> int:
    """The gate's delay: how much later its output arrives than its latest input, mean of both edges."""
    spent = []
    for edge in EDGES:
        latest = max(timing.arrival_ps[source][e] for _, source in instance.inputs for e in EDGES)
        spent.append(timing.arrival_ps[net][edge] - latest)
    return max(1, round(float(np.mean(spent)) / STEP_PS))


def _inertial(start: Waves, ideal: Waves, delay: int) -> Waves:
    """The waveform that follows `ideal` once it has held its value for `delay` steps.

    One is where it was held last; a step in which neither was held passes on what was before. That recurrence is solved
    over all steps at once, in passes of doubling reach, as the carries of a prefix adder.
    """
    padded = np.concatenate([np.broadcast_to(start, (delay, ideal.shape[1])), ideal])
    held_one = _held(padded, delay, ideal.shape[0])
    passes = ~_held(~padded, delay, ideal.shape[0]) & ~held_one
    held_one[0] |= passes[0] & start
    passes[0] = 0
    reach = 1
    while reach < len(ideal) and passes.any():
        held_one[reach:] |= passes[reach:] & held_one[:-reach]
        passes[reach:] &= passes[:-reach].copy()
        reach *= 2
    return held_one


def _held(padded: Waves, delay: int, steps: int) -> Waves:
    """1 where a waveform was 1 in all of the `delay` steps before; `padded` begins that much earlier."""
    span, window = 1, padded
    while 2 * span <= delay:
        window = window[:-span] & window[span:]
        span *= 2
    return window[:steps] & window[delay - span : delay - span + steps]


def _count(start: Waves, waves: Waves) -> NDArray[np.float64]:
    changed = waves ^ np.concatenate([start[None], waves[:-1]])
    some = np.ascontiguousarray(changed[changed.any(axis=1)])
    return np.unpackbits(some.view(np.uint8), axis=1, bitorder="little").sum(axis=0, dtype=np.float64)
