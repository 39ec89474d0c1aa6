"""Weight blocks, the first stage of the precision study's neural functional unit: a word times a weight, kept.

Precision study, Figure 2: (a) floating and fixed point, (b) powers of two. Of a binary network (c) the tile merges this
stage with the next (`adder_tree.MergedTree`); its block alone is here to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.precisions import Precision, parse_precision


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class WeightBlock(Unit):
    """A word times a weight, in a register.

    Ports: `x`, `w`; `product`, one cycle later.

    Attributes:
        precision: float32, bfloat16, fixed16, power_of_two6x16, binary16 and their like, or a multiplier's spec with ;
            where it has commas.
    """

    precision: str = "fixed16"
    name = "weight_block"
    catalog = {
        "fixed 8": "weight_block:precision=fixed8",
        "power of two (6, 8)": "weight_block:precision=power_of_two6x8",
        "binary (1, 16)": "weight_block:precision=binary16",
        "DRUM, 8 bits": "weight_block:precision=drum:k=4;signed=true",
    }

    def check(self) -> None:
        parse_precision(self.precision)

    @property
    def of(self) -> Precision:
        """What the words are."""
        return parse_precision(self.precision)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.of.word_bits, "w": self.of.weight_bits}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(self.of.product_bits)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"product": values["kept"], "kept": self.of.product(values["x"], values["w"])}
