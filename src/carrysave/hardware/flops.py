"""Netlists with flip-flops: what Liberty says of a flip-flop, and running one bit-parallel, cycle by cycle.

Every lane of a plane is a stream of its own, so that a million vectors are a hundred cycles of ten thousand streams.
All flip-flops share one clock, an input of the netlist, at its rising edge; synchronous resets and enables are gates
before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from carrysave.hardware.functions import Expression, evaluate, parse_function, pins_of
from carrysave.hardware.library import Cell, Library, LibraryError, check_has_flip_flops
from carrysave.hardware.netlist import Instance, Netlist, NetlistError, Planes, ports, simulate
from carrysave.planes import PlaneWord


@dataclass(frozen=True)
class Flop:
    """A plain flip-flop: its clock pin, its state's name and complement, what it takes on, and what its pins show."""

    cell: str
    clock: str
    state: tuple[str, str]
    next_state: Expression
    outputs: tuple[tuple[str, Expression], ...]

    @property
    def data_pins(self) -> tuple[str, ...]:
        return tuple(pin for pin in pins_of(self.next_state) if pin not in self.state)

    def next(self, values: Mapping[str, Planes], state: Planes) -> Planes:
        """The state after a rising edge, given the planes of the data pins and of the state."""
        return evaluate(self.next_state, {**values, **self._named(state)}, _ONES)

    def shown(self, state: Planes) -> dict[str, Planes]:
        """The output pins in a state."""
        return {pin: evaluate(function, self._named(state), _ONES) for pin, function in self.outputs}

    def _named(self, state: Planes) -> dict[str, Planes]:
        return {self.state[0]: state, self.state[1]: ~state}


_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


def flop(cell: Cell) -> Flop:
    """A flip-flop cell as it is run. Raises LibraryError for what is none, or has an asynchronous or falling edge."""
    known = _flop(cell)
    if isinstance(known, str):
        raise LibraryError(f"cell {cell.name} {known}; expected a flip-flop at the rising edge of one clock pin")
    return known


def is_plain(cell: Cell) -> bool:
    """Whether a cell takes its one data input on at the rising edge and does nothing else."""
    return not isinstance(_flop(cell), str) and len(cell.inputs) == 2


def plain_flops(library: Library) -> tuple[Cell, ...]:
    """The plain flip-flops: what registers are made of. Raises LibraryError if there are none."""
    found = tuple(cell for cell in library.flip_flops() if is_plain(cell))
    check_has_flip_flops(library, len(found))
    return found


@lru_cache(maxsize=512)
def _flop(cell: Cell) -> Flop | str:
    if cell.kind != "flip_flop":
        return f"is {cell.kind}"
    clocked_on = parse_function(cell.state.get("clocked_on", "0"))
    if clocked_on[0] != "pin":
        return f"is clocked on {cell.state.get('clocked_on')!r}"
    odd = [name for name in ("clear", "preset", "clocked_on_also") if name in cell.state]
    if odd or "next_state" not in cell.state:
        return f"has {', '.join(odd) or 'no next_state'}"
    outputs = tuple((pin.name, parse_function(pin.function)) for pin in cell.outputs if pin.function)
    names = (cell.state["q"], cell.state.get("qn", ""))
    if not all(set(pins_of(function)) <= set(names) for _, function in outputs):
        return "has outputs that do not follow its state alone"
    return Flop(cell.name, clocked_on[1], names, parse_function(cell.state["next_state"]), outputs)


# ---------------------------------------------------------------- in a netlist

State = dict[str, Planes]  # the state of each flip-flop, under the name of its first output net


class Machine:
    """A netlist with its flip-flops, ready to run; a combinational one is a machine without state.

    Attributes:
        flops: (instance, what its cell is).
        clock: the input that clocks them; None without flip-flops.

    Raises:
        LibraryError: for a cell with state that is no plain flip-flop.
        NetlistError: unless all flip-flops are clocked by one input.
    """

    def __init__(self, netlist: Netlist, library: Library):
        self.netlist, self.library = netlist, library
        self.flops: tuple[tuple[Instance, Flop], ...] = tuple(
            (instance, flop(library[instance.cell])) for instance in netlist.instances if is_flop(instance, library)
        )
        nets = {dict(instance.inputs)[entry.clock] for instance, entry in self.flops}
        if len(nets) > 1 or not nets <= set(netlist.inputs):
            raise NetlistError(f"netlist {netlist.name}: flip-flops are clocked by {sorted(nets)}; expected one input")
        self.clock: str | None = nets.pop() if nets else None
        self.inputs = ports(net for net in netlist.inputs if net != self.clock)

    def start(self, words: int, seed: int | None = 0) -> State:
        """A state to start from, `words` of 64 lanes each: every flip-flop at random, or 0 with None."""
        generator = np.random.default_rng(seed)
        keys = [instance.outputs[0][1] for instance, _ in self.flops]
        if seed is None:
            return {key: np.zeros(words, dtype=np.uint64) for key in keys}
        return {key: generator.integers(0, 1 << 64, words, dtype=np.uint64) for key in keys}

    def cycle(self, inputs: Mapping[str, Planes], state: State) -> tuple[dict[str, Planes], State]:
        """(planes of every net before the clock edge, the clock's at 0; the state after the edge)."""
        shown: dict[str, Planes] = {}
        for instance, entry in self.flops:
            values = entry.shown(state[instance.outputs[0][1]])
            shown.update({net: values[pin] for pin, net in instance.outputs})
        given = {**inputs, self.clock: np.zeros_like(next(iter(inputs.values())))} if self.clock else inputs
        nets = simulate(self.netlist, self.library, given, shown)
        following = {
            instance.outputs[0][1]: entry.next(
                {pin: nets[net] for pin, net in instance.inputs}, state[instance.outputs[0][1]]
            )
            for instance, entry in self.flops
        }
        return nets, following

    def planes(self, values: Mapping[str, PlaneWord]) -> dict[str, Planes]:
        """The planes of the input nets, given the input ports without the clock. Raises NetlistError for others."""
        given = {port: word.width for port, word in values.items()}
        if given != self.inputs:
            raise NetlistError(f"netlist {self.netlist.name} has input ports {self.inputs}, the given ones are {given}")
        names = set(self.netlist.inputs)
        return {
            (port if port in names else f"{port}[{bit}]"): word.planes[bit]
            for port, word in values.items()
            for bit in range(word.width)
        }

    def steps(self, cycles: Iterable[Mapping[str, PlaneWord]], seed: int | None = 0) -> Iterator[dict[str, PlaneWord]]:
        """The output ports of each cycle; every lane is a stream of its own.

        Args:
            cycles: the input ports of each cycle, the clock left out.
            seed: of the random state the flip-flops start in, as in silicon; None starts them at 0.
        """
        state = None
        for values in cycles:
            words = next(iter(values.values())).planes.shape[1]
            out, state = self.advance(values, self.start(words, seed) if state is None else state)
            yield out

    def advance(self, values: Mapping[str, PlaneWord], state: State) -> tuple[dict[str, PlaneWord], State]:
        """(output ports in one cycle, the state after its edge), given the input ports without the clock."""
        lanes = next(iter(values.values())).lanes
        nets, following = self.cycle(self.planes(values), state)
        return {
            port: PlaneWord(np.stack([nets[port if port in nets else f"{port}[{bit}]"] for bit in range(width)]), lanes)
            for port, width in ports(self.netlist.outputs).items()
        }, following


def is_flop(instance: Instance, library: Library) -> bool:
    """Whether an instance has state."""
    return instance.cell in library.cells and library[instance.cell].kind != "combinational"
