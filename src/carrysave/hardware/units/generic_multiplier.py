"""Multipliers of two variables as FPGAs build them: what the reconfigurable ones are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from carrysave.bits import Word, cat, fit, rep, sext, zext
from carrysave.hardware.units.base import UNITS, Unit

if TYPE_CHECKING:
    from carrysave.hardware.rtl import Circuit


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class GenericMultiplier(Unit):
    """An unsigned activation of n bits times a two's complement weight of m, exactly.

    Forms:
        pairs: two rows of partial products to an adder (their AND gates fit its LUTs), then a tree: m - 1 adders.
        booth: one adder per radix-4 Booth digit of the weight, its selection in the adder's LUTs: six inputs a bit
            (Kumm, Abbas and Zipf, "An efficient softcore multiplier architecture for Xilinx FPGAs", ARITH 2015).
        native: the `*` of RTL, left to the synthesiser.

    Attributes:
        n: bits of the activation `x`.
        m: bits of the weight `w`, even.
        form: pairs, booth or native.
    """

    n: int = 8
    m: int = 8
    form: Literal["pairs", "booth", "native"] = "pairs"
    name = "generic_multiplier"
    catalog = {
        "pairs of rows": "generic_multiplier",
        "Booth rows": "generic_multiplier:form=booth",
        "native": "generic_multiplier:form=native",
    }

    def check(self) -> None:
        if not (2 <= self.n <= 32 and 4 <= self.m <= 32 and self.m % 2 == 0):
            raise ValueError(f"generic_multiplier: n={self.n}, m={self.m}; n is 2 to 32, m 4 to 32 and even")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "w": self.m}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        make = self._booth if self.form == "booth" else self._pairs
        return {"y": make(values["x"], values["w"])}

    def circuit(self, name: str | None = None) -> Circuit:
        if self.form != "native":
            return super().circuit(name)
        from amaranth.hdl import Module, Signal

        from carrysave.hardware.rtl import Circuit, module_name

        module = Module()
        x, w, y = (Signal(bits, name=port) for port, bits in (("x", self.n), ("w", self.m), ("y", self.n + self.m)))
        module.d.comb += y.eq(x * w.as_signed())
        return Circuit(name or module_name(self.spec), module, (x, w, y))

    def _pairs(self, x: Word, w: Word) -> Any:
        """Sums of two rows each, (w[i] + 2 w[i+1]) x, then a binary tree; the top row counts negatively."""
        rows = []
        for i in range(0, self.m, 2):
            low, high = zext(rep(w[i], self.n) & x, self.n + 2), zext((rep(w[i + 1], self.n) & x) << 1, self.n + 2)
            top = i + 2 == self.m
            minus = x.const(int(top), 1)
            rows.append((_sum(low, ~high if top else high, minus), i, top))
        while len(rows) > 1:
            rows = [_added(rows[k], rows[k + 1]) if k + 1 < len(rows) else rows[k] for k in range(0, len(rows), 2)]
        return fit(rows[0][0], self.n + self.m)

    def _booth(self, x: Word, w: Word) -> Any:
        """Digit by digit from the lowest, two bits of the product done in each step."""
        width, one, done = self.n + 3, zext(x, self.n + 3), []
        total = x.const(0, width)
        for i in range(0, self.m, 2):
            before = w[i - 1] if i else w.const(0, 1)
            single = w[i] ^ before
            double = (w[i + 1] & ~w[i] & ~before) | (~w[i + 1] & w[i] & before)
            negative = w[i + 1]
            chosen = (rep(single, width) & one) | (rep(double, width) & fit(one << 1, width))
            row = chosen ^ rep(negative, width)
            total = _sum(total, row, negative)
            if i + 2 < self.m:
                done.append(total[:2])
                total = sext(total[2:], width)
        return fit(cat(*done, total), self.n + self.m)


def _added(one: tuple[Any, int, bool], other: tuple[Any, int, bool]) -> tuple[Any, int, bool]:
    """Two rows at their shifts, the lower bits of the first passed by; (sum, shift, whether it is signed)."""
    (low, shift, _), (high, above, signed) = one, other
    step = above - shift
    width = high.width + 1
    upper = low[step:]
    left = zext(upper, max(width, upper.width))
    right = sext(high, left.width) if signed else zext(high, left.width)
    return cat(low[:step], _sum(left, right, left.const(0, 1))), shift, signed


def _sum(a: Word, b: Word, carry: Word) -> Any:
    """a + b + carry of two words of one width, modulo; a bit below the lowest makes the carry.

    With that bit the sum is one adder in the eyes of a synthesiser, which would merge it with the next one else, and
    spend two levels of LUTs on three addends.
    """
    return fit(cat(carry, a) + cat(carry, b), a.width + 1)[1:]
