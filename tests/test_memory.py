"""The addressed memory: its reading against a list, its netlist, and the memories that an FPGA has for it."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.fpga import fpga_cost
from carrysave.hardware.units import UNITS


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("spec", ["memory:depth=8,width=5", "memory:depth=5,width=3", "memory:depth=6,form=block"])
def test_a_memory_is_a_list(spec: str):
    unit = UNITS.parse(spec)
    generator, lanes, cycles = np.random.default_rng(0), 4, 60
    read, at = generator.integers(0, unit.depth, (2, cycles, lanes))
    write = generator.integers(0, 2, (cycles, lanes))
    data = generator.integers(0, 1 << unit.width, (cycles, lanes))
    streams = {"read": read, "write": write, "at": at, "data": data}
    if unit.has_reset:
        streams["rst"] = np.zeros_like(read)
        streams["rst"][40, 2] = 1
    words = unit.run(**streams)["word"]
    for lane in range(lanes):
        held, last = [0] * unit.depth, 0
        for t in range(cycles):
            assert words[t, lane] == last
            last = held[read[t, lane]]
            if write[t, lane]:
                held[at[t, lane]] = int(data[t, lane])
            if unit.has_reset and streams["rst"][t, lane]:
                held = [0] * unit.depth


@pytest.mark.parametrize(
    ("spec", "bram18", "luts"),
    [
        ("memory:depth=512,width=36,form=block", 1, 0),  # 18 Kbit as 512 x 36: exactly one
        ("memory:depth=1024,width=36,form=auto", 2, 0),
        ("memory:depth=32,width=14,form=distributed", 0, 8),  # RAM32M16: 32 words of 14 bits in eight LUTs
    ],
)
def test_memories_of_an_fpga(spec: str, bram18: int, luts: int):
    cost = fpga_cost(UNITS.parse(spec), "xcup")
    assert (cost.counts.bram18, cost.counts.luts, cost.counts.others) == (bram18, luts, {})
    assert cost.proof is None  # counted, not run


def test_flops_are_proved_on_the_fpga():
    cost = fpga_cost(UNITS.parse("memory:depth=4,width=2"), "xcup", vectors=100_000)
    assert cost.proof is not None and cost.proof.vectors >= 100_000
    assert cost.counts.ffs == 4 * 2 + 2


def test_a_memory_that_cannot_be():
    with pytest.raises(ValueError, match="memory: depth=1, width=4; 2 to 65536 words of 1 to 16384 bits"):
        UNITS.parse("memory:depth=1")
    with pytest.raises(ValueError, match="form=blok.*did you mean 'block'.*flops, auto, distributed, block"):
        UNITS.parse("memory:form=blok")
