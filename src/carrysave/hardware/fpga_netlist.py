"""A mapped FPGA netlist: read from Yosys' JSON, counted, packed, timed by its logic alone, and run bit-parallel.

The cells are those that `synth_xilinx` leaves: LUTs, carry chains (taken apart into their bits), wide multiplexers,
flip-flops, and blocks (memories, DSPs) that are counted but not run. A net is Yosys' number of it, or "0", "1", "x".
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from carrysave.hardware.netlist import NetlistError, Planes
from carrysave.planes import PlaneWord

Net = int | str
FLOPS = {"FDRE": ("R", 0), "FDSE": ("S", 1), "FDCE": ("CLR", 0), "FDPE": ("PRE", 1)}  # reset pin, value it sets
# LUTs that one distributed memory or shift register takes (UG474: a 6-input LUT is 64 bits, or 32 of two ports)
_MEMORY_LUTS = {
    "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1S": 2,
    "RAM128X1D": 4, "RAM256X1S": 4, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM256X1D": 8,
    "RAM512X1S": 8,
}  # fmt: skip
_BRAM18 = {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2}
# ps, from the 7-series models that Yosys carries (xilinx/cells_sim.v, Artix-7, Project X-Ray): by input pin where it
# matters, carry chains per bit
_LUT_PS = (642, 631, 472, 407, 238, 127)
_CARRY_IN_PS, _CARRY_STEP_PS, _CARRY_OUT_PS = 380, 29, 223  # from DI or S into the chain, one bit on, to a sum bit
_MUX_PS = {"MUXF7": 296, "MUXF8": 273, "MUXF9": 273}
_CLOCK_TO_Q_PS, _RESET_SETUP_PS, _ENABLE_SETUP_PS = 303, 404, 109


@dataclass(frozen=True)
class Gate:
    """One piece of logic with one or two outputs: a LUT (`kind` is its truth table's size), a carry bit, a mux."""

    kind: str  # lut, carry, mux
    inputs: tuple[Net, ...]
    outputs: tuple[Net, ...]
    init: int = 0
    cell: str = ""


@dataclass(frozen=True)
class FpgaFlop:
    kind: str  # FDRE, FDSE, FDCE, FDPE
    data: Net
    enable: Net
    reset: Net
    output: Net
    clock: Net


@dataclass(frozen=True)
class Counts:
    """What a design takes of a device.

    Attributes:
        luts: six-input LUTs, memory and shift registers included; two LUTs that feed the same carry bit and have at
            most five different inputs are one, as in the device (LUT6_2). INVs count as LUTs.
        lut_cells: LUTs as Yosys leaves them, none packed.
        carry_bits: bits of carry chains in use.
        bram18: block memories in halves of 18 Kbit.
    """

    luts: int
    lut_cells: int
    carry_bits: int
    ffs: int
    dsps: int
    bram18: int
    muxes: int = 0
    uram: int = 0
    others: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def total(pieces: Iterable[tuple[int, Counts]]) -> Counts:
        """What pieces take together, each so many times."""
        pieces, others = list(pieces), Counter[str]()
        for times, counts in pieces:
            others.update({cell: times * n for cell, n in counts.others.items()})
        names = [entry.name for entry in fields(Counts) if entry.name != "others"]
        return Counts(**{n: sum(k * getattr(c, n) for k, c in pieces) for n in names}, others=dict(others))


@dataclass(frozen=True, eq=False)
class FpgaNetlist:
    """Gates in topological order, flip-flops, and the nets of the ports, bit by bit."""

    name: str
    inputs: Mapping[str, tuple[Net, ...]]
    outputs: Mapping[str, tuple[Net, ...]]
    gates: tuple[Gate, ...]
    flops: tuple[FpgaFlop, ...]
    blocks: Mapping[str, int]  # cells that are counted and not run

    @property
    def clock(self) -> str | None:
        """The input port that clocks the flip-flops. Raises NetlistError unless there is one at most."""
        nets = {flop.clock for flop in self.flops}
        names = [name for name, bits in self.inputs.items() if set(bits) & nets]
        if len(nets) > 1 or len(nets) != len(names):
            raise NetlistError(f"netlist {self.name}: flip-flops are clocked by {len(nets)} nets; expected one input")
        return names[0] if names else None

    def counts(self) -> Counts:
        kinds = Counter(gate.kind for gate in self.gates)
        memory = sum(_MEMORY_LUTS.get(cell, 0) * n for cell, n in self.blocks.items())
        others = {c: n for c, n in self.blocks.items() if not _counted(c)}
        cells = kinds["lut"] + memory
        return Counts(
            cells - self._packed(),
            cells,
            kinds["carry"],
            len(self.flops),
            sum(n for cell, n in self.blocks.items() if cell.startswith("DSP48")),
            sum(_BRAM18.get(cell, 0) * n for cell, n in self.blocks.items()),
            kinds["mux"],
            sum(n for cell, n in self.blocks.items() if cell.startswith("URAM")),
            others,
        )

    def _packed(self) -> int:
        """Pairs of LUTs at one carry bit that share a LUT: its outputs O6 and O5 feed the bit's S and DI."""
        luts = {gate.outputs[0]: gate for gate in self.gates if gate.kind == "lut"}
        taken: set[Net] = set()
        for gate in self.gates:
            if gate.kind != "carry":
                continue
            one, other = gate.inputs[0], gate.inputs[1]
            if one == other or not {one, other} <= luts.keys() or {one, other} & taken:
                continue
            if len({*luts[one].inputs, *luts[other].inputs} - {"0", "1", "x"}) <= 5:
                taken |= {one, other}
        return len(taken) // 2

    def logic_delay_ps(self) -> float:
        """The longest path through cells alone, from input or clock to output or flip-flop: an estimate, no routing."""
        arrival: dict[Net, float] = {flop.output: _CLOCK_TO_Q_PS for flop in self.flops}
        for gate in self.gates:
            if gate.kind == "lut":
                times = sorted((arrival.get(net, 0.0) for net in gate.inputs), reverse=True)
                # the router puts the latest signal on the fastest pin
                spent = [time + _LUT_PS[5 - k] for k, time in enumerate(times)]
                arrival[gate.outputs[0]] = max(spent, default=0.0)
            elif gate.kind == "mux":
                arrival[gate.outputs[0]] = max(arrival.get(n, 0.0) for n in gate.inputs) + _MUX_PS.get(gate.cell, 296)
            else:
                local = max(arrival.get(net, 0.0) for net in gate.inputs[:2])
                carry = arrival.get(gate.inputs[2], 0.0)
                arrival[gate.outputs[0]] = max(local, carry) + _CARRY_OUT_PS
                arrival[gate.outputs[1]] = max(local + _CARRY_IN_PS, carry + _CARRY_STEP_PS)
        ends = [arrival.get(net, 0.0) for bits in self.outputs.values() for net in bits]
        for flop in self.flops:
            ends.append(arrival.get(flop.data, 0.0))
            ends.append(arrival.get(flop.reset, -math.inf) + _RESET_SETUP_PS)
            ends.append(arrival.get(flop.enable, -math.inf) + _ENABLE_SETUP_PS)
        return max(ends, default=0.0)

    # ------------------------------------------------------------ running

    def steps(self, cycles: Iterable[Mapping[str, PlaneWord]], seed: int | None = 0) -> Iterator[dict[str, PlaneWord]]:
        """The output ports of each cycle; every lane is a stream of its own, flip-flops start at random (None: 0).

        Raises NetlistError for a netlist with memories or DSPs, and ports that are not its own.
        """
        state = None
        for values in cycles:
            words = next(iter(values.values())).planes.shape[1]
            out, state = self.advance(values, self.start(words, seed) if state is None else state)
            yield out

    def start(self, words: int, seed: int | None = 0) -> dict[str, Planes]:
        """A state to start from, `words` of 64 lanes each, by the net of each flip-flop: at random, or 0 with None."""
        draw = np.random.default_rng(seed).integers(0, 1 << 64, (len(self.flops), words), dtype=np.uint64)
        planes = draw if seed is not None else np.zeros_like(draw)
        return {str(flop.output): plane for flop, plane in zip(self.flops, planes, strict=True)}

    def advance(
        self, values: Mapping[str, PlaneWord], state: Mapping[str, Planes]
    ) -> tuple[dict[str, PlaneWord], dict[str, Planes]]:
        """(output ports in one cycle, the state after its edge), given the input ports without the clock.

        Raises NetlistError as `steps`.
        """
        if self.blocks:
            raise NetlistError(f"netlist {self.name} has {', '.join(self.blocks)}, which are counted but not run")
        clock = self.clock
        widths = {name: len(bits) for name, bits in self.inputs.items() if name != clock}
        given = {port: word.width for port, word in values.items()}
        if given != widths:
            raise NetlistError(f"netlist {self.name} has input ports {widths}, the given ones are {given}")
        some = next(iter(values.values()))
        nets = self._settled(values, [state[str(flop.output)] for flop in self.flops], some.planes.shape[1])
        outputs = {
            port: PlaneWord(np.stack([nets[net] for net in bits]), some.lanes) for port, bits in self.outputs.items()
        }
        return outputs, {str(flop.output): _after(flop, nets) for flop in self.flops}

    def _settled(self, values: Mapping[str, PlaneWord], state: list[Planes], words: int) -> dict[Net, Planes]:
        zero = np.zeros(words, dtype=np.uint64)
        nets: dict[Net, Planes] = {"0": zero, "1": ~zero, "x": zero}
        for port, bits in self.inputs.items():
            for k, net in enumerate(bits):
                nets[net] = values[port].planes[k] if port in values else zero
        nets.update({flop.output: plane for flop, plane in zip(self.flops, state, strict=True)})
        for gate in self.gates:
            given = [nets[net] for net in gate.inputs]
            if gate.kind == "lut":
                nets[gate.outputs[0]] = _look_up(gate.init, given, zero)
            elif gate.kind == "mux":
                nets[gate.outputs[0]] = given[0] ^ (given[2] & (given[0] ^ given[1]))
            else:
                select, data, carry = given
                nets[gate.outputs[0]] = select ^ carry
                nets[gate.outputs[1]] = data ^ (select & (data ^ carry))
        return nets


def _counted(cell: str) -> bool:
    return cell in _MEMORY_LUTS or cell in _BRAM18 or cell.startswith(("DSP48", "URAM"))


def _look_up(table: int, inputs: list[Planes], zero: Planes) -> Planes:
    """A LUT on planes: the upper and the lower half of its table, chosen by the last input."""
    if not inputs:
        return ~zero if table & 1 else zero
    half = 1 << (len(inputs) - 1)
    low, high = table & ((1 << half) - 1), table >> half
    if low == high:
        return _look_up(low, inputs[:-1], zero)
    one, other = _look_up(high, inputs[:-1], zero), _look_up(low, inputs[:-1], zero)
    return other ^ (inputs[-1] & (one ^ other))


def _after(flop: FpgaFlop, nets: Mapping[Net, Planes]) -> Planes:
    now, reset = nets[flop.output], nets[flop.reset]
    following = now ^ (nets[flop.enable] & (now ^ nets[flop.data]))
    return following | reset if FLOPS[flop.kind][1] else following & ~reset


# ---------------------------------------------------------------- reading


def parse_json(text: str, name: str) -> FpgaNetlist:
    """The netlist of module `name` in Yosys' JSON, after `synth_xilinx`.

    Raises NetlistError where the module is missing, logic is left that no cell of the family is, or has a loop.
    """
    modules = json.loads(text).get("modules", {})
    if name not in modules:
        raise NetlistError(f"no module {name} in the netlist that Yosys wrote; it has {', '.join(modules) or 'none'}")
    module = modules[name]
    gates, flops, blocks = [], [], Counter[str]()
    for label, cell in module["cells"].items():
        kind, pins = cell["type"], cell["connections"]
        if kind == "$scopeinfo":  # the name of a module that was dissolved
            continue
        if kind.startswith("$"):
            raise NetlistError(f"{name}: {kind} {label} is left in the mapped netlist; synth_xilinx could not map it")
        if kind in FLOPS:
            flops.append(_flop(kind, pins, cell["parameters"]))
        elif (made := _gates(kind, pins, cell["parameters"])) is not None:
            gates += made
        else:
            blocks[kind] += 1
    ports: dict[str, dict[str, tuple[Net, ...]]] = {"input": {}, "output": {}}
    for port, entry in module["ports"].items():
        ports[entry["direction"]][port] = tuple(entry["bits"])
    sources = {net for bits in ports["input"].values() for net in bits} | {flop.output for flop in flops}
    used = {net for bits in ports["output"].values() for net in bits}
    used |= {net for flop in flops for net in (flop.data, flop.enable, flop.reset)}
    if blocks:
        used |= {net for cell in module["cells"].values() for bits in cell["connections"].values() for net in bits}
    order = _without_idle_carries(_sorted(name, gates, sources, bool(blocks)), used)
    return FpgaNetlist(name, ports["input"], ports["output"], order, tuple(flops), dict(blocks))


def _flop(kind: str, pins: Mapping[str, Any], parameters: Mapping[str, str]) -> FpgaFlop:
    inverted = [key for key, value in parameters.items() if key.startswith("IS_") and "1" in str(value)]
    if inverted:
        raise NetlistError(f"{kind} with {', '.join(inverted)}: only rising edges and true pins are read")
    return FpgaFlop(kind, pins["D"][0], pins["CE"][0], pins[FLOPS[kind][0]][0], pins["Q"][0], pins["C"][0])


def _gates(kind: str, pins: Mapping[str, Any], parameters: Mapping[str, str]) -> list[Gate] | None:
    """The gates of a cell; none of a buffer's own; None for a block."""
    lut = re.fullmatch(r"LUT(\d)", kind)
    if lut:
        inputs = tuple(pins[f"I{k}"][0] for k in range(int(lut[1])))
        return [Gate("lut", inputs, (pins["O"][0],), int(str(parameters["INIT"]), 2), kind)]
    if kind == "INV":
        return [Gate("lut", (pins["I"][0],), (pins["O"][0],), 0b01, kind)]
    if kind in _MUX_PS:
        return [Gate("mux", (pins["I0"][0], pins["I1"][0], pins["S"][0]), (pins["O"][0],), cell=kind)]
    if kind in ("CARRY4", "CARRY8"):
        return _carry_bits(kind, pins)
    return None


def _carry_bits(kind: str, pins: Mapping[str, Any]) -> list[Gate]:
    """The bits of a carry block that something reads; S "0" and DI "0" pad its end."""
    width = int(kind[5:])
    chain = pins.get("CI", ["0"])[0]
    carry = pins.get("CYINIT", ["0"])[0] if chain in ("0", "x") else chain
    found = []
    for k in range(width):
        select, data = pins["S"][k], pins["DI"][k]
        total, out = pins["O"][k], pins["CO"][k]
        found.append(Gate("carry", (select, data, carry), (total, out), cell=kind))
        carry = out
    return found


def _sorted(name: str, gates: list[Gate], sources: set[Net], blocks: bool) -> tuple[Gate, ...]:
    """In topological order. Outputs of blocks count as sources."""
    driver = {net: k for k, gate in enumerate(gates) for net in gate.outputs}
    waiting, fanout = [0] * len(gates), [[] for _ in gates]
    for k, gate in enumerate(gates):
        for net in {n for n in gate.inputs if n in driver}:
            waiting[k] += 1
            fanout[driver[net]].append(k)
        for net in gate.inputs:
            if net not in driver and net not in sources and net not in ("0", "1", "x") and not blocks:
                raise NetlistError(f"{name}: net {net} is driven by nothing")
    ready = [k for k, count in enumerate(waiting) if not count]
    for k in ready:
        for after in fanout[k]:
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    if len(ready) < len(gates):
        raise NetlistError(f"{name}: the mapped netlist has a combinational loop")
    return tuple(gates[k] for k in ready)


def _without_idle_carries(gates: tuple[Gate, ...], used: set[Net]) -> tuple[Gate, ...]:
    """Carry blocks come in fours: the bits whose sum and carry nobody reads are not there."""
    kept, read = [], set(used)
    for gate in reversed(gates):
        if gate.kind == "carry" and not read & set(gate.outputs):
            continue
        kept.append(gate)
        read |= set(gate.inputs)
    return tuple(reversed(kept))
