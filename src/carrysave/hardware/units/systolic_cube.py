"""A systolic cube: planes of elements that convolve one window each with one kernel per plane (HEAM's module SC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrysave.bits import add, cat, fit, rep, zext
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.products import Delay, sum_bits, unsigned_multiplier
from carrysave.multipliers import Multiplier


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class CubePe(Unit):
    """An element: multiplies the pixel and the weight that pass, and keeps its own sum.

    `start` comes with a sum's first weight and goes on with it. Where its product is added, `done` is 1 and `total` is
    the finished sum of the weights before. Registers stand before and behind the multiplier.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; pixels are its a.
        sum_bits: of the sum, which is taken modulo.
    """

    multiplier: str = "exact"
    sum_bits: int = 21
    name = "cube_pe"
    catalog = {"of three bits": "cube_pe:multiplier=exact:n=3,sum_bits=8"}

    def check(self) -> None:
        if self.sum_bits < self.of.product_bits:
            raise ValueError(
                f"cube_pe: sum_bits={self.sum_bits}; a product of {self.of.spec} has {self.of.product_bits}"
            )

    @property
    def of(self) -> Multiplier:
        """The multiplier."""
        return unsigned_multiplier(self.name, self.multiplier)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.of.a_bits, "w": self.of.b_bits, "start": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        m = self.of
        widths = {"held_x": m.a_bits, "held_w": m.b_bits, "held_start": 1, "product": m.product_bits, "first": 1}
        return {name: Register(width, 0) for name, width in {**widths, "sum": self.sum_bits}.items()}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        first, total = values["first"], values["sum"]
        kept = total & rep(~first, self.sum_bits)
        return {
            "next_x": values["held_x"],
            "next_w": values["held_w"],
            "next_start": values["held_start"],
            "done": first,
            "total": total,
            "held_x": values["x"],
            "held_w": values["w"],
            "held_start": values["start"],
            "product": self.of(values["held_x"], values["held_w"]),
            "first": values["held_start"],
            "sum": fit(add(kept, zext(values["product"], self.sum_bits)), self.sum_bits),
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Drain(Unit):
    """A register that takes a sum where `take` is 1, and otherwise hands on what its neighbour holds.

    Attributes:
        n: bits of a sum.
    """

    n: int = 21
    name = "drain"
    catalog = {"of five bits": "drain:n=5"}

    def check(self) -> None:
        if not 1 <= self.n <= 64:
            raise ValueError(f"drain: n={self.n} bits; 1 to 64")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"take": 1, "sum": self.n, "passing": self.n, "some": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"held": Register(self.n), "full": Register(1)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        take = values["take"]
        return {
            "out": values["held"],
            "valid": values["full"],
            "held": take.mux(values["sum"], values["passing"]),
            "full": take | values["some"],
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class PixelCell(Unit):
    """Holds a pixel for the elements behind it, and hands it to the left neighbour `kernel - 1` cycles later.

    It takes `head` or `tail` from outside where `fresh` is 1 (as `ahead` says), else what its right neighbour passes.

    Attributes:
        n: bits of a pixel.
        kernel: rows of the kernel.
    """

    n: int = 8
    kernel: int = 3
    name = "pixel_cell"
    catalog = {"of two bits": "pixel_cell:n=2"}

    def check(self) -> None:
        if not (1 <= self.n <= 32 and 2 <= self.kernel <= 16):
            raise ValueError(f"pixel_cell: n={self.n}, kernel={self.kernel}; 1 to 32 bits, 2 to 16 rows")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"head": self.n, "tail": self.n, "passing": self.n, "fresh": 1, "ahead": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {f"held{k}": Register(self.n) for k in range(self.kernel - 1)}

    @property
    def settling(self) -> int:
        return self.kernel - 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        outside = values["ahead"].mux(values["head"], values["tail"])
        taken = values["fresh"].mux(outside, values["passing"])
        later = {f"held{k}": values[f"held{k - 1}"] for k in range(1, self.kernel - 1)}
        return {"x": values["held0"], "left": values[f"held{self.kernel - 2}"], "held0": taken, **later}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class PixelControl(Unit):
    """Which pixel each row of the first column takes, from the marks that come with the weights of the first row.

    Ports: `turn` is 1 at the first weight of each kernel column, `fresh` throughout a kernel slice's first column. Bit
    r of `ahead` says that row r is in the kernel column of row 0, of `new` that it is in a first one.

    Attributes:
        rows: of elements.
        kernel: rows of the kernel.
    """

    rows: int = 4
    kernel: int = 3
    name = "pixel_control"
    catalog = {"four rows": "pixel_control"}

    def check(self) -> None:
        if not (2 <= self.kernel <= 16 and 2 <= self.rows <= self.kernel + 1):
            raise ValueError(
                f"pixel_control: rows={self.rows}, kernel={self.kernel}; a kernel has 2 to 16 rows, and at most "
                "one row of elements more than the kernel has meets two kernel columns at a time"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"turn": 1, "fresh": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        turns = {f"turn{k}": Register(1) for k in range(1, self.kernel)}
        return turns | {f"fresh{r}": Register(1) for r in range(1, self.rows)}

    @property
    def settling(self) -> int:
        return max(self.kernel, self.rows) - 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        turns = [values["turn"], *(values[f"turn{k}"] for k in range(1, self.kernel))]
        fresh = [values["fresh"], *(values[f"fresh{r}"] for r in range(1, self.rows))]
        ahead, some = [values["turn"].const(0, 1)] * self.rows, values["turn"].const(0, 1)
        for r in reversed(range(self.kernel)):  # row 0 is at kernel row r, so rows up to r are in its column
            some = some | turns[r]
            if r < self.rows:
                ahead[r] = some
        following = {f"turn{k}": turns[k - 1] for k in range(1, self.kernel)}
        following |= {f"fresh{r}": fresh[r - 1] for r in range(1, self.rows)}
        return {"ahead": cat(*ahead), "new": cat(*fresh), **following}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class SystolicCube(Assembly):
    """A three-dimensional array: plane p convolves with kernel p, its element (r, c) gives output row r, column c.

    out_p(r, c) = sum over slices z, kernel columns i and kernel rows j of w_p(z, i, j) * x(z, r + j, c + i).

    Weights enter a plane at element (0, 0), a weight per cycle, kernel rows counting fastest; they go right along the
    rows and down the first column, an element per cycle. A pixel goes from an element to its left neighbour, which
    needs it one kernel column later, and to the same element of the next plane; sums stay. Products and sums are
    unsigned, with the bits that the sum needs; what zero points make of them is corrected outside.

    The idea is Wang et al.'s (DAC 2019); the dataflow in a plane is that of the later published module SC of HEAM's
    authors (github.com/phyzhenli/AM, accelerators/SC: a register before and behind the multiplier, sums of 20 bits,
    3x3x3 elements, each with a shifter to 8 bits and a FIFO of 16). There all planes take pixels in the same cycle;
    here they pass through the third dimension. Sums leave whole, through a chain of registers along each row.

    Ports: `w{p}` with `start` (first weight of a sum), `turn` (of a kernel column) and `fresh` (throughout the first
    kernel column of each slice), the same for all planes; planes are skewed inside. Pixels, those of column c
    c cycles later: `head{c}` is x(z, j, c + i) for the weight of this cycle, `tail{c}` is x(z, j + kernel, c + i) for
    that of `kernel` cycles ago, which rows below are at; but for the last column they are only read in first kernel
    columns. Results: `y{p}_{r}` where `valid{p}_{r}` is
    1, columns from the left on, every second cycle.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; pixels are its a.
        planes, rows, columns: of elements.
        kernel: rows of the kernel; as many columns and slices are assumed for the width of a sum.
    """

    multiplier: str = "exact"
    planes: int = 4
    rows: int = 4
    columns: int = 4
    kernel: int = 3
    name = "systolic_cube"
    catalog = {
        "2x2x2 of two bits": "systolic_cube:multiplier=exact:n=2,planes=2,rows=2,columns=2,kernel=2",
    }

    def check(self) -> None:
        if not (1 <= self.planes <= 16 and 2 <= self.columns <= 16):
            raise ValueError(
                f"systolic_cube: planes={self.planes}, columns={self.columns}; 1 to 16 planes, 2 to 16 columns"
            )
        self.control.check()

    @cached_property
    def pe(self) -> CubePe:
        m = unsigned_multiplier(self.name, self.multiplier)
        return CubePe(multiplier=self.multiplier, sum_bits=sum_bits(m, self.kernel**3))

    @cached_property
    def control(self) -> PixelControl:
        return PixelControl(rows=self.rows, kernel=self.kernel)

    @property
    def inputs(self) -> Mapping[str, int]:
        m = self.pe.of
        pixels = {f"{kind}{c}": m.a_bits for c in range(self.columns) for kind in ("head", "tail")}
        return {**{f"w{p}": m.b_bits for p in range(self.planes)}, "start": 1, "turn": 1, "fresh": 1, **pixels}

    @property
    def parts(self) -> Mapping[str, Unit]:
        pe, squares = self.pe, [(r, c) for r in range(self.rows) for c in range(self.columns)]
        skew, marks = Delay(n=pe.of.b_bits + 1), Delay(n=2 * self.rows)
        drain, cell = Drain(n=pe.sum_bits), PixelCell(n=pe.of.a_bits, kernel=self.kernel)
        found: dict[str, Unit] = {"control": self.control}
        found |= {f"skew{p}_{k}": skew for p in range(self.planes) for k in range(p + 1)}
        found |= {f"marks{c}": marks for c in range(1, self.columns)}
        found |= {f"cell{r}_{c}": cell for r, c in squares}
        for p in range(self.planes):
            found |= {f"pe{p}_{r}_{c}": pe for r, c in squares}
            found |= {f"drain{p}_{r}_{c}": drain for r, c in squares}
        return found

    @property
    def settling(self) -> int:
        return self.planes + self.rows + 3 * self.columns + self.kernel * self.columns + 4

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        pixels = self._pixels(values, place)
        out: dict[str, Any] = {}
        for p in range(self.planes):
            token = cat(values["start"], values[f"w{p}"])
            for k in range(p + 1):  # one more than the planes before: pixels pass a cell, then the planes
                token = place(f"skew{p}_{k}", x=token)["y"]
            for r in range(self.rows):
                made, start, w = [], token[0], token[1:]
                for c in range(self.columns):
                    pe = place(f"pe{p}_{r}_{c}", x=pixels[r, c], w=w, start=start)
                    pixels[r, c], w, start = pe["next_x"], pe["next_w"], pe["next_start"]
                    made.append(pe)
                token = cat(made[0]["next_start"], made[0]["next_w"])
                zero = start.const(0, 1)
                passing, some = start.const(0, self.pe.sum_bits), zero
                for c in reversed(range(self.columns)):
                    take, total = made[c]["done"], made[c]["total"]
                    drain = place(f"drain{p}_{r}_{c}", take=take, sum=total, passing=passing, some=some)
                    passing, some = drain["out"], drain["valid"]
                out |= {f"y{p}_{r}": passing, f"valid{p}_{r}": some}
        return out

    def _pixels(self, values: Mapping[str, Any], place: Place) -> dict[tuple[int, int], Any]:
        """The pixel that each element of the first plane takes."""
        control = place("control", turn=values["turn"], fresh=values["fresh"])
        marks = [cat(control["ahead"], control["new"])]
        for c in range(1, self.columns):
            marks.append(place(f"marks{c}", x=marks[-1])["y"])
        found, one = {}, values["turn"].const(1, 1)
        for r in range(self.rows):
            left = values["head0"].const(0, values["head0"].width)
            for c in reversed(range(self.columns)):
                cell = place(
                    f"cell{r}_{c}",
                    head=values[f"head{c}"],
                    tail=values[f"tail{c}"],
                    passing=left,
                    fresh=marks[c][self.rows + r] if c < self.columns - 1 else one,
                    ahead=marks[c][r],
                )
                found[r, c], left = cell["x"], cell["left"]
        return found
