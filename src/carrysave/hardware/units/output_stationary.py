"""An output-stationary systolic array: HEAM's module SA as its authors published it later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrysave.bits import add, cat, fit, rep, zext
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.products import Delay, unsigned_multiplier
from carrysave.multipliers import Multiplier


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class AccumulatingPe(Unit):
    """An element that multiplies what passes from the left and from above, and adds it up, all in one cycle.

    `start` comes with the first pair of a sum and goes on to the right with `x`; the sum before it moves to a buffer,
    and from there at `show` to the output `result`. Everything is taken into registers first.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas.
        sum_bits: of the sum, which is taken modulo, of the buffer and of the result.
    """

    multiplier: str = "exact"
    sum_bits: int = 32
    name = "accumulating_pe"
    catalog = {"of three bits": "accumulating_pe:multiplier=exact:n=3,sum_bits=7"}

    def check(self) -> None:
        if self.sum_bits < self.of.product_bits:
            raise ValueError(
                f"accumulating_pe: sum_bits={self.sum_bits}; a product of {self.of.spec} has {self.of.product_bits}"
            )

    @property
    def of(self) -> Multiplier:
        """The multiplier."""
        return unsigned_multiplier(self.name, self.multiplier)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.of.a_bits, "y": self.of.b_bits, "start": 1, "show": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        m = self.of
        sums = {name: Register(self.sum_bits, 0) for name in ("total", "buffer", "shown")}
        marks = {"held_start": Register(1, 0), "held_show": Register(1, 0)}
        return {"held_x": Register(m.a_bits, 0), "held_y": Register(m.b_bits, 0), **marks, **sums}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        start, total, buffer = values["held_start"], values["total"], values["buffer"]
        product = zext(self.of(values["held_x"], values["held_y"]), self.sum_bits)
        return {
            "right": values["held_x"],
            "down": values["held_y"],
            "right_start": start,
            "result": values["shown"],
            "held_x": values["x"],
            "held_y": values["y"],
            "held_start": values["start"],
            "held_show": values["show"],
            "total": fit(add(total & rep(~start, self.sum_bits), product), self.sum_bits),
            "buffer": start.mux(total, buffer),
            "shown": values["held_show"].mux(buffer, values["shown"]),
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class OutputStationaryArray(Assembly):
    """A matrix product whose sums stay: rows of one factor flow to the right, columns of the other down.

    The module SA of HEAM's Table III as Zheng, Li et al. published it with a later paper (github.com/phyzhenli/AM,
    accelerators/SA): no register between multiplier and sum, 32-bit sums, buffers and results. Theirs has one more
    buffer where an element is within two steps of the first; the mark goes along rows and columns there, along the
    rows here. The paper itself shows no circuit.

    Ports: `x0`, ... (one of each row) and `y0`, ... (one of each column), with `start` for the first pair of each sum;
    registers at the edges delay row i by i and column j by j cycles. r_i_j is the sum over the pairs from one `start`
    to the next; all results of a product change together, `rows + columns + 2` cycles after that. Sums have at least
    `rows + columns` terms: so long the first results wait for the last in their one buffer.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; x are its a.
        rows, columns: of the array.
        sum_bits: of each sum.
    """

    multiplier: str = "exact"
    rows: int = 16
    columns: int = 16
    sum_bits: int = 32
    name = "output_stationary_array"
    catalog = {
        "2x2 of three bits": "output_stationary_array:multiplier=exact:n=3,rows=2,columns=2,sum_bits=8",
    }

    def check(self) -> None:
        if not (2 <= self.rows <= 64 and 2 <= self.columns <= 64):
            raise ValueError(f"output_stationary_array: {self.rows} rows, {self.columns} columns; each is 2 to 64")
        self.pe.check()

    @cached_property
    def pe(self) -> AccumulatingPe:
        return AccumulatingPe(multiplier=self.multiplier, sum_bits=self.sum_bits)

    @property
    def inputs(self) -> Mapping[str, int]:
        m = self.pe.of
        first = {f"x{i}": m.a_bits for i in range(self.rows)}
        return {**first, **{f"y{j}": m.b_bits for j in range(self.columns)}, "start": 1}

    @property
    def parts(self) -> Mapping[str, Unit]:
        pe = self.pe
        along, down = Delay(n=pe.of.a_bits + 1), Delay(n=pe.of.b_bits)
        found: dict[str, Unit] = {f"skew_x{i}_{k}": along for i in range(self.rows) for k in range(i)}
        found |= {f"skew_y{j}_{k}": down for j in range(self.columns) for k in range(j)}
        return found | {f"pe{i}_{j}": pe for i in range(self.rows) for j in range(self.columns)}

    @property
    def own_registers(self) -> Mapping[str, Register]:
        return {"show": Register(1, 0)}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        columns, results, start = [], {}, values["start"]
        for j in range(self.columns):
            word = values[f"y{j}"]
            for k in range(j):
                word = place(f"skew_y{j}_{k}", x=word)["y"]
            columns.append(word)
        for i in range(self.rows):
            marked = cat(values["start"], values[f"x{i}"])
            for k in range(i):
                marked = place(f"skew_x{i}_{k}", x=marked)["y"]
            start, x = marked[0], marked[1:]
            for j in range(self.columns):
                pe = place(f"pe{i}_{j}", x=x, y=columns[j], start=start, show=values["show"])
                x, columns[j], start = (pe[port] for port in ("right", "down", "right_start"))
                results[f"r{i}_{j}"] = pe["result"]
        return {**results, "show": start}
