"""Toggles of every net when gates take time: the glitches that a zero-delay run does not see.

Time is cut into steps of `STEP_PS`; a gate's output follows its inputs after its typical delay, and a pulse that is
shorter than that delay is swallowed (inertial delay). All vectors run at once: a net's waveform is an array [steps,
words].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.activity import Vectors
from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import CONSTANTS, Instance, Netlist
from carrysave.hardware.timing import EDGES, Timing

STEP_PS = 2.0
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
    steps = int(np.ceil(timing.delay_ps / STEP_PS)) * 2 + 2  # rounding delays up can lengthen a path
    words = next(iter(before.values())).size
    waves: dict[str, Waves] = {net: np.broadcast_to(after[net], (steps, words)) for net in netlist.inputs}
    counts = {net: _count(before[net], waves[net], vectors.count) for net in netlist.inputs}
    ones = np.full((steps, words), np.uint64(0xFFFFFFFFFFFFFFFF))
    for instance in netlist.instances:
        if instance.cell in CONSTANTS:
            net = instance.outputs[0][1]
            waves[net], counts[net] = np.broadcast_to(after[net], (steps, words)), np.zeros(vectors.count)
            continue
        if instance.cell == "_wire_":
            (_, source), (_, net) = instance.inputs[0], instance.outputs[0]
            waves[net], counts[net] = waves[source], counts[source]
            continue
        values = {pin: waves[net] for pin, net in instance.inputs}
        for pin, net in instance.outputs:
            function = library[instance.cell].pin(pin).function
            if function is None:
                continue
            ideal = evaluate(parse_function(function), values, ones)
            waves[net] = _inertial(before[net], ideal, _delay_steps(instance, net, timing))
            counts[net] = _count(before[net], waves[net], vectors.count)
    return counts


def _delay_steps(instance: Instance, net: str, timing: Timing) -> int:
    """The gate's delay: how much later its output arrives than its latest input, mean of both edges."""
    spent = []
    for edge in EDGES:
        latest = max(timing.arrival_ps[source][e] for _, source in instance.inputs for e in EDGES)
        spent.append(timing.arrival_ps[net][edge] - latest)
    return max(1, round(float(np.mean(spent)) / STEP_PS))


def _inertial(start: Waves, ideal: Waves, delay: int) -> Waves:
    """The waveform that follows `ideal` once it has held its value for `delay` steps."""
    steps = ideal.shape[0]
    padded = np.concatenate([np.broadcast_to(start, (delay, ideal.shape[1])), ideal])
    held_one, held_zero = padded[:steps].copy(), padded[:steps].copy()
    for lag in range(1, delay):
        held_one &= padded[lag : lag + steps]
        held_zero |= padded[lag : lag + steps]
    out = np.empty_like(ideal)
    state = start
    for t in range(steps):
        state = held_one[t] | (held_zero[t] & state)
        out[t] = state
    return out


def _count(start: Waves, waves: Waves, lanes: int) -> NDArray[np.float64]:
    total = np.zeros(lanes)
    previous = start
    for wave in waves:
        changed = wave ^ previous
        if changed.any():
            total += np.unpackbits(np.ascontiguousarray(changed).view(np.uint8), bitorder="little")[:lanes]
        previous = wave
    return total
