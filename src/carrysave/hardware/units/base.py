"""What every unit is: ports, registers if it has any, and one function over Words from which all readings come.

Run on bit planes that function is the unit's Python reading (`run`, `steps`), on Amaranth wires it is the RTL
(`circuit`), and the mapped netlist of that is proved against the first (`proof.verify_unit`). Nothing about a unit is
typed twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carrysave.planes import PlaneWord
from carrysave.registry import Registry

if TYPE_CHECKING:
    from carrysave.hardware.rtl import Circuit

UNITS = Registry("unit")
WIDEST = 65_536  # bits of a port or register
CLOCK, RESET = "clk", "rst"  # ports that a unit with registers, and one with reset values, has besides its own


@dataclass(frozen=True)
class Register:
    """A register: its width, and the value that it takes where `rst` is 1 at a clock edge (None: it has no reset)."""

    width: int
    reset: int | None = None


@dataclass(frozen=True, kw_only=True)
class Unit(ABC):
    """A piece of hardware with ports, defined once.

    A subclass gives `name`, `inputs` and `logic`, and `registers` and `settling` if it is clocked. All registers take
    their next values at the rising edge of `clk`.
    """

    name: ClassVar[str]
    catalog: ClassVar[Mapping[str, str]] = {}  # named instances: a paper's name -> spec string

    def __post_init__(self) -> None:
        self.check()
        widths = {f"input {port}": width for port, width in self.inputs.items()}
        widths |= {f"register {name}": register.width for name, register in self.registers.items()}
        for what, width in widths.items():
            if not 1 <= width <= WIDEST:
                raise ValueError(f"{self.name}: {what} would be {width} bits wide; it can be 1 to {WIDEST}")

    def check(self) -> None:  # noqa: B027 - a hook that some units do not need
        """Raise ValueError for parameters that cannot be."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, int]:
        """Width of each input port; `clk` and `rst` are not among them."""

    @property
    def registers(self) -> Mapping[str, Register]:
        """The registers by name; none in a combinational unit."""
        return {}

    @property
    def settling(self) -> int:
        """Cycles after a reset (if there is one) from which on the outputs depend on inputs and reset values alone."""
        return 0

    @abstractmethod
    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The definition: from Words of the inputs and registers to those of the outputs and the next registers.

        Each register's next value stands under its name, everything else is an output port.
        """

    @property
    def clocked(self) -> bool:
        return bool(self.registers)

    @property
    def has_reset(self) -> bool:
        return any(register.reset is not None for register in self.registers.values())

    @property
    def ports(self) -> dict[str, int]:
        """Width of each input port, `rst` included where the unit has it; not the clock."""
        return {**self.inputs, **({RESET: 1} if self.has_reset else {})}

    @cached_property
    def outputs(self) -> dict[str, int]:
        """Width of each output port."""
        zeros = {port: PlaneWord.from_ints([0], width) for port, width in self.ports.items()}
        out, _ = self.evaluate({**zeros, **self._state(0, 1)})
        return {port: word.width for port, word in out.items()}

    @property
    def spec(self) -> str:
        """The canonical spec string, such as "rccm:2add"."""
        return UNITS.spec(self)

    def __str__(self) -> str:
        return self.spec

    def evaluate(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(outputs, next values of the registers), the reset included; what every reading calls.

        Raises ValueError where `logic` gives a register no next value, or one of another width.
        """
        found = dict(self.logic(values))
        following = {}
        for name, register in self.registers.items():
            word = found.pop(name, None)
            if word is None or word.width != register.width:
                got = "none" if word is None else f"{word.width} bits"
                raise ValueError(f"{self.name}: register {name} has {register.width} bits, its next value {got}")
            if register.reset is not None:
                word = values[RESET].mux(word.const(register.reset, register.width), word)
            following[name] = word
        return found, following

    def circuit(self, name: str | None = None) -> Circuit:
        """The unit as an Amaranth module."""
        from carrysave.hardware.rtl import module_name, synchronous

        widths = {register: entry.width for register, entry in self.registers.items()}
        return synchronous(name or module_name(self.spec), self.ports, widths, self.evaluate, CLOCK)

    # ------------------------------------------------------------ the Python reading

    def steps(
        self, cycles: Iterable[Mapping[str, PlaneWord]], seed: int | None = None
    ) -> Iterator[dict[str, PlaneWord]]:
        """The outputs of each cycle: every lane is a stream of its own.

        Args:
            cycles: the input ports of each cycle, `rst` included.
            seed: the registers start at random, as in silicon; with None at their reset values, or 0.
        """
        state: dict[str, PlaneWord] = {}
        for values in cycles:
            lanes = next(iter(values.values())).lanes
            state = state or self._state(seed, lanes)
            out, state = self.evaluate({**values, **state})
            yield out

    def run(self, **streams: ArrayLike) -> dict[str, NDArray[np.int64]]:
        """The outputs for integer inputs, unsigned codes: [cycles, lanes], or [lanes] of a combinational unit.

        `rst` may be left out; the registers then start at their reset values. Raises ValueError for ports that are
        missing or unknown, and codes that do not fit.
        """
        arrays = {port: np.asarray(values) for port, values in streams.items()}
        if RESET in self.ports and RESET not in arrays:
            arrays[RESET] = np.zeros_like(next(iter(arrays.values())))
        if arrays.keys() != self.ports.keys():
            raise ValueError(f"{self.spec}: inputs {', '.join(arrays)} given; it has {', '.join(self.ports)}")
        for port, values in arrays.items():
            if values.size and (values.min() < 0 or values.max() >= 1 << self.ports[port]):
                raise ValueError(
                    f"{self.spec}: input {port} has codes from {values.min()} to {values.max()}; "
                    f"it is {self.ports[port]} bits wide, unsigned"
                )
        flat = not self.clocked and all(values.ndim == 1 for values in arrays.values())
        cycles = next(iter(arrays.values())).shape[0]
        taken = {port: values[None] if flat else values for port, values in arrays.items()}
        words = (
            {port: PlaneWord.from_ints(values[t], self.ports[port]) for port, values in taken.items()}
            for t in range(1 if flat else cycles)
        )
        outs = [{port: word.to_ints() for port, word in out.items()} for out in self.steps(words)]
        return {port: outs[0][port] if flat else np.stack([out[port] for out in outs]) for port in self.outputs}

    def _state(self, seed: int | None, lanes: int) -> dict[str, PlaneWord]:
        if seed is None:
            return {
                name: PlaneWord.from_ints(np.full(lanes, register.reset or 0), register.width)
                for name, register in self.registers.items()
            }
        generator = np.random.default_rng(seed)
        return {name: random_word(generator, register.width, lanes) for name, register in self.registers.items()}


def random_word(generator: np.random.Generator, width: int, lanes: int) -> PlaneWord:
    """A word whose bits are all independent coin tosses."""
    planes = generator.integers(0, 1 << 64, (width, -(-lanes // 64)), dtype=np.uint64)
    return PlaneWord(planes, lanes)
