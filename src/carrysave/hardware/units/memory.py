"""A memory with addresses: the flip-flops, distributed RAM or block RAM of an accelerator module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from carrysave.hardware.units.base import CLOCK, UNITS, Register, Unit

if TYPE_CHECKING:
    from carrysave.hardware.rtl import Circuit

Form = Literal["flops", "auto", "distributed", "block"]
_STYLES = {"distributed": "distributed", "block": "block"}  # `ram_style`, as Xilinx' tools and Yosys read it


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Memory(Unit):
    """Words with addresses: one port to read, one to write, both synchronous.

    `word` is what stood at the address `read` one cycle ago, before a write of that cycle. Where `write` is 1, `data`
    is put at the address `at`. Addresses at or above `depth` are not to be used.

    Forms:
        flops: registers and multiplexers, which a reset clears; the only form that standard cells and the proof know.
        auto: an FPGA's memory, distributed or block as the synthesiser sees fit; no reset reaches its words.
        distributed, block: that one. An FPGA netlist with memories is counted and not run.

    Attributes:
        depth: words.
        width: bits of a word.
        form: flops, auto, distributed or block.
    """

    depth: int = 8
    width: int = 4
    form: Form = "flops"
    name = "memory"
    catalog = {"register file": "memory", "odd depth": "memory:depth=5"}

    def check(self) -> None:
        if not (2 <= self.depth <= 1 << 16 and 1 <= self.width <= 1 << 14):
            raise ValueError(
                f"memory: depth={self.depth}, width={self.width}; 2 to {1 << 16} words of 1 to {1 << 14} bits"
            )

    @property
    def address_bits(self) -> int:
        return (self.depth - 1).bit_length()

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"read": self.address_bits, "write": 1, "at": self.address_bits, "data": self.width}

    @property
    def registers(self) -> Mapping[str, Register]:
        reset = 0 if self.form == "flops" else None
        return {f"word{k}": Register(self.width, reset) for k in range(self.depth)} | {"found": Register(self.width)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        write, at, data = values["write"], values["at"], values["data"]
        words = [values[f"word{k}"] for k in range(self.depth)]
        following = {f"word{k}": here.mux(data, words[k]) for k, here in enumerate(_decoded(write, at, self.depth))}
        return {"word": values["found"], "found": selected(words, values["read"]), **following}

    def circuit(self, name: str | None = None) -> Circuit:
        if self.form == "flops":
            return super().circuit(name)
        from amaranth.hdl import ClockDomain, Module, Signal
        from amaranth.lib.memory import Memory as Words

        from carrysave.hardware.rtl import Circuit, module_name

        module, domain = Module(), ClockDomain("sync", reset_less=True)
        domain.clk.name = CLOCK
        module.domains += domain
        attributes = {"ram_style": _STYLES[self.form]} if self.form in _STYLES else {}
        module.submodules.words = words = Words(shape=self.width, depth=self.depth, init=[], attrs=attributes)
        ports = {port: Signal(width, name=port) for port, width in self.inputs.items()}
        word = Signal(self.width, name="word")
        reader: Any = words.read_port()
        writer: Any = words.write_port()
        module.d.comb += [
            reader.addr.eq(ports["read"]),
            word.eq(reader.data),
            writer.addr.eq(ports["at"]),
            writer.data.eq(ports["data"]),
            writer.en.eq(ports["write"]),
        ]
        return Circuit(name or module_name(self.spec), module, (domain.clk, *ports.values(), word))


def selected(words: Sequence[Any], address: Any) -> Any:
    """The word at an address; of addresses that have none, some word."""
    level = list(words)
    for bit in address:
        pairs = [bit.mux(level[k + 1], level[k]) for k in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def _decoded(enable: Any, address: Any, count: int) -> list[Any]:
    """A bit for each of the first `count` addresses: `enable` at the given one, 0 at the others."""
    found = [enable]
    for k in reversed(range(address.width)):
        halves = [(one & ~address[k], one & address[k]) for one in found]
        found = [half for pair in halves for half in pair][: -(-count >> k) if k else count]
    return found
