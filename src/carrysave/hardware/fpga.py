"""FPGA synthesis: Yosys' `synth_xilinx` in a child process, its netlist proved, counted, and held against a device.

There is no place and route. LUTs, carry bits, flip-flops, DSPs and block memories are counts of the mapped netlist; a
clock is the user's input; the delay is the sum of cell delays on the longest path, an estimate without routing that
says which of two designs is deeper, not how fast either runs.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from carrysave.hardware.fpga_netlist import Counts, FpgaNetlist, parse_json
from carrysave.hardware.proof import VECTORS, UnitProof, prove_steps
from carrysave.hardware.synthesis import cached_path, cached_rows
from carrysave.hardware.tools import Tools
from carrysave.hardware.units.assembly import Assembly, Glue
from carrysave.hardware.units.base import Unit
from carrysave.paths import write_atomically
from carrysave.registry import SpecError, nearest

FAMILIES = {"xc7": "7 series", "xcu": "UltraScale", "xcup": "UltraScale+"}
FLOW = "1"  # part of every cache key: raise it when the commands below change
_COMMANDS = (
    "read_rtlil design.il\nsynth_xilinx -family {family} -flatten -noiopad -noclkbuf{options} -top {top}\n"
    "select {top}\nwrite_json -selected design.json\n"
)


@dataclass(frozen=True)
class Device:
    """What one device has. Source: AMD/Xilinx product tables (DS180, DS190, DS890, DS891)."""

    name: str
    family: str
    luts: int
    ffs: int
    dsps: int
    bram18: int
    part: str = ""

    def shares(self, counts: Counts) -> dict[str, float]:
        """The share of each resource that a design takes."""
        pairs = {
            "lut": (counts.luts, self.luts),
            "ff": (counts.ffs, self.ffs),
            "dsp": (counts.dsps, self.dsps),
            "bram18": (counts.bram18, self.bram18),
        }
        return {name: used / there for name, (used, there) in pairs.items()}


DEVICES = {
    device.name: device
    for device in (
        Device("xc7a35t", "xc7", 20_800, 41_600, 90, 100, "Artix-7 35T"),
        Device("xc7a100t", "xc7", 63_400, 126_800, 240, 270, "Artix-7 100T"),
        Device("xc7z020", "xc7", 53_200, 106_400, 220, 280, "Zynq-7020"),
        Device("xc7z045", "xc7", 218_600, 437_200, 900, 1_090, "Zynq-7045"),
        Device("xc7vx485t", "xc7", 303_600, 607_200, 2_800, 2_060, "Virtex-7 485T"),
        Device("xc7vx690t", "xc7", 433_200, 866_400, 3_600, 2_940, "Virtex-7 690T"),
        Device("ku115", "xcu", 663_360, 1_326_720, 5_520, 4_320, "Kintex UltraScale 115"),
        Device("zu3", "xcup", 70_560, 141_120, 360, 432, "Zynq UltraScale+ ZU3EG"),
        Device("zu7", "xcup", 230_400, 460_800, 1_728, 624, "Zynq UltraScale+ ZU7EV"),
        Device("zu9", "xcup", 274_080, 548_160, 2_520, 1_824, "Zynq UltraScale+ ZU9EG"),
        Device("vu3p", "xcup", 394_080, 788_160, 2_280, 1_440, "Virtex UltraScale+ VU3P"),
        Device("vu9p", "xcup", 1_182_240, 2_364_480, 6_840, 4_320, "Virtex UltraScale+ VU9P"),
    )
}


def target(name: str) -> tuple[str, Device | None]:
    """(family, device or None) of a family's or device's name. Raises SpecError with the nearest one."""
    key = name.lower()
    if key in FAMILIES:
        return key, None
    if key in DEVICES:
        return DEVICES[key].family, DEVICES[key]
    known = [*FAMILIES, *DEVICES]
    raise SpecError(f"unknown FPGA {name!r}{nearest(name, known)}; families and devices: {', '.join(known)}")


@dataclass(frozen=True)
class FpgaCost:
    """What a unit takes on an FPGA family.

    Attributes:
        logic_delay_ps: estimate of the longest path through cells alone (Artix-7 figures, no routing).
        proof: what its netlist was run on; None with memories or DSPs, which are not run. Of an assembly the weakest of
            its parts' and its glue's, None if one of them has none.
        parts: of an assembly, (how often, cost) of each different part, the glue last. Its counts are theirs; its delay
            is the longest in one of them: paths through several are not followed.
    """

    spec: str
    family: str
    counts: Counts
    logic_delay_ps: float
    proof: UnitProof | None
    source: str
    parts: tuple[tuple[int, FpgaCost], ...] = ()


def fpga_cost(
    unit: Unit, family: str = "xcup", *, dsps: bool = True, vectors: int = VECTORS, tools: Tools | None = None
) -> FpgaCost:
    """Synthesise a unit for an FPGA family and prove the mapped netlist; an assembly part by part.

    Args:
        family: xc7, xcu or xcup.
        dsps: whether multipliers may become DSP blocks.
        vectors: random inputs to prove it on where they cannot be enumerated.

    Raises:
        SynthesisError: if Yosys or ABC fails, hangs or writes nothing: stage, last lines of its log and what to do.
        MismatchError: if the netlist computes something else than the unit's definition.
    """
    if isinstance(unit, Assembly):
        return _of_assembly(unit, family, dsps=dsps, vectors=vectors, tools=tools)
    circuit = unit.circuit()
    netlist = synthesize_fpga(circuit.name, circuit.rtlil(), family, dsps=dsps, tools=tools)
    text = repr((netlist.inputs, netlist.outputs, netlist.gates, netlist.flops))
    proof = None if netlist.blocks else prove_steps(unit, netlist, text, vectors, tools=tools)
    source = f"Yosys synth_xilinx for {FAMILIES[family]}, no place and route; LUT pairs of one carry bit counted once"
    return FpgaCost(unit.spec, family, netlist.counts(), netlist.logic_delay_ps(), proof, source)


def _of_assembly(unit: Assembly, family: str, *, dsps: bool, vectors: int, tools: Tools | None) -> FpgaCost:
    glue = Glue(of=unit)
    few = glue.vectors(vectors)
    pieces = [(n, fpga_cost(part, family, dsps=dsps, vectors=vectors, tools=tools)) for part, n in unit.counts.items()]
    pieces.append((1, fpga_cost(glue, family, dsps=dsps, vectors=few, tools=tools)))
    counts = Counts.total((n, cost.counts) for n, cost in pieces)
    proofs = [cost.proof for _, cost in pieces]
    proved = [proof for proof in proofs if proof is not None]
    weakest = min(proved, key=lambda proof: (proof.exhaustive, proof.vectors)) if len(proved) == len(proofs) else None
    delay = max(cost.logic_delay_ps for _, cost in pieces)
    source = f"{pieces[0][1].source}; each different part once, times how often it stands there"
    return FpgaCost(unit.spec, family, counts, delay, weakest, source, tuple(pieces))


def fpga_costs(
    units: Sequence[Unit],
    family: str = "xcup",
    *,
    dsps: bool = True,
    vectors: int = VECTORS,
    progress: Callable[[int, int, str], None] | None = None,
    workers: int | None = None,
) -> list[FpgaCost]:
    """`fpga_cost` of many units, as many at a time as there are workers (one per core if None)."""
    found = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures = [pool.submit(fpga_cost, unit, family, dsps=dsps, vectors=vectors) for unit in units]
        try:
            for unit, future in zip(units, futures, strict=True):
                found.append(future.result())
                if progress:
                    progress(len(found), len(units), unit.spec)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return found


def synthesize_fpga(
    name: str, text: str, family: str = "xcup", *, dsps: bool = True, tools: Tools | None = None
) -> FpgaNetlist:
    """Map RTLIL onto an FPGA family; the netlist is cached by content.

    Raises:
        ValueError: for an unknown family.
        SynthesisError: as `fpga_cost`.
        NetlistError: if Yosys left logic that no cell is.
    """
    if family not in FAMILIES:
        raise ValueError(f"FPGA family {family!r}: expected one of {', '.join(FAMILIES)}")
    tools = tools or Tools.installed()
    commands = _COMMANDS.format(family=family, top=name, options="" if dsps else " -nodsp")
    path = cached_path(("fpga", FLOW, tools.version, commands, text))
    known = cached_rows(path)
    if known is not None:
        return parse_json(known[0]["json"], name)
    stage = f"{name}: synthesis for {FAMILIES[family]} with Yosys"
    written = tools.run_yosys(stage, commands, {"design.il": text}, "design.json")
    netlist = parse_json(written, name)
    compact = json.dumps(json.loads(written), separators=(",", ":"))
    write_atomically(path, gzip.compress(json.dumps([{"json": compact}]).encode(), 3))
    return netlist
