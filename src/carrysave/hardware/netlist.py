"""The mapped netlist: gates of a cell library and the nets between them, read from BLIF, run on bit planes, and proved.

Amaranth's simulator and event-driven ones evaluate one vector at a time; here a net is a bit plane of 64 vectors per
uint64, so that all 65,536 operand pairs of an 8-bit multiplier take milliseconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.library import Library
from carrysave.multipliers.base import Multiplier
from carrysave.planes import PlaneWord
from carrysave.tables import multiply, operand_values, table

CONSTANTS = {"_const0_": False, "_const1_": True}  # ABC's names for a tied net; it costs no cell here
WIRE = "_wire_"  # an output that is another net
EXHAUSTIVE_BITS = 20  # operand bits of both sides together up to which every pair is run
_LANES = 1 << 17  # vectors at a time: a few thousand nets then fit the memory of a small machine

Planes = NDArray[np.uint64]


class NetlistError(ValueError):
    """A netlist cannot be read, has a loop, or uses what its library lacks."""


class MismatchError(AssertionError):
    """A netlist computes something else than its definition; names the first operands where it does."""


@dataclass(frozen=True)
class Instance:
    """One gate: (pin, net) pairs."""

    cell: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Netlist:
    """Gates in topological order (a flip-flop's output counts as a source).

    `inputs` and `outputs` are single nets; a port of several bits has nets named port[0], port[1], ...
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instances: tuple[Instance, ...]

    def cells(self) -> Counter[str]:
        """How many instances of each cell; constants and wires are not cells."""
        return Counter(i.cell for i in self.instances if i.cell not in CONSTANTS and i.cell != WIRE)

    def area_um2(self, library: Library) -> float:
        return sum(library[cell].area_um2 * count for cell, count in self.cells().items())

    def loads(self) -> dict[str, list[tuple[Instance, str]]]:
        """For each net, the (instance, input pin) pairs that it drives."""
        loads: dict[str, list[tuple[Instance, str]]] = {}
        for instance in self.instances:
            for pin, net in instance.inputs:
                loads.setdefault(net, []).append((instance, pin))
        return loads

    def blif(self) -> str:
        """The netlist as mapped BLIF."""
        lines = [f".model {self.name}", f".inputs {' '.join(self.inputs)}", f".outputs {' '.join(self.outputs)}"]
        for i in self.instances:
            lines.append(" ".join([".gate", i.cell, *(f"{pin}={net}" for pin, net in i.inputs + i.outputs)]))
        return "\n".join([*lines, ".end", ""])


# ---------------------------------------------------------------- reading


def parse_blif(text: str, library: Library) -> Netlist:
    """The netlist of a mapped BLIF text (`.gate` lines, as ABC writes them; `.names` only for constants and plain
    wires).

    Raises NetlistError for an unknown cell or pin, an undriven net, a net driven twice, or a combinational loop.
    """
    name, inputs, outputs, instances, wires = "", [], [], [], {}
    cover: list[str] = []
    for number, line in logical_lines(text):
        words = line.split()
        if words[0] == ".model":
            name = words[1]
        elif words[0] == ".inputs":
            inputs += words[1:]
        elif words[0] == ".outputs":
            outputs += words[1:]
        elif words[0] == ".gate":
            instances.append(_instance(words[1], words[2:], library, number))
        elif words[0] == ".names":
            cover = [*words[1:], str(number)]
            wires[words[-1]] = (tuple(words[1:-1]), number, [])
        elif words[0] == ".end":
            break
        elif words[0].startswith("."):
            raise NetlistError(f"BLIF line {number}: {words[0]} is not expected in a mapped netlist")
        elif cover:
            wires[cover[-2]][2].append(words)
    instances += [_plain(net, *wire) for net, wire in wires.items()]
    if not name or not outputs:
        raise NetlistError("this BLIF text has no .model with outputs; the mapper wrote no netlist")
    return Netlist(name, tuple(inputs), tuple(outputs), sort_topologically(instances, inputs, outputs, library))


def logical_lines(text: str) -> Iterable[tuple[int, str]]:
    """(number, line) of a BLIF text, comments dropped and continued lines joined."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].rstrip()
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        if (joined + line).strip():
            yield start, (joined + line).strip()
        joined, start = "", 0


def _instance(cell: str, connections: list[str], library: Library, number: int) -> Instance:
    pairs = [tuple(c.split("=", 1)) for c in connections]
    if cell in CONSTANTS:
        return Instance(cell, (), ((pairs[0][0], pairs[0][1]),))
    if cell not in library.cells:
        raise NetlistError(f"BLIF line {number}: library {library.name} has no cell {cell}")
    outputs = {pin.name for pin in library[cell].outputs}
    known = outputs | {pin.name for pin in library[cell].inputs}
    for pin, _ in pairs:
        if pin not in known:
            raise NetlistError(f"BLIF line {number}: cell {cell} has no pin {pin}")
    return Instance(
        cell, tuple((p, n) for p, n in pairs if p not in outputs), tuple((p, n) for p, n in pairs if p in outputs)
    )


def _plain(net: str, sources: tuple[str, ...], number: int, rows: list[list[str]]) -> Instance:
    if not sources and all(row == ["1"] for row in rows):
        return Instance("_const1_" if rows else "_const0_", (), (("z", net),))
    if len(sources) == 1 and rows == [["1", "1"]]:
        return tied(sources[0], net)
    raise NetlistError(f"BLIF line {number}: net {net} is logic that no cell implements; the mapping is not complete")


def tied(source: str, net: str) -> Instance:
    """A net that is another net, or one of `CONSTANTS`."""
    given = (("z", net),)
    return Instance(source, (), given) if source in CONSTANTS else Instance(WIRE, (("a", source),), given)


def sort_topologically(
    instances: Iterable[Instance], inputs: Iterable[str], outputs: Iterable[str], library: Library
) -> tuple[Instance, ...]:
    """The instances, each after those that drive it. Raises NetlistError for undriven nets, double drivers, loops."""
    instances = list(instances)
    driver: dict[str, int | None] = dict.fromkeys(inputs)
    waiting = [0] * len(instances)
    fanout: list[list[int]] = [[] for _ in instances]
    order: list[Instance] = []
    for k, instance in enumerate(instances):
        for _, net in instance.outputs:
            if net in driver:
                raise NetlistError(f"net {net} is driven twice")
            driver[net] = k
    for net in [*outputs, *(net for i in instances for _, net in i.inputs)]:
        if net not in driver:
            raise NetlistError(f"net {net} is driven by nothing")
    for k, instance in enumerate(instances):
        if instance.cell in library.cells and library[instance.cell].kind != "combinational":
            continue  # a register waits for nobody
        drivers = {driver[net] for _, net in instance.inputs}
        for source in (d for d in drivers if d is not None):
            waiting[k] += 1
            fanout[source].append(k)
    ready = [k for k, count in enumerate(waiting) if not count]
    for k in ready:
        order.append(instances[k])
        for after in fanout[k]:
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    if len(order) < len(instances):
        stuck = next(i for i, count in zip(instances, waiting, strict=True) if count)
        raise NetlistError(f"a combinational loop runs through {stuck.cell} driving {stuck.outputs[0][1]}")
    return tuple(order)


# ---------------------------------------------------------------- running


def simulate(
    netlist: Netlist, library: Library, inputs: Mapping[str, Planes], state: Mapping[str, Planes] | None = None
) -> dict[str, Planes]:
    """The planes of every net, given those of the inputs (equal lengths) and of the nets that registers drive."""
    missing = [net for net in netlist.inputs if net not in inputs]
    if missing:
        raise NetlistError(f"netlist {netlist.name}: no values given for input {missing[0]}")
    nets = {net: inputs[net] for net in netlist.inputs}
    nets.update(state or {})
    words = next(iter(nets.values())).shape if nets else (1,)
    ones = np.full(words, np.uint64(0xFFFFFFFFFFFFFFFF))
    functions: dict[str, list] = {}
    for instance in netlist.instances:
        if instance.cell in CONSTANTS:
            nets[instance.outputs[0][1]] = ones if CONSTANTS[instance.cell] else ~ones
            continue
        if instance.cell == WIRE:
            nets[instance.outputs[0][1]] = nets[instance.inputs[0][1]]
            continue
        if state and all(net in state for _, net in instance.outputs):
            continue
        if instance.cell not in functions:
            functions[instance.cell] = _functions(library, instance.cell)
        values = {pin: nets[net] for pin, net in instance.inputs}
        by_pin = dict(instance.outputs)
        for pin, function in functions[instance.cell]:
            if pin in by_pin:
                nets[by_pin[pin]] = evaluate(function, values, ones)
    return nets


def _functions(library: Library, name: str) -> list:
    cell = library[name]
    if cell.kind != "combinational":
        raise NetlistError(f"cell {name} is a {cell.kind}; only a `flops.Machine` runs netlists with registers")
    return [(pin.name, parse_function(pin.function)) for pin in cell.outputs if pin.function]


def ports(nets: Iterable[str]) -> dict[str, int]:
    """Width of each port, from the names of its nets: a[0], a[1] are port a of two bits; ok alone is one bit."""
    widths: dict[str, int] = {}
    for net in nets:
        match = re.fullmatch(r"(.+)\[(\d+)\]", net)
        name, bit = (match[1], int(match[2])) if match else (net, 0)
        widths[name] = max(widths.get(name, 0), bit + 1)
    return widths


def _net(port: str, bit: int, nets: Iterable[str]) -> str:
    return port if port in nets else f"{port}[{bit}]"


def run(netlist: Netlist, library: Library, inputs: Mapping[str, PlaneWord]) -> dict[str, PlaneWord]:
    """The output ports for given input ports."""
    widths = ports(netlist.inputs)
    for port, width in widths.items():
        if port not in inputs or inputs[port].width != width:
            got = f"of {inputs[port].width} bits" if port in inputs else "missing"
            raise NetlistError(f"netlist {netlist.name}: input {port} has {width} bits, the given one is {got}")
    planes = {
        _net(port, bit, netlist.inputs): inputs[port].planes[bit] for port, w in widths.items() for bit in range(w)
    }
    nets = simulate(netlist, library, planes)
    lanes = next(iter(inputs.values())).lanes
    return {
        port: PlaneWord(np.stack([nets[_net(port, bit, nets)] for bit in range(width)]), lanes)
        for port, width in ports(netlist.outputs).items()
    }


# ---------------------------------------------------------------- proof


@dataclass(frozen=True)
class Proof:
    """What was run and agreed: a proof if exhaustive, else a test on that many pairs."""

    pairs: int
    exhaustive: bool
    mismatches: int = 0

    def __str__(self) -> str:
        kind = "all" if self.exhaustive else "random and corner"
        return f"{self.pairs:,} {kind} operand pairs, {self.mismatches} mismatches"


def verify(netlist: Netlist, library: Library, m: Multiplier, pairs: int = 1_000_000, seed: int = 0) -> Proof:
    """Run the netlist against the definition of `m`: on all operand pairs to 10 + 10 bits, else on corners and random
    pairs.

    Raises MismatchError with the first pair on which they differ, NetlistError if the ports are not those of `m`.
    """
    got, want = ports(netlist.inputs) | ports(netlist.outputs), {"a": m.a_bits, "b": m.b_bits, "p": m.product_bits}
    if got != want:
        raise NetlistError(f"netlist {netlist.name} has ports {got}; {m.spec} has {want}")
    exhaustive = m.a_bits + m.b_bits <= EXHAUSTIVE_BITS
    if exhaustive:
        values_a, values_b = operand_values(m.a_bits, m.signed), operand_values(m.b_bits, m.signed)
        a, b = np.repeat(values_a, values_b.size), np.tile(values_b, values_a.size)
        expected = table(m).reshape(-1).astype(np.int64)
    else:
        a, b = sample_pairs(m, pairs, seed)
        expected = multiply(m, a, b)
    for start in range(0, a.size, _LANES):
        part = slice(start, start + _LANES)
        words = {"a": PlaneWord.from_ints(a[part], m.a_bits), "b": PlaneWord.from_ints(b[part], m.b_bits)}
        product = run(netlist, library, words)["p"].to_ints(m.signed)
        wrong = np.flatnonzero(product != expected[part])
        if wrong.size:
            k = int(wrong[0])
            raise MismatchError(
                f"{m.spec}: the netlist {netlist.name} gives {int(product[k])} "
                f"for {int(a[part][k])} * {int(b[part][k])}, "
                f"its definition {int(expected[part][k])}; {wrong.size} of {product.size} pairs run so far differ"
            )
    return Proof(int(a.size), exhaustive)


def sample_pairs(m: Multiplier, pairs: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of corner operands (extremes, powers of two and their neighbours), then random ones; values, signed if
    m is.
    """
    generator = np.random.default_rng(seed)
    sides = [_corners(bits, m.signed) for bits in (m.a_bits, m.b_bits)]
    corners = np.repeat(sides[0], sides[1].size), np.tile(sides[1], sides[0].size)
    columns = []
    for corner, bits in zip(corners, (m.a_bits, m.b_bits), strict=True):
        low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if m.signed else (0, 1 << bits)
        columns.append(np.concatenate([corner, generator.integers(low, high, pairs, dtype=np.int64)]))
    return columns[0], columns[1]


def _corners(bits: int, signed: bool) -> NDArray[np.int64]:
    patterns = {v % (1 << bits) for k in range(bits + 1) for v in ((1 << k) - 1, 1 << k, (1 << k) + 1, -(1 << k))}
    values = sorted(p - (1 << bits) if signed and p >> (bits - 1) else p for p in patterns)
    return np.array(values, dtype=np.int64)
