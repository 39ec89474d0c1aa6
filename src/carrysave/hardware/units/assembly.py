"""Units made of other units: each part is defined, proved and synthesised once, however often it stands in the whole.

An assembly states which unit stands at which place and how the places are wired. Everything else follows from that one
`wiring`: run over Words with the parts' own definitions it is the whole as one flat unit (`logic`); in RTL it
instantiates a module per part; with the parts cut out it is the `Glue`, a unit of its own. What a netlist of the whole
is made of, and what it costs, is in `hardware.assembled`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from carrysave.hardware.units.base import CLOCK, RESET, Register, Unit

if TYPE_CHECKING:
    from carrysave.hardware.rtl import Circuit

Place = Callable[..., Mapping[str, Any]]
# A glue has a port bit for each port bit of its parts. Of random vectors in its proof: at least, and bits in all
_VECTORS, _BITS = 20_000, 2_000_000_000


def pin(place: str, port: str) -> str:
    """The name of a part's port, or of its register, in the whole."""
    return f"{place}__{port}"


@dataclass(frozen=True, kw_only=True)
class Assembly(Unit):
    """A unit made of parts.

    A subclass gives `name`, `inputs`, `parts` and `wiring`, and `own_registers` if it has any besides its parts'. The
    reset of the whole is that of its parts.
    """

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Unit]:
        """The unit at each place; places are identifiers."""

    @property
    def own_registers(self) -> Mapping[str, Register]:
        """Registers that belong to no part."""
        return {}

    @abstractmethod
    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        """As `Unit.logic`, with `place(name, port=word, ...)` for the outputs of the part that stands there.

        `values` are the inputs and the own registers. Every place is called once, in an order in which the inputs of
        each are known: a loop through several parts needs a register between them that is the assembly's own.
        """

    @cached_property
    def _parts(self) -> dict[str, Unit]:
        return dict(self.parts)

    @cached_property
    def counts(self) -> Counter[Unit]:
        """How often each unit stands in the whole."""
        return Counter(self._parts.values())

    @cached_property
    def _registers(self) -> dict[str, Register]:
        found = dict(self.own_registers)
        for place, unit in self._parts.items():
            found |= {pin(place, name): register for name, register in unit.registers.items()}
        return found

    @property
    def registers(self) -> Mapping[str, Register]:
        return self._registers

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.observed(values, lambda name, words: None)

    def observed(self, values: Mapping[str, Any], see: Callable[[str, Mapping[str, Any]], None]) -> dict[str, Any]:
        """`logic`; `see` is called with each place and the words at its ports."""
        following: dict[str, Any] = {}

        def place(name: str, **inputs: Any) -> Mapping[str, Any]:
            unit = self.part(name, inputs)
            state = {register: values[pin(name, register)] for register in unit.registers}
            found = dict(unit.logic({**inputs, **state}))
            following.update({pin(name, register): found.pop(register) for register in unit.registers})
            see(name, {**inputs, **found})
            return found

        return {**self.wired(values, place), **following}

    def part(self, name: str, inputs: Mapping[str, Any]) -> Unit:
        """The unit at a place. Raises ValueError where there is none, or for inputs that are not its ports."""
        if name not in self._parts:
            raise ValueError(f"{self.name}: no part at {name}; the places are {', '.join(self._parts)}")
        unit = self._parts[name]
        given = {port: word.width for port, word in inputs.items()}
        if given != dict(unit.inputs):
            raise ValueError(f"{self.name}: {name} is wired to {given}; {unit.spec} has the inputs {dict(unit.inputs)}")
        return unit

    def wired(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        """`wiring`, every place called exactly once. Raises ValueError otherwise."""
        calls: Counter[str] = Counter()

        def counted(name: str, **inputs: Any) -> Mapping[str, Any]:
            calls[name] += 1
            return place(name, **inputs)

        own = {name: values[name] for name in (*self.inputs, *self.own_registers)}
        found = self.wiring(own, counted)
        odd = [name for name in self._parts if calls[name] != 1]
        if odd:
            raise ValueError(f"{self.name}: {odd[0]} is wired {calls[odd[0]]} times; expected once")
        return found

    def circuit(self, name: str | None = None) -> Circuit:
        """The assembly as a module that holds one of its glue and one of each part, and wires."""
        from amaranth.hdl import Instance, Module, Signal

        from carrysave.hardware.rtl import Circuit, module_name

        name = name or module_name(self.spec)
        glue, module = Glue(of=self), Module()
        made = {unit: unit.circuit() for unit in self.counts} | {glue: glue.circuit(f"{name}_glue")}
        widths = {**({CLOCK: 1} if self.clocked else {}), **self.ports, **self.outputs, **glue.outputs, **glue.inputs}
        wires = {port: Signal(width, name=port) for port, width in widths.items()}

        def add(where: str, unit: Unit, net: Callable[[str], str]) -> None:
            ins = {port: net(port) for port in unit.inputs}
            ins |= {port: port for port, has in ((CLOCK, unit.clocked), (RESET, unit.has_reset)) if has}
            connections: dict[str, Any] = {f"i_{port}": wires[wire] for port, wire in ins.items()}
            connections |= {f"o_{port}": wires[net(port)] for port in unit.outputs}
            module.submodules[where] = Instance(made[unit].name, **connections)

        add("glue", glue, str)
        for where, unit in self._parts.items():
            add(where, unit, lambda port, where=where: pin(where, port))
        modules = {part: text for circuit in made.values() for part, text in circuit.modules().items()}
        ends = [CLOCK] * self.clocked + [*self.ports, *self.outputs]
        return Circuit(name, module, tuple(wires[port] for port in ends), modules)


@dataclass(frozen=True, kw_only=True)
class Glue(Unit):
    """What is left of an assembly without its parts: inputs where they put out, outputs where they take in."""

    of: Assembly
    name = "glue"

    @property
    def spec(self) -> str:
        return f"glue of {self.of.spec}"

    def vectors(self, wanted: int) -> int:
        """Random vectors to prove it on: as many as wanted, fewer where its ports have thousands of bits."""
        return min(wanted, max(_VECTORS, _BITS // sum(self.inputs.values())))

    @cached_property
    def _inputs(self) -> dict[str, int]:
        shown = {pin(place, port): w for place, unit in self.of.parts.items() for port, w in unit.outputs.items()}
        return {**self.of.inputs, **shown}

    @property
    def inputs(self) -> Mapping[str, int]:
        return self._inputs

    @property
    def registers(self) -> Mapping[str, Register]:
        return self.of.own_registers

    @property
    def settling(self) -> int:
        return self.of.settling if self.of.own_registers else 0

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        taken: dict[str, Any] = {}

        def place(name: str, **inputs: Any) -> Mapping[str, Any]:
            unit = self.of.part(name, inputs)
            taken.update({pin(name, port): word for port, word in inputs.items()})
            return {port: values[pin(name, port)] for port in unit.outputs}

        return {**self.of.wired(values, place), **taken}


@dataclass(frozen=True, kw_only=True)
class Observed(Unit):
    """An assembly that shows, besides its outputs, what goes into and comes out of every place: place__port."""

    of: Assembly
    name = "observed"

    @property
    def inputs(self) -> Mapping[str, int]:
        return self.of.inputs

    @property
    def registers(self) -> Mapping[str, Register]:
        return self.of.registers

    @property
    def settling(self) -> int:
        return self.of.settling

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        seen: dict[str, Any] = {}
        found = self.of.observed(
            values, lambda name, words: seen.update({pin(name, port): word for port, word in words.items()})
        )
        return {**found, **seen}
