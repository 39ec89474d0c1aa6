"""A weight-stationary systolic array, as in Google's TPU (HEAM's module SA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrysave.bits import add, cat, fit, zext
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.products import Delay, sum_bits, unsigned_multiplier
from carrysave.multipliers import Multiplier


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class SystolicPe(Unit):
    """An element: its weight times the activation that passes, added to the sum that passes.

    The activation `x` goes on to the right a cycle later, with two marks: `swap`, at which the weight that waits takes
    effect, for this activation already, and `load`, at which the waiting weights move down by one. Registers stand
    before and behind the multiplier: the sum `sum + x * weight` leaves three cycles after its `x` came.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas.
        sum_bits: of the sum, which is taken modulo.
    """

    multiplier: str = "exact"
    sum_bits: int = 20
    name = "systolic_pe"
    catalog = {"of three bits": "systolic_pe:multiplier=exact:n=3,sum_bits=7"}

    def check(self) -> None:
        if self.sum_bits < self.of.product_bits:
            raise ValueError(
                f"systolic_pe: sum_bits={self.sum_bits}; a product of {self.of.spec} has {self.of.product_bits}"
            )

    @property
    def of(self) -> Multiplier:
        """The multiplier."""
        return unsigned_multiplier(self.name, self.multiplier)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.of.a_bits, "swap": 1, "load": 1, "weight": self.of.b_bits, "sum": self.sum_bits}

    @property
    def registers(self) -> Mapping[str, Register]:
        m = self.of
        return {
            "held_x": Register(m.a_bits),
            "held_swap": Register(1, 0),
            "held_load": Register(1, 0),
            "waiting": Register(m.b_bits, 0),
            "active": Register(m.b_bits, 0),
            "product": Register(m.product_bits),
            "total": Register(self.sum_bits),
        }

    @property
    def settling(self) -> int:
        return 3

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        waiting, active = values["waiting"], values["active"]
        return {
            "right": values["held_x"],
            "right_swap": values["held_swap"],
            "right_load": values["held_load"],
            "down": waiting,
            "below": values["total"],
            "held_x": values["x"],
            "held_swap": values["swap"],
            "held_load": values["load"],
            "waiting": values["load"].mux(values["weight"], waiting),
            "active": values["swap"].mux(waiting, active),
            "product": self.of(values["held_x"], active),
            "total": fit(add(values["sum"], zext(values["product"], self.sum_bits)), self.sum_bits),
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class SystolicArray(Assembly):
    """A matrix of weights that stay, activations that flow along the rows, sums that flow down the columns.

    y_j = sum over the rows i of x_i * w_ij, a vector x per cycle. Operands and products are unsigned, such as affine
    codes; what zero points make of them is corrected outside.

    Ports: `x0`, `x1`, ... of one vector in one cycle: registers at the edge delay row i by i cycles. `y0`, `y1`, ...:
    column j of a vector comes out `rows + 2 + j` cycles after it went in. Weights are double-buffered: `load` and one
    row of weights `w0`, `w1`, ..., the last row first, for `rows` cycles in a row; a vector that comes with `swap` is
    the first with them. A `swap` may come with, or any time after, the cycle that follows the last `load`; the next
    `load` at least `rows` cycles after it, as the mark takes so long to the last row.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; activations are its a.
        rows, columns: of the array.
        sum_bits: of a sum, which is taken modulo; 0 for those that the rows need.
    """

    multiplier: str = "exact"
    rows: int = 16
    columns: int = 16
    sum_bits: int = 0
    name = "systolic_array"
    catalog = {"2x2 of three bits": "systolic_array:multiplier=exact:n=3,rows=2,columns=2"}

    def check(self) -> None:
        self.pe.check()
        if not (2 <= self.rows <= 64 and 2 <= self.columns <= 64):
            raise ValueError(f"systolic_array: {self.rows} rows, {self.columns} columns; each is 2 to 64")

    @cached_property
    def pe(self) -> SystolicPe:
        m = unsigned_multiplier(self.name, self.multiplier)
        return SystolicPe(multiplier=self.multiplier, sum_bits=self.sum_bits or sum_bits(m, self.rows))

    @property
    def inputs(self) -> Mapping[str, int]:
        m = self.pe.of
        activations = {f"x{i}": m.a_bits for i in range(self.rows)}
        return {**activations, "swap": 1, "load": 1, **{f"w{j}": m.b_bits for j in range(self.columns)}}

    @property
    def parts(self) -> Mapping[str, Unit]:
        pe = self.pe
        along, down = Delay(n=pe.of.a_bits + 1), Delay(n=pe.of.b_bits)
        found: dict[str, Unit] = {f"skew_x{i}_{k}": along for i in range(self.rows) for k in range(i)}
        found |= {f"skew_w{j}_{k}": down for j in range(self.columns) for k in range(j)}
        return found | {f"pe{i}_{j}": pe for i in range(self.rows) for j in range(self.columns)}

    @property
    def settling(self) -> int:
        return 2 * self.rows + self.columns + 3

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        zero = values["swap"].const(0, self.pe.sum_bits)
        weights, sums = [], [zero] * self.columns
        for j in range(self.columns):
            word = values[f"w{j}"]
            for k in range(j):
                word = place(f"skew_w{j}_{k}", x=word)["y"]
            weights.append(word)
        for i in range(self.rows):
            marked = cat(values["swap"], values[f"x{i}"])
            for k in range(i):
                marked = place(f"skew_x{i}_{k}", x=marked)["y"]
            swap, x, load = marked[0], marked[1:], values["load"]
            for j in range(self.columns):
                pe = place(f"pe{i}_{j}", x=x, swap=swap, load=load, weight=weights[j], sum=sums[j])
                x, swap, load, weights[j], sums[j] = (
                    pe[port] for port in ("right", "right_swap", "right_load", "down", "below")
                )
        return {f"y{j}": word for j, word in enumerate(sums)}
