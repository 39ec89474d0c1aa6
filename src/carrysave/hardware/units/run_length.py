"""The run-length decompressor of sparse ternary weights (simplification thesis, 3.4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.bits import all_bits, any_bit, fit
from carrysave.hardware.units.base import UNITS, Register, Unit


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class RunLength(Unit):
    """A counter that walks through run-length coded ternary weights: one weight and its input's address per cycle.

    A word of the weight memory is a sign bit (top) and a run of `run_bits`: how many zero weights come before this one.
    The weight that comes out is the complement of the sign bit, as in the thesis: 1 for +1, 0 for -1. The run of all
    ones is an escape: as many zeros, and no weight. The thesis gives no widths; it reports 112 LUT from Vivado HLS,
    which counts in 32 bits unless told otherwise.

    Ports: with `start` at 1 the walk begins; the memory answers the address `read` one cycle later on `word`. `weight`,
    `address` hold where `valid` is 1; `done` is 1 once all `count` words are read.

    Attributes:
        run_bits: bits of a run.
        address_bits: of the addresses and of the count of words.
    """

    run_bits: int = 7
    address_bits: int = 32
    name = "run_length"
    catalog = {"decompressor": "run_length"}

    def check(self) -> None:
        if not 1 <= self.run_bits <= self.address_bits <= 48:
            raise ValueError(
                f"run_length: run_bits={self.run_bits}, address_bits={self.address_bits}; a run has 1 bit or more, "
                "an address at least as many, at most 48"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"start": 1, "count": self.address_bits, "word": self.run_bits + 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        width = self.address_bits
        return {
            "reading": Register(1, 0),  # words are still asked for
            "arriving": Register(1, 0),  # the memory answers in this cycle
            "left": Register(width, 0),
            "place": Register(width, 0),
            "position": Register(width, 0),
        }

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        start, word, width = values["start"], values["word"], self.address_bits
        reading, arriving = values["reading"], values["arriving"]
        run, sign = word[: self.run_bits], word[self.run_bits]
        one, zero = start.const(1, width), start.const(0, width)
        last = ~any_bit(values["left"])
        address = fit(values["position"] + run, width)
        escape = all_bits(run)
        following = escape.mux(address, fit(address + one, width))
        asked = reading & ~last
        return {
            "read": values["place"],
            "weight": ~sign,
            "address": address,
            "valid": arriving & ~escape,
            "done": ~reading & ~arriving,
            "reading": start | asked,
            "arriving": asked & ~start,
            "left": start.mux(values["count"], asked.mux(values["left"] - one, values["left"])),
            "place": start.mux(zero, asked.mux(fit(values["place"] + one, width), values["place"])),
            "position": start.mux(zero, arriving.mux(following, values["position"])),
        }
