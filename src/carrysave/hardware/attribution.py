"""Where a multiplier's area and energy go: its terms, their reduction to two rows, and the final adder.

A mapper restructures logic, so gates carry no names of the parts they came from. But many nets of the mapped netlist
still compute, for every input, what some wire of the definition computes, or its complement. The definition is run on
random operands with every intermediate bit labelled by the stage that made it; a mapped net with the same values has
that stage, and a gate between such nets takes the stage of what it feeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carrysave.bits import STAGES, current_stage
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import Netlist, sample_pairs, simulate
from carrysave.multipliers.base import Multiplier
from carrysave.planes import PlaneWord

_PAIRS = 4096  # two different functions agree on all of them only if they differ almost nowhere


@dataclass(frozen=True)
class Shares:
    """Area [um2] and, where given, energy [fJ] by stage; `matched` is the share of nets that were recognised
    directly."""

    area_um2: Mapping[str, float]
    energy_fj: Mapping[str, float] | None
    matched: float


class _Labelled(PlaneWord):
    """A PlaneWord that enters every value it makes into `seen`, under the stage at work; the first stage keeps it."""

    def __init__(self, planes: NDArray[np.uint64], lanes: int, seen: dict[bytes, str]):
        super().__init__(planes, lanes)
        self.seen = seen

    def _like(self, planes: NDArray[np.uint64]) -> _Labelled:
        for plane in planes:
            self.seen.setdefault(plane.tobytes(), current_stage())
        return _Labelled(planes, self.lanes, self.seen)


def stages(netlist: Netlist, library: Library, m: Multiplier, seed: int = 0) -> tuple[list[str], float]:
    """(the stage of every instance of a netlist of `m`, the share of them whose output net was recognised)."""
    a, b = sample_pairs(m, _PAIRS, seed)
    a, b = a[: a.size // 64 * 64], b[: b.size // 64 * 64]  # whole words: no stray bits in the signatures
    seen: dict[bytes, str] = {}
    words = {port: PlaneWord.from_ints(values, bits) for port, values, bits in (("a", a, m.a_bits), ("b", b, m.b_bits))}
    m(*[_Labelled(word.planes, word.lanes, seen) for word in words.values()])
    inputs = {f"{port}[{i}]": word.planes[i] for port, word in words.items() for i in range(word.width)}
    nets = simulate(netlist, library, inputs)
    found = [_lookup([nets[net] for _, net in instance.outputs], seen) for instance in netlist.instances]
    matched = sum(stage is not None for stage in found) / max(1, len(found))
    loads = netlist.loads()
    place = {id(instance): k for k, instance in enumerate(netlist.instances)}
    for k in range(len(found) - 1, -1, -1):  # what a gate feeds is known before the gate
        if found[k] is None:
            fed = [found[place[id(sink)]] for _, net in netlist.instances[k].outputs for sink, _ in loads.get(net, [])]
            known = [stage for stage in fed if stage is not None]
            found[k] = min(known, key=STAGES.index) if known else STAGES[-1]
    return [str(stage) for stage in found], matched


def shares(
    netlist: Netlist, library: Library, m: Multiplier, of_instance_fj: NDArray[np.float64] | None = None
) -> Shares:
    """Area and energy of a netlist of `m` by stage."""
    labels, matched = stages(netlist, library, m)
    area, spent = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
    for k, (stage, instance) in enumerate(zip(labels, netlist.instances, strict=True)):
        if instance.cell in library.cells:
            area[stage] += library[instance.cell].area_um2
        if of_instance_fj is not None:
            spent[stage] += float(of_instance_fj[k])
    return Shares(area, None if of_instance_fj is None else spent, matched)


def _lookup(planes: list[NDArray[np.uint64]], seen: Mapping[bytes, str]) -> str | None:
    for plane in planes:
        stage = seen.get(plane.tobytes()) or seen.get((~plane).tobytes())
        if stage is not None:
            return stage
    return None
