"""Glitches against a slow simulation: one vector at a time, one step at a time, plain integers."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware import glitches
from carrysave.hardware.activity import Vectors, toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.netlist import Netlist, simulate
from carrysave.hardware.power import energy
from carrysave.hardware.synthesis import synthesize
from carrysave.hardware.timing import Timing, analyze
from carrysave.multipliers import MULTIPLIERS

LIBRARY = compact_library()


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return synthesize(MULTIPLIERS.parse("exact:n=3"), LIBRARY, ["fast"]).smallest.netlist


def delay_steps(inputs: list[str], net: str, timing: Timing) -> int:
    late = max(timing.arrival_ps[source][edge] for source in inputs for edge in ("rise", "fall"))
    mean = sum(timing.arrival_ps[net].values()) / 2 - late
    return max(1, round(mean / glitches.STEP_PS))


def slowly(netlist: Netlist, timing: Timing, vectors: Vectors) -> dict[str, np.ndarray]:
    """Toggles [vectors] of each net: an output takes a new value once its gate has asked for it `delay` steps long."""
    gates = []  # (its table by the inputs' bits, input nets, output net, delay); no wires or constants in this netlist
    for instance in netlist.instances:
        nets, (pin, out) = [net for _, net in instance.inputs], instance.outputs[0]
        codes = np.arange(1 << len(nets), dtype=np.uint64)
        pins = {name: codes >> np.uint64(k) & np.uint64(1) for k, (name, _) in enumerate(instance.inputs)}
        table = evaluate(parse_function(LIBRARY[instance.cell].pin(pin).function or ""), pins, np.ones_like(codes))
        gates.append(([int(v) & 1 for v in table], nets, out, delay_steps(nets, out, timing)))
    before, after = (simulate(netlist, LIBRARY, vectors.planes(netlist, which)) for which in ("before", "after"))
    toggles = {net: np.zeros(vectors.count, dtype=int) for net in before}
    for v in range(vectors.count):
        start, end = ({net: int(p[v // 64]) >> v % 64 & 1 for net, p in state.items()} for state in (before, after))
        now = {net: end[net] if net in netlist.inputs else start[net] for net in start}
        for net in netlist.inputs:
            toggles[net][v] += start[net] != end[net]
        asked = dict.fromkeys(start, 0)  # for how many steps another value than the present one
        for _ in range(int(timing.delay_ps)):
            seen = dict(now)
            for table, nets, net, delay in gates:
                wanted = table[sum(seen[source] << k for k, source in enumerate(nets))]
                asked[net] = asked[net] + 1 if wanted != seen[net] else 0
                if asked[net] == delay:
                    now[net], asked[net] = wanted, 0
                    toggles[net][v] += 1
            if now == seen and not any(asked.values()):
                break
        assert now == end
    return toggles


def test_every_toggle_is_that_of_a_slow_simulation(netlist: Netlist, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = analyze(netlist, LIBRARY, 8.6)
    vectors = toggling({"a": 3, "b": 3}, 0.5, 70)  # two words, of which the last holds six vectors
    want = slowly(netlist, timing, vectors)
    before, after = (simulate(netlist, LIBRARY, vectors.planes(netlist, which)) for which in ("before", "after"))
    functional = {net: np.unpackbits((before[net] ^ after[net]).view(np.uint8), bitorder="little")[:70] for net in want}
    for words in (8, 1):  # all at once, and in two parts
        monkeypatch.setattr(glitches, "_WORDS", words)
        got = glitches.toggles_in_time(netlist, LIBRARY, timing, vectors, before, after)
        assert all(np.array_equal(got[net], want[net]) for net in netlist.inputs)
        assert all(np.array_equal(got[net], want[net]) for _, net in (o for i in netlist.instances for o in i.outputs))
    extra = sum(int((want[net] - functional[net]).sum()) for net in want)
    assert extra > 20 and all((want[net] >= functional[net]).all() for net in want)


def test_the_energy_of_glitches_is_that_of_the_toggles(netlist: Netlist) -> None:
    vectors = toggling({"a": 3, "b": 3}, 0.5, 70)
    quiet, timed = (energy(netlist, LIBRARY, vectors, glitches=counted) for counted in (False, True))
    timing = analyze(netlist, LIBRARY, 8.6)
    toggles = slowly(netlist, timing, vectors)
    swing = sum(0.5 * LIBRARY.voltage**2 * timing.load_ff[net] * toggles[net].mean() for net in toggles)
    assert timed.switching_fj == pytest.approx(swing) and quiet.switching_fj < timed.switching_fj
