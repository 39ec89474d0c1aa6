"""The control of a tile: counters that address its buffers, and the marks that go down its pipeline with the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.bits import add, any_bit, fit
from carrysave.hardware.units.base import UNITS, Register, Unit


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class TileControl(Unit):
    """Runs of a tile: for each block of neurons, the sum over all blocks of synapses.

    A run starts where `start` and `ready` are 1; its parameters are read in that cycle. In each cycle after it one row
    of words and one of weights are read: words at `input_base` and on, again for each block of neurons; weights at
    `weight_base` and on, the blocks of synapses of the first block of neurons, then of the next; sums go to
    `output_base` and on. Addresses wrap at the end of a buffer. `ready` is 1 again with the last row, so that runs can
    follow each other without a gap; `done` is 1 when all rows are written.

    Ports: `start`, `synapse_last` and `neuron_last` (blocks, less one), the bases, `resume` (the first block of neurons
    goes on with the sums that the last run left), `hold` (the sums of the last block are not written: they will be
    resumed), `linear` and `radix` (for the nonlinearity); `ready`, `done`; `input_address`, `weight_address`;
    `first`, `valid` (for the adder trees); `pass_linear`, `pass_radix`; `output_address`, `output_write`.

    Attributes:
        depth: rows of each buffer, a power of two.
        before_sum: cycles from the arrival of a row to the cycle in which the partial sum is added to it: 1 for one
            stage of weight blocks, 0 where it is merged with the adders.
        radix_bits: of `radix`; 0 for none.
    """

    depth: int = 64
    before_sum: int = 1
    radix_bits: int = 0
    name = "tile_control"
    catalog = {"4 rows": "tile_control:depth=4", "merged, 4 rows": "tile_control:depth=4,before_sum=0,radix_bits=2"}

    def check(self) -> None:
        if not 2 <= self.depth <= 1 << 16 or self.depth & self.depth - 1:
            raise ValueError(f"tile_control: depth={self.depth}; expected a power of two from 2 to {1 << 16}")
        if not 0 <= self.before_sum <= 16 or not 0 <= self.radix_bits <= 6:
            raise ValueError(
                f"tile_control: before_sum={self.before_sum}, radix_bits={self.radix_bits}; expected 0 to 16 and 0 to 6"
            )

    @property
    def address_bits(self) -> int:
        return self.depth.bit_length() - 1

    @property
    def _parameters(self) -> dict[str, int]:
        """What is kept for the length of a run, and its bits."""
        a = self.address_bits
        radix = {"radix": self.radix_bits} if self.radix_bits else {}
        return {"synapse_last": a, "neuron_last": a, "input_base": a, "resume": 1, "hold": 1, "linear": 1, **radix}

    @property
    def inputs(self) -> Mapping[str, int]:
        a = self.address_bits
        return {"start": 1, **self._parameters, "weight_base": a, "output_base": a}

    @property
    def registers(self) -> Mapping[str, Register]:
        a = self.address_bits
        counters = ("synapse", "neuron", "input_at", "weight_at", "output_at")
        found = {f"{name}_kept": Register(bits, 0) for name, bits in self._parameters.items()}
        found |= {"running": Register(1, 0), **{name: Register(a, 0) for name in counters}}
        for k in range(self.before_sum + 1):  # from the row's address to the partial sum
            found |= {f"first{k}": Register(1, 0), f"valid{k}": Register(1, 0)}
        for k in range(self.before_sum + 3):  # from the row's address to the output
            found[f"write{k}"], found[f"place{k}"] = Register(1, 0), Register(a, 0)
        for k in range(self.before_sum + 2):  # from the row's address to the nonlinearity
            found[f"linear{k}"] = Register(1, 0)
            if self.radix_bits:
                found[f"radix{k}"] = Register(self.radix_bits, 0)
        return found

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        running, last = values["running"], self.before_sum
        at_row_end = _equal(values["synapse"], values["synapse_last_kept"])
        at_last = _equal(values["neuron"], values["neuron_last_kept"])
        ready = ~running | (at_row_end & at_last)
        begin = values["start"] & ready
        in_flight = [values[f"write{k}"] for k in range(last + 3)] + [values[f"valid{k}"] for k in range(last + 1)]
        busy = running
        for bit in in_flight:
            busy = busy | bit
        outputs = {
            "ready": ready,
            "done": ~busy,
            "input_address": values["input_at"],
            "weight_address": values["weight_at"],
            "first": values[f"first{last}"],
            "valid": values[f"valid{last}"],
            "pass_linear": values[f"linear{last + 1}"],
            **({"pass_radix": values[f"radix{last + 1}"]} if self.radix_bits else {}),
            "output_address": values[f"place{last + 2}"],
            "output_write": values[f"write{last + 2}"],
        }
        kept = {f"{name}_kept": begin.mux(values[name], values[f"{name}_kept"]) for name in self._parameters}
        counted = self._counted(values, begin, at_row_end)
        following = {"running": begin | (running & ~ready)}
        return {**outputs, **kept, **counted, **following, **self._marks(values, at_row_end, at_last)}

    def _counted(self, values: Mapping[str, Any], begin: Any, at_row_end: Any) -> dict[str, Any]:
        """The counters' next values."""
        running, zero = values["running"], values["synapse"].const(0, self.address_bits)

        def next_of(name: str, start: Any, step: Any) -> Any:
            return begin.mux(start, fit(add(values[name], zero, carry=step), self.address_bits))

        turn = running & at_row_end
        going = running & ~at_row_end
        again = turn.mux(values["input_base_kept"], fit(add(values["input_at"], zero, carry=going), self.address_bits))
        return {
            "synapse": (begin | turn).mux(zero, fit(add(values["synapse"], zero, carry=going), self.address_bits)),
            "neuron": next_of("neuron", zero, turn),
            "input_at": begin.mux(values["input_base"], again),
            "weight_at": next_of("weight_at", values["weight_base"], running),
            "output_at": next_of("output_at", values["output_base"], turn),
        }

    def _marks(self, values: Mapping[str, Any], at_row_end: Any, at_last: Any) -> dict[str, Any]:
        """What goes with each row, one register further."""
        running, found = values["running"], {}
        resumed = values["resume_kept"] & ~any_bit(values["neuron"])
        new = {
            "first": ~any_bit(values["synapse"]) & ~resumed,
            "valid": running,
            "write": running & at_row_end & ~(values["hold_kept"] & at_last),
            "place": values["output_at"],
            "linear": values["linear_kept"],
            "radix": values.get("radix_kept"),
        }
        for name in self.registers:
            mark, stage = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
            if stage:
                found[name] = new[mark] if stage == "0" else values[f"{mark}{int(stage) - 1}"]
        return found


def _equal(a: Any, b: Any) -> Any:
    return ~any_bit(a ^ b)
