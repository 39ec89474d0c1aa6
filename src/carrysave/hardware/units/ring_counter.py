"""SYQ's ring counter of scaling factors (simplification thesis, Figure 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.bits import all_bits, fit
from carrysave.hardware.units.base import UNITS, Register, Unit


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class RingCounter(Unit):
    """A ring of scales and the counter that turns it: each scale stands for `dwell` steps, then comes the next one.

    Pixel-wise scales of a K x K kernel make a ring of K^2, row-wise ones of K; after `count` times `dwell` steps the
    first one is back. Ports: `go`: a step is taken with the scale that stands at `scale`; `load`: `data` is shifted in
    behind the others (`count` of them fill the ring, the first one foremost).

    Attributes:
        count: scales in the ring.
        width: bits of a scale.
        dwell: steps for which one stands.
    """

    count: int = 9
    width: int = 8
    dwell: int = 12
    name = "ring_counter"
    catalog = {"pixel-wise 3 x 3": "ring_counter", "row-wise": "ring_counter:count=3,width=4,dwell=1"}

    def check(self) -> None:
        if not (2 <= self.count <= 1024 and 1 <= self.width <= 64 and 1 <= self.dwell <= 1 << 20):
            raise ValueError(
                f"ring_counter: count={self.count}, width={self.width}, dwell={self.dwell}; 2 to 1024 scales of 1 to "
                f"64 bits, each for 1 to {1 << 20} steps"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"go": 1, "load": 1, "data": self.width}

    @property
    def registers(self) -> Mapping[str, Register]:
        ring = {f"scale{k}": Register(self.width, reset=0) for k in range(self.count)}
        return ring | ({"index": Register((self.dwell - 1).bit_length(), reset=0)} if self.dwell > 1 else {})

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        go, load = values["go"], values["load"]
        ring = [values[f"scale{k}"] for k in range(self.count)]
        following, turn = {}, go
        if self.dwell > 1:
            following["index"], over = counted(values["index"], go, self.dwell)
            turn = go & over
        behind = [*ring[1:], load.mux(values["data"], ring[0])]
        for k, (scale, after) in enumerate(zip(ring, behind, strict=True)):
            following[f"scale{k}"] = (turn | load).mux(after, scale)
        return {"scale": ring[0], **following}


def counted(counter: Any, go: Any, count: int) -> tuple[Any, Any]:
    """The next value of a counter from 0 to count - 1, and whether it stands at its last one."""
    over = all_bits(~(counter ^ counter.const(count - 1, counter.width)))
    following = over.mux(counter.const(0, counter.width), fit(counter + counter.const(1, 1), counter.width))
    return go.mux(following, counter), over


def bits_of(count: int) -> int:
    """Bits of a counter from 0 to count - 1, at least one."""
    return max(1, (count - 1).bit_length())
