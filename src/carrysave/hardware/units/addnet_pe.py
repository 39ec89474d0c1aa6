"""The processing element of AddNet's layer core (simplification thesis, 6.6.2): multipliers, an accumulator, a ReLU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from carrysave.bits import Word, fit, rep, sext
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.generic_multiplier import GenericMultiplier, sum_of
from carrysave.hardware.units.rccm import Rccm

ADDERS = ("2add", "3add", "4add")


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class AddNetPe(Unit):
    """`p` products of features and weights in a cycle, added up, cut at zero and handed on.

    Ports: `x`, p features, unsigned, the first lowest; `w`, p weights, one cycle later, as a memory answers; `go`: the
    products in the registers behind the multipliers are added, to nothing where `first` is 1; `take`: the sum, 0 if it
    is negative, goes into the output register, which else takes what is at `chain`; `y` is that register.

    Attributes:
        multiplier: 2add, 3add, 4add; or 8-bit weights and pairs, booth, native: the forms of `GenericMultiplier`.
        p: products in a cycle.
        n: bits of a feature.
        accumulator: bits of the sum, in two's complement; the thesis gives none. 28 holds 4096 products of 8 by 8 bits.
        pipelined: whether each level of a reconfigurable multiplier has registers.
    """

    multiplier: Literal["2add", "3add", "4add", "pairs", "booth", "native"] = "2add"
    p: int = 1
    n: int = 8
    accumulator: int = 28
    pipelined: bool = False
    name = "addnet_pe"
    catalog = {
        "2-Add, 2 products, pipelined": "addnet_pe:p=2,n=3,accumulator=14,pipelined=true",
        "8 bit": "addnet_pe:multiplier=booth,n=4,accumulator=18",
    }

    def check(self) -> None:
        if not 1 <= self.p <= 64:
            raise ValueError(f"addnet_pe: p={self.p}; 1 to 64 products in a cycle")
        if self.pipelined and self.multiplier not in ADDERS:
            raise ValueError(f"addnet_pe: pipelined with multiplier={self.multiplier}; only {', '.join(ADDERS)} can be")
        least = self.product_bits + (self.p - 1).bit_length()
        if not least <= self.accumulator <= 48:
            raise ValueError(f"addnet_pe: accumulator={self.accumulator}; the sum of a cycle's products takes {least} "
                             "bits, at most are 48")  # fmt: skip

    @cached_property
    def of(self) -> Rccm | GenericMultiplier:
        """The multiplier."""
        if self.multiplier in ADDERS:
            return Rccm(kind=self.multiplier, n=self.n, pipelined=self.pipelined)
        return GenericMultiplier(n=self.n, m=8, form=self.multiplier)  # type: ignore[arg-type]

    @property
    def weight_bits(self) -> int:
        """Bits of a weight as it is stored: 4, 6, 8 of a coefficient's index (6.6.4), or its 8."""
        return self.of.inputs["select" if self.multiplier in ADDERS else "w"]

    @cached_property
    def product_bits(self) -> int:
        return self.of.outputs["y"]

    @property
    def latency(self) -> int:
        """Cycles from `x` to `go` and `first` of its products: a register for features, one or more for products."""
        return 1 + (self.of.settling if self.pipelined else 1)

    @property
    def inputs(self) -> Mapping[str, int]:
        operands = {"x": self.p * self.n, "w": self.p * self.weight_bits}
        return operands | dict.fromkeys(("go", "first", "take"), 1) | {"chain": self.out_bits}

    @property
    def out_bits(self) -> int:
        """Bits of a sum that is not negative."""
        return self.accumulator - 1

    @property
    def registers(self) -> Mapping[str, Register]:
        inner = self.of.registers if self.pipelined else {"product": Register(self.product_bits)}
        return {
            "features": Register(self.p * self.n, 0),
            **{f"m{k}_{name}": Register(r.width, 0) for k in range(self.p) for name, r in inner.items()},
            "sum": Register(self.accumulator, 0),
            "out": Register(self.out_bits, 0),
        }

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        products, following = self._products(values)
        addend = sext(self._added(products), self.accumulator)
        before = values["first"].mux(addend.const(0, self.accumulator), values["sum"])
        total = self._sum(addend, before)
        positive = rep(~values["sum"][-1], self.out_bits) & values["sum"][: self.out_bits]
        return {
            "y": values["out"],
            **following,
            "features": values["x"],
            "sum": values["go"].mux(total, values["sum"]),
            "out": values["take"].mux(positive, values["chain"]),
        }

    def _products(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The products that arrive in this cycle, and what the registers of the multipliers take."""
        products, following = [], {}
        select = "select" if self.multiplier in ADDERS else "w"
        for k in range(self.p):
            feature = values["features"][k * self.n : (k + 1) * self.n]
            weight = values["w"][k * self.weight_bits : (k + 1) * self.weight_bits]
            held = {name: values[f"m{k}_{name}"] for name in self.of.registers}
            found = dict(self.of.logic({"x": feature, select: weight, **held}))
            if not self.pipelined:
                found = {"product": found["y"], "y": values[f"m{k}_product"]}
            products.append(found.pop("y"))
            following |= {f"m{k}_{name}": word for name, word in found.items()}
        return products, following

    def _added(self, products: Sequence[Any]) -> Any:
        level = list(products)
        while len(level) > 1:
            width = level[0].width + 1
            sums = [self._sum(sext(a, width), sext(b, width)) for a, b in zip(level[::2], level[1::2], strict=False)]
            level = sums + [sext(word, width) for word in level[2 * len(sums) :]]
        return level[0]

    def _sum(self, a: Word, b: Word) -> Any:
        """A sum modulo. A plain `+` can join the `*` of a native product in a DSP block."""
        return fit(a + b, a.width) if self.multiplier == "native" else sum_of(a, b, a.const(0, 1))
