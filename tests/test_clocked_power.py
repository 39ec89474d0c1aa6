"""Energy of flip-flops, against sums over the tables by hand, and against the combinational flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from carrysave.hardware.activity import toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.clocked_power import Streams, clocked_energy, recorded_streams, toggling_streams
from carrysave.hardware.netlist import NetlistError, parse_blif
from carrysave.hardware.power import energy
from carrysave.hardware.timing import analyze
from carrysave.hardware.units import Register, Unit

LIBRARY = compact_library()
CELL = LIBRARY["DFFHQNx1_ASAP7_75t_R"]
ONE = parse_blif(f".model one\n.inputs clk x\n.outputs y\n.gate {CELL.name} D=x CLK=clk QN=y\n.end\n", LIBRARY)


@dataclass(frozen=True, kw_only=True)
class Bit(Unit):
    name = "bit"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"held": Register(1)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"y": ~values["held"], "held": values["x"]}


def streams(pattern: list[int]) -> Streams:
    return recorded_streams(Bit(), "pattern", {"x": np.array(pattern)[:, None].repeat(64, 1)})


def own(pin: str, when: str | None, edge: str, slew: float = 0.0) -> float:
    (power,) = [p for p in CELL.pin(pin).powers if p.when == when]
    table = power.rise if edge == "rise" else power.fall
    return 0.0 if table is None else table.point(slew, 0.0)


def test_a_flip_flop_whose_data_stands_still_costs_its_clock():
    """D = 1 and QN = 0, the clock high or low: two entries of the clock pin, and charging the pin."""
    spent = clocked_energy(ONE, LIBRARY, streams([1] * 8), output_load_ff=0.0)
    at_clock = own("CLK", "(D * !QN)", "rise") + own("CLK", "(D * !QN)", "fall")
    charge = LIBRARY.voltage**2 * CELL.pin("CLK").capacitance_ff
    assert spent.dynamic_fj == pytest.approx(at_clock + charge)
    assert spent.clock_fj == pytest.approx(spent.dynamic_fj) and spent.internal_fj == pytest.approx(at_clock)
    states = dict(CELL.leakage_states)
    assert spent.leakage_nw == pytest.approx((states["(CLK * D * !QN)"] + states["(!CLK * D * !QN)"]) / 2)
    assert spent.at(2.0).dynamic_uw == pytest.approx(2 * spent.dynamic_fj)


def test_a_flip_flop_whose_data_toggles_every_cycle():
    """At each edge QN takes on what D does not show any more; D moves with the clock high, and meets it falling."""
    load = 2.0
    spent = clocked_energy(ONE, LIBRARY, streams([0, 1] * 8), output_load_ff=load)
    # rising with D = 1, QN = 1 (QN falls), then D falls: falling with D = 0, QN = 0; and the other way round
    clock = own("CLK", "(D * QN)", "rise") + own("CLK", "(!D * !QN)", "fall")
    clock += own("CLK", "(!D * !QN)", "rise") + own("CLK", "(D * QN)", "fall")
    data = own("D", "CLK", "rise") + own("D", "CLK", "fall")
    (power,) = CELL.pin("QN").powers
    assert power.rise is not None and power.fall is not None
    output = power.rise.point(0.0, load) + power.fall.point(0.0, load)
    assert spent.internal_fj == pytest.approx((clock + data + output) / 2)
    v2 = LIBRARY.voltage**2
    nets = v2 * CELL.pin("CLK").capacitance_ff + 0.5 * v2 * CELL.pin("D").capacitance_ff + 0.5 * v2 * load
    assert spent.switching_fj == pytest.approx(nets)
    assert spent.load_of_instance_fj.sum() == pytest.approx(0.5 * v2 * load)


def test_gates_alone_cost_what_the_combinational_flow_says():
    text = ".model g\n.inputs a b\n.outputs y\n.gate NAND2xp33_ASAP7_75t_R A=a B=b Y=y\n.end\n"
    netlist = parse_blif(text, LIBRARY)

    class Gate(Bit):
        inputs = {"a": 1, "b": 1}  # type: ignore[assignment]
        registers: Mapping[str, Register] = {}  # type: ignore[assignment]
        settling = 0  # type: ignore[assignment]

        def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"y": ~(values["a"] & values["b"])}

    one = clocked_energy(netlist, LIBRARY, toggling_streams(Gate(), 0.3))
    other = energy(netlist, LIBRARY, toggling({"a": 1, "b": 1}, 0.3))
    assert one.dynamic_fj == pytest.approx(other.dynamic_fj, rel=0.05) and one.clock_fj == 0


def test_streams_that_do_not_fit():
    with pytest.raises(NetlistError, match="2 cycles, 1 of them to settle, and 64 lanes: expected two cycles"):
        clocked_energy(ONE, LIBRARY, streams([1, 1]))
    with pytest.raises(ValueError, match=r"expected \[cycles, lanes\] for x"):
        recorded_streams(Bit(), "none", {"y": np.zeros((4, 64), dtype=int)})
    with pytest.raises(ValueError, match="an input toggle rate is 0 to 1 per cycle, not 2"):
        toggling_streams(Bit(), 2)


def test_a_late_input_meets_a_low_clock():
    """Behind a long chain of inverters the data pin settles after the clock has fallen."""
    gates = "".join(f".gate INVxp33_ASAP7_75t_R A=n{k} Y=n{k + 1}\n" for k in range(8)).replace("=n0", "=x")
    text = f".model l\n.inputs clk x\n.outputs y\n{gates}.gate {CELL.name} D=n8 CLK=clk QN=y\n.end\n"
    netlist = parse_blif(text, LIBRARY)
    spent = clocked_energy(netlist, LIBRARY, streams([0, 1] * 8), output_load_ff=2.0)
    timing = analyze(netlist, LIBRARY, 2.0)
    assert timing.arrival_ps["n8"]["rise"] > timing.delay_ps / 2
    place = next(k for k, i in enumerate(netlist.instances) if i.cell == CELL.name)
    # the falling edge sees what the rising edge took on
    clock = own("CLK", "(D * QN)", "rise") + own("CLK", "(D * !QN)", "fall")
    clock += own("CLK", "(!D * !QN)", "rise") + own("CLK", "(!D * QN)", "fall")
    data = sum(own("D", "!CLK", edge, timing.slew_ps["n8"][edge]) for edge in ("rise", "fall"))
    (power,) = CELL.pin("QN").powers
    assert power.rise is not None and power.fall is not None
    output = power.rise.point(0.0, 2.0) + power.fall.point(0.0, 2.0) + LIBRARY.voltage**2 * 2.0
    assert spent.of_instance_fj[place] == pytest.approx((clock + data + output) / 2)
