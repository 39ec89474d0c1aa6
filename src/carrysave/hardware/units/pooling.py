"""The pooling unit of a streaming accelerator (simplification thesis, Figure 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.bits import all_bits, cat
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.ring_counter import bits_of, counted


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class MaxPool(Unit):
    """The greatest of the pixels of a window, in each of `lanes` channels, as they come from a sliding-window unit.

    Ports: `x`, the activations of a pixel side by side, unsigned, where `valid` is 1; `y`, the greatest ones of a
    window, where `done` is 1, one cycle after its last pixel.

    Attributes:
        lanes: channels.
        a: bits of an activation.
        taps: pixels of a window.
    """

    lanes: int = 2
    a: int = 2
    taps: int = 4
    name = "max_pool"
    catalog = {"2 x 2": "max_pool"}

    def check(self) -> None:
        if not (1 <= self.lanes <= 1024 and 1 <= self.a <= 16 and 2 <= self.taps <= 1024):
            raise ValueError(
                f"max_pool: lanes={self.lanes}, a={self.a}, taps={self.taps}; 1 to 1024 lanes of 1 to 16 bits, windows "
                "of 2 to 1024 pixels"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.lanes * self.a, "valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        widths = {"best": self.lanes * self.a, "seen": bits_of(self.taps), "complete": 1}
        return {name: Register(width, reset=0) for name, width in widths.items()}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        x, valid, best = values["x"], values["valid"], values["best"]
        seen, last = counted(values["seen"], valid, self.taps)
        first = all_bits(~values["seen"])
        lanes = [(x[k : k + self.a], best[k : k + self.a]) for k in range(0, x.width, self.a)]
        greater = cat(*[(first | _greater(u, v)).mux(u, v) for u, v in lanes])
        return {
            "y": best,
            "done": values["complete"],
            "best": valid.mux(greater, best),
            "seen": seen,
            "complete": valid & last,
        }


def _greater(u: Any, v: Any) -> Any:
    """u > v, unsigned: from the lowest bit up, a higher one overrules."""
    found = u[0] & ~v[0]
    for one, other in list(zip(u, v, strict=True))[1:]:
        found = (one & ~other) | (~(one ^ other) & found)
    return found
