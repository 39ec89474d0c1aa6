"""RTL: a Word that is wires of an Amaranth module, and the RTLIL and Verilog of what is built from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.back import rtlil as amaranth_rtlil
from amaranth.hdl import Cat, ClockDomain, Const, Fragment, Module, Mux, Signal, Value
from amaranth.hdl._ast import Slice

from carrysave.bits import Word
from carrysave.multipliers.base import Multiplier


class RtlWord(Word):
    """A Word whose bits are a wire of `module`.

    Every operation gets a wire of its own: a bare Amaranth expression recomputes its shape recursively, so an operand
    used twice costs exponentially in the depth.
    """

    def __init__(self, module: Module, value: Value):
        self.module = module
        self.value = value
        self.width = len(value)

    def _wire(self, value: Any, name: str, width: int) -> RtlWord:
        wire = Signal(width, name=name)
        self.module.d.comb += wire.eq(value)
        return RtlWord(self.module, wire)

    def const(self, value: int, width: int) -> RtlWord:
        if width < 1 or not 0 <= value < (1 << width):
            raise ValueError(f"constant {value} does not fit {width} bits, unsigned")
        return RtlWord(self.module, Const(value, width))

    def _and(self, other: RtlWord) -> RtlWord:
        return self._wire(self.value & other.value, "and_", self.width)

    def _or(self, other: RtlWord) -> RtlWord:
        return self._wire(self.value | other.value, "or_", self.width)

    def _xor(self, other: RtlWord) -> RtlWord:
        return self._wire(self.value ^ other.value, "xor_", self.width)

    def _not(self) -> RtlWord:
        return self._wire(~self.value, "not_", self.width)

    def _sum(self, other: RtlWord) -> RtlWord:
        return self._wire(self.value + other.value, "sum", self.width + 1)

    def _difference(self, other: RtlWord) -> RtlWord:
        return self._wire(self.value - other.value, "difference", self.width)

    def _product(self, other: RtlWord) -> RtlWord:
        return self._wire(self.value.as_signed() * other.value.as_signed(), "product", self.width + other.width)

    def _choose(self, if_one: RtlWord, if_zero: RtlWord) -> RtlWord:
        return self._wire(Mux(self.value, if_one.value, if_zero.value), "mux", if_one.width)

    def _slice(self, low: int, high: int) -> RtlWord:
        value = self.value
        if isinstance(value, Slice):  # a slice of a wire's slice is a slice of the wire: expressions never nest
            whole: Any = value.value
            return RtlWord(self.module, whole[value.start + low : value.start + high])
        part: Any = value[low:high]
        return RtlWord(self.module, part)

    def _concat(self, words: Sequence[RtlWord]) -> RtlWord:
        return self._wire(Cat(*[word.value for word in words]), "word", sum(word.width for word in words))


_TOP = re.compile(r"^\s*attribute \\top 1\n", re.MULTILINE)
_PORT = re.compile(r"^(\s*wire width \d+ (?:input|output|inout) )(\d+) ", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Circuit:
    """An Amaranth module with its ports: what the RTL of any unit is made from."""

    name: str
    module: Any  # an Amaranth Elaboratable
    ports: tuple[Signal, ...]
    parts: Mapping[str, str] = field(default_factory=dict)  # RTLIL of the modules it has instances of, by name

    def rtlil(self) -> str:
        """The circuit as RTLIL, Yosys' own form, the modules of its parts first; the same text in every run."""
        return "\n".join([*self.parts.values(), self._text()])

    def modules(self) -> dict[str, str]:
        """RTLIL of the circuit and of its parts by name, none of them marked as the top: parts of a larger one."""
        return {**self.parts, self.name: _TOP.sub("", self._text())}

    def _text(self) -> str:
        text = amaranth_rtlil.convert(self.module, name=self.name, ports=list(self.ports), emit_src=False)
        # Amaranth counts ports from 0, which Yosys reads as "no place given" and moves that port to the end
        return _PORT.sub(lambda match: f"{match[1]}{int(match[2]) + 1} ", text)

    def verilog(self) -> str:
        """The circuit as Verilog, written by Yosys. Raises SynthesisError if Yosys fails."""
        from carrysave.hardware.tools import Tools  # only Verilog needs Yosys

        text = self.rtlil()  # first: Amaranth warns of a module that nobody used, such as one without tools
        return Tools.installed().verilog(text)


def combinational(name: str, inputs: Mapping[str, int], function: Callable[..., Mapping[str, Word]]) -> Circuit:
    """The circuit of a function over Words.

    Args:
        name: the module's name.
        inputs: width of each input by its port name.
        function: called with the inputs as Words, in order; returns the output Words by port name.
    """
    return synchronous(name, inputs, {}, lambda words: (function(*words.values()), {}))


def synchronous(
    name: str,
    inputs: Mapping[str, int],
    registers: Mapping[str, int],
    function: Callable[[dict[str, Any]], tuple[Mapping[str, Any], Mapping[str, Any]]],
    clock: str = "clk",
) -> Circuit:
    """The circuit of a function over Words between registers.

    Args:
        inputs, registers: widths by name; with registers the circuit has the port `clock` besides, rising edge.
        function: called with the Words of inputs and registers by name; returns the output Words and the registers'
            next values by name. A reset is its own affair.
    """
    module, domain = Module(), ClockDomain("sync", reset_less=True)
    wires = {port: Signal(width, name=port) for port, width in inputs.items()}
    state = {register: Signal(width, name=f"{register}_q", reset_less=True) for register, width in registers.items()}
    outputs = []
    try:
        words, following = function({port: RtlWord(module, wire) for port, wire in {**wires, **state}.items()})
    except BaseException:
        Fragment.get(module, None)  # Amaranth warns of modules that nobody used
        raise
    for register, word in following.items():
        module.d.sync += state[register].eq(word.value)
    for port, word in words.items():
        output = Signal(word.width, name=port)
        module.d.comb += output.eq(word.value)  # type: ignore[attr-defined]
        outputs.append(output)
    if not registers:
        return Circuit(name, module, (*wires.values(), *outputs))
    module.domains += domain
    domain.clk.name = clock
    return Circuit(name, module, (domain.clk, *wires.values(), *outputs))


def module_name(spec: str) -> str:
    """A spec string as an identifier: "drum:k=6" is drum_k6."""
    name = re.sub(r"\W+", "_", spec.replace("=", "")).strip("_")
    return name if name[:1].isalpha() else f"m_{name}"


def circuit(m: Multiplier, name: str | None = None) -> Circuit:
    """The multiplier as a circuit with inputs a and b and output p."""
    return combinational(name or module_name(m.spec), {"a": m.a_bits, "b": m.b_bits}, lambda a, b: {"p": m(a, b)})


def rtlil(m: Multiplier, name: str | None = None) -> str:
    """The multiplier as RTLIL: a module with inputs a and b and output p."""
    return circuit(m, name).rtlil()


def verilog(m: Multiplier, name: str | None = None) -> str:
    """The multiplier as Verilog: a module with inputs a and b and output p. Raises SynthesisError if Yosys fails."""
    return circuit(m, name).verilog()
