"""Power of a netlist with flip-flops under streams of inputs: gates as in `power`, flip-flops over a clock cycle.

A cycle begins with the rising edge: the flip-flops take on what stood at their data pins, their outputs and the inputs
change, the gates settle. The clock falls in the middle. Of a flip-flop are counted

* the clock pin's own entries at both edges, `when` read with what stands at data pin and output then;
* the output's entries where it toggles, and the switching of its net;
* the data pin's entries where it toggles: the clock is high if the net settles in the first half of the shortest
  period, else low, and the falling edge then sees the old value;
* leakage, the mean over both halves of the cycle.

The clock net charges its pins once per cycle; there is no clock tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.activity import Vectors
from carrysave.hardware.flops import Flop, Machine
from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.library import Cell, Library, Pin
from carrysave.hardware.netlist import Instance, Netlist, NetlistError
from carrysave.hardware.power import OUTPUT_LOAD_FF, Energy, Lanes, Nets, Total, gates
from carrysave.hardware.timing import Timing, analyze
from carrysave.hardware.units.base import RESET, Unit, random_word
from carrysave.planes import PlaneWord

CYCLES, STREAMS = 66, 128  # 65 transitions in each of 128 streams: as many as a combinational circuit's vectors
Bits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Streams:
    """Input ports cycle by cycle, without the clock; each lane is a stream of its own.

    Attributes:
        label: what they are, shown beside every figure computed from them.
        settling: first cycles that are run and not counted: a reset, and a pipeline that fills.
    """

    label: str
    cycles: Sequence[Mapping[str, PlaneWord]]
    settling: int = 0


def toggling_streams(
    unit: Unit, rate: float = 0.1, cycles: int = CYCLES, lanes: int = STREAMS, seed: int = 0
) -> Streams:
    """Every input bit toggling with probability `rate` per cycle, independently; reset in the first cycle only."""
    if not 0 <= rate <= 1:
        raise ValueError(f"an input toggle rate is 0 to 1 per cycle, not {rate}")
    generator = np.random.default_rng(seed)
    now = {port: random_word(generator, width, lanes) for port, width in unit.inputs.items()}
    made: list[dict[str, PlaneWord]] = []
    for t in range(cycles + unit.settling + 1):
        made.append({**now, **({RESET: PlaneWord.from_ints(np.full(lanes, t == 0), 1)} if unit.has_reset else {})})
        now = {port: _flipped(generator, word, rate) for port, word in now.items()}
    return Streams(f"input toggle rate {rate:g}", made, unit.settling + 1)


def recorded_streams(unit: Unit, label: str, streams: Mapping[str, NDArray[np.integer]]) -> Streams:
    """Recorded codes, [cycles, lanes] at each input port; a cycle of reset comes before them if the unit has one.

    Raises ValueError for ports that are missing or unknown, or arrays of different shapes.
    """
    shapes = {port: np.shape(values) for port, values in streams.items()}
    if shapes.keys() != unit.inputs.keys() or len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 2:
        raise ValueError(f"{unit.spec}: streams of {shapes}; expected [cycles, lanes] for {', '.join(unit.inputs)}")
    count, lanes = next(iter(shapes.values()))
    made = []
    for t in range(-int(unit.has_reset), count):
        words = {port: PlaneWord.from_ints(streams[port][max(t, 0)], width) for port, width in unit.inputs.items()}
        made.append({**words, **({RESET: PlaneWord.from_ints(np.full(lanes, t < 0), 1)} if unit.has_reset else {})})
    return Streams(label, made, unit.settling + int(unit.has_reset))


def clocked_energy(
    netlist: Netlist,
    library: Library,
    streams: Streams,
    output_load_ff: float = OUTPUT_LOAD_FF,
    timing: Timing | None = None,
) -> Energy:
    """Energy per clock cycle of a netlist with flip-flops.

    Raises:
        NetlistError: if the streams are not for the netlist's inputs, have lanes that do not fill words of 64, or are
            too short to count a cycle.
    """
    timing = analyze(netlist, library, output_load_ff) if timing is None else timing
    machine = Machine(netlist, library)
    lanes = next(iter(streams.cycles[0].values())).lanes
    counted = len(streams.cycles) - streams.settling - 1
    if lanes % 64 or counted < 1:
        raise NetlistError(
            f"streams of {len(streams.cycles)} cycles, {streams.settling} of them to settle, and {lanes} lanes: "
            "expected two cycles to count, and lanes that are a multiple of 64"
        )
    history, states = [], []
    state = machine.start(lanes // 64, seed=0)
    for values in streams.cycles:
        nets, following = machine.cycle(machine.planes(values), state)
        history.append(nets)
        states.append(state)
        state = following
    first = streams.settling
    before, after = (_joined(history[first + k : first + k + counted]) for k in (0, 1))
    nets, count = Nets(before, after, counted * lanes), counted * lanes
    total = gates(netlist, library, timing, nets)
    q_before, q_after = (_joined(states[first + k : first + k + counted]) for k in (0, 1))
    held = Nets(q_before, q_after, count)
    places = {id(instance): k for k, instance in enumerate(netlist.instances)}
    for instance, entry in machine.flops:
        _add_flop(total, places[id(instance)], instance, entry, library, timing, nets, held)
    if machine.clock:
        clock = library.voltage**2 * timing.load_ff[machine.clock]
        total.inputs += clock
        total.dynamic += clock
        total.clock += clock
    # lanes in order, so that the parts of a batch mean are streams of their own
    vectors = Vectors(streams.label, {}, {"": PlaneWord(np.zeros((1, count // 64), np.uint64), count)}, in_order=True)
    return total.energy(streams.label, netlist, library, vectors, output_load_ff, nets)


def _joined(cycles: Sequence[Mapping[str, NDArray[np.uint64]]]) -> dict[str, NDArray[np.uint64]]:
    """The planes of all cycles, one word of 64 streams after the other, each with its cycles in order."""
    return {net: np.ascontiguousarray(np.stack([c[net] for c in cycles], axis=1)).reshape(-1) for net in cycles[0]}


def _flipped(generator: np.random.Generator, word: PlaneWord, rate: float) -> PlaneWord:
    flips = generator.random((word.width, word.planes.shape[1] * 64)) < rate
    packed = np.packbits(flips, axis=1, bitorder="little").view(np.uint64)
    return PlaneWord(word.planes ^ packed, word.lanes)


def _add_flop(
    total: Total, place: int, instance: Instance, entry: Flop, library: Library, timing: Timing, nets: Nets, held: Nets
) -> None:
    cell, half_v2 = library[instance.cell], 0.5 * library.voltage**2
    of_pin, shown = dict(instance.inputs), dict(instance.outputs)
    key = instance.outputs[0][1]
    data = {when: {pin: nets.value(of_pin[pin], when) for pin in entry.data_pins} for when in ("before", "after")}
    states = {when: held.value(key, when) for when in ("before", "after")}
    clock_slew = timing.slew_ps[of_pin[entry.clock]]

    def pins(clock: bool, values: Mapping[str, Bits], state: Bits) -> dict[str, Bits]:
        named = {entry.state[0]: state, entry.state[1]: ~state}
        out = {pin: evaluate(function, named, _ones(state)) for pin, function in entry.outputs}
        return {**values, **out, entry.clock: np.full(state.shape, clock)}

    late = max(max(timing.arrival_ps[of_pin[pin]].values()) for pin in entry.data_pins) > timing.delay_ps / 2
    rising = pins(False, data["before"], states["before"])
    risen = pins(True, data["before"], states["after"])
    falling = pins(True, data["before" if late else "after"], states["after"])
    moving = pins(not late, data["after"], states["after"])
    settled = pins(False, data["after"], states["after"])
    clock_pin = cell.pin(entry.clock)
    at_clock = _own(clock_pin, "rise", clock_slew["rise"], rising) + _own(
        clock_pin, "fall", clock_slew["fall"], falling
    )
    internal, switching = at_clock.copy(), np.zeros_like(at_clock)
    for pin in entry.data_pins:
        for edge, moved in _edges(data["before"][pin], data["after"][pin]).items():
            internal += moved * _own(cell.pin(pin), edge, timing.slew_ps[of_pin[pin]][edge], moving)
    for pin, net in shown.items():
        for edge, moved in _edges(rising[pin], risen[pin]).items():
            switching += moved * half_v2 * timing.load_ff[net]
            for power in cell.pin(pin).powers:
                table = power.rise if edge == "rise" else power.fall
                if table is not None and power.related_pin == entry.clock:
                    internal += moved * _holds(power.when, risen) * table.point(clock_slew["rise"], timing.load_ff[net])
    leakage = (_leakage(cell, risen) + _leakage(cell, settled)) / 2
    total.dynamic += internal + switching
    total.of_instance[place] = float((internal + switching).mean())
    total.internal += float(internal.mean())
    total.switching += float(switching.mean())
    total.clock += float(at_clock.mean())
    total.leakage += float(leakage.mean())


def _own(pin: Pin, edge: str, slew: float, state: Mapping[str, Bits]) -> Lanes:
    """A pin's own entries at one of its edges, where they hold."""
    found: Lanes = np.zeros(next(iter(state.values())).size)
    for power in pin.powers:
        table = power.rise if edge == "rise" else power.fall
        if table is not None and power.related_pin is None:
            found += _holds(power.when, state) * table.point(slew, 0.0)
    return found


def _edges(before: Bits, after: Bits) -> dict[str, Bits]:
    return {"rise": ~before & after, "fall": before & ~after}


def _holds(when: str | None, state: Mapping[str, Bits]) -> Bits:
    ones = _ones(next(iter(state.values())))
    return ones if when is None else evaluate(parse_function(when), state, ones)


def _leakage(cell: Cell, state: Mapping[str, Bits]) -> Lanes:
    found = np.full(next(iter(state.values())).size, cell.leakage_nw)
    for when, value in cell.leakage_states:
        found[_holds(when, state)] = value
    return found


def _ones(like: Bits) -> Bits:
    return np.ones(like.shape, dtype=bool)
