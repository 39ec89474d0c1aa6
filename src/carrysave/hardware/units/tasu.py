"""TASU's block for the first convolution of DoReFa-Net's AlexNet: a stream of pixels, and every window they lie in.

A window of `kernel` columns starts every `stride` pixels, so that a pixel lies in `kernel / stride` windows side by
side and in as many on top of each other. For each filter and channel the block has a multiplier for each of these: with
12x12 kernels, stride 4, 3 channels and 16 filters they are 9 * 3 * 16 = 432. So is the circuit that HEAM's authors
published later (github.com/phyzhenli/AM, accelerators/TASU): nine multipliers and accumulators per filter and channel,
144 weights in flip-flops with a read port for each multiplier, a FIFO for the sums between two image rows. The paper
names only TASU (Jiao et al., FPL 2017). As many multipliers would give a whole window of one filter per cycle, but
want 432 pixels per cycle, which no memory beside a stream of pixels has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carrysave.bits import add, all_bits, any_bit, cat, fit, rep, rows_to_columns, sum_columns, zext
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.products import unsigned_multiplier
from carrysave.multipliers import Multiplier


def one_hot(address: Any, count: int) -> list[Any]:
    """Which of `count` values an address has."""
    return [all_bits(~(address ^ address.const(k, address.width))) for k in range(count)]


def chosen(select: Sequence[Any], words: Sequence[Any]) -> Any:
    """The word whose select bit is 1."""
    terms = [rep(bit, word.width) & word for bit, word in zip(select, words, strict=True)]
    while len(terms) > 1:
        pairs = [terms[k] | terms[k + 1] for k in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[len(pairs) * 2 :]
    return terms[0]


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class WindowMac(Unit):
    """Pixel times weight, added up along one row of a window.

    Where `first` is 1 a sum begins, where `valid` is 0 nothing is added; both come with their pixel, whose product is
    in `total` three cycles later. Registers stand before and behind the multiplier.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; pixels are its a.
        sum_bits: of the sum, which is taken modulo.
    """

    multiplier: str = "exact"
    sum_bits: int = 20
    name = "window_mac"
    catalog = {"of three bits": "window_mac:multiplier=exact:n=3,sum_bits=7"}

    def check(self) -> None:
        if self.sum_bits < self.of.product_bits:
            raise ValueError(
                f"window_mac: sum_bits={self.sum_bits}; a product of {self.of.spec} has {self.of.product_bits}"
            )

    @property
    def of(self) -> Multiplier:
        """The multiplier."""
        return unsigned_multiplier(self.name, self.multiplier)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.of.a_bits, "w": self.of.b_bits, "first": 1, "valid": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        m = self.of
        widths = {"held_x": m.a_bits, "held_w": m.b_bits, "product": m.product_bits}
        marks = {f"{mark}{k}": Register(1, 0) for mark in ("first", "valid") for k in (1, 2)}
        return {name: Register(width) for name, width in widths.items()} | marks | {"sum": Register(self.sum_bits, 0)}

    @property
    def settling(self) -> int:
        return 3

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        kept = values["sum"] & rep(~values["first2"], self.sum_bits)
        added = values["product"] & rep(values["valid2"], self.of.product_bits)
        return {
            "total": values["sum"],
            "held_x": values["x"],
            "held_w": values["w"],
            "first1": values["first"],
            "valid1": values["valid"],
            "product": self.of(values["held_x"], values["held_w"]),
            "first2": values["first1"],
            "valid2": values["valid1"],
            "sum": fit(add(kept, zext(added, self.sum_bits)), self.sum_bits),
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class TapRow(Unit):
    """One row of a kernel: its weights in a chain of registers, and one of them for each window that is open.

    A cycle after `load` the weights move on by one, `weight` to the first place; `last` is the one that leaves. A cycle
    after `tap`, `tap{i}` is the weight at the place `(tap - stride * i) mod kernel`.

    Attributes:
        n: bits of a weight.
        kernel: weights of the row.
        stride: pixels from window to window; it divides the kernel.
    """

    n: int = 8
    kernel: int = 12
    stride: int = 4
    name = "tap_row"
    catalog = {"four of two bits": "tap_row:n=2,kernel=4,stride=2"}

    def check(self) -> None:
        check_window(self.name, self.kernel, self.stride)
        if not 1 <= self.n <= 32:
            raise ValueError(f"tap_row: n={self.n} bits of a weight; 1 to 32")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"weight": self.n, "load": 1, "tap": (self.kernel - 1).bit_length()}

    @property
    def registers(self) -> Mapping[str, Register]:
        marks = {"loading": Register(1, 0), "place": Register(self.inputs["tap"])}
        return {f"w{k}": Register(self.n, 0) for k in range(self.kernel)} | marks

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        words = [values[f"w{k}"] for k in range(self.kernel)]
        places = one_hot(values["place"], self.kernel)
        found = {f"tap{i}": chosen(turned(places, self.stride * i), words) for i in range(self.kernel // self.stride)}
        before = [values["weight"], *words]
        moved = {f"w{k}": values["loading"].mux(before[k], words[k]) for k in range(self.kernel)}
        return {**found, "last": words[-1], "loading": values["load"], "place": values["tap"], **moved}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class RowSelect(Unit):
    """Of the kernel rows' weights, `w{k}` for row k, one for each window open on top of each other.

    A cycle after `row`, `row{j}` is the one of the row `(row - stride * j) mod kernel`.

    Attributes:
        n: bits of a weight.
        kernel: rows.
        stride: image rows from window to window; it divides the kernel.
    """

    n: int = 8
    kernel: int = 12
    stride: int = 4
    name = "row_select"
    catalog = {"four of two bits": "row_select:n=2,kernel=4,stride=2"}

    def check(self) -> None:
        check_window(self.name, self.kernel, self.stride)
        if not 1 <= self.n <= 32:
            raise ValueError(f"row_select: n={self.n} bits of a weight; 1 to 32")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {**{f"w{k}": self.n for k in range(self.kernel)}, "row": (self.kernel - 1).bit_length()}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"place": Register(self.inputs["row"])}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        words = [values[f"w{k}"] for k in range(self.kernel)]
        places = one_hot(values["place"], self.kernel)
        windows = range(self.kernel // self.stride)
        return {"place": values["row"], **{f"row{j}": chosen(turned(places, self.stride * j), words) for j in windows}}


def turned(places: Sequence[Any], by: int) -> list[Any]:
    """One-hot places moved down by so many, round the end."""
    return [*places[by:], *places[:by]]


def check_window(name: str, kernel: int, stride: int) -> None:
    """Raises ValueError for a kernel that is not a whole number of strides long, from 2 to 8."""
    if not (2 <= kernel <= 32 and stride >= 1 and kernel % stride == 0 and 2 <= kernel // stride <= 8):
        raise ValueError(
            f"{name}: kernel={kernel}, stride={stride}; a kernel of 2 to 32 taps is 2 to 8 strides long, a whole number"
        )


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class TasuControl(Unit):
    """Where the open windows are, from the marks that come with a pixel.

    Ports: `valid` with each pixel, `row` with the first of an image row, `image` besides with the first of an image. A
    cycle later `tap` and `line` are the pixel's column and row in the windows of the first phase, modulo the kernel,
    and bit i of `first` says that a window of column phase i begins with it. Bit i of `last` says that the row of a
    window of column phase i is complete in its `WindowMac` two cycles later. A cycle before the sum over the channels,
    bit j of `top` says that a window of row phase j begins, or none has begun; with it `read` says that sums before it
    are taken. A cycle later `write` says that it is there, bit j of `done` that the window of row phase j is complete.

    Attributes:
        kernel: columns and rows of a window.
        stride: from window to window; it divides the kernel.
    """

    kernel: int = 12
    stride: int = 4
    name = "tasu_control"
    catalog = {"kernel 4, stride 2": "tasu_control:kernel=4,stride=2"}

    def check(self) -> None:
        check_window(self.name, self.kernel, self.stride)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid": 1, "row": 1, "image": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        width, phases = (self.kernel - 1).bit_length(), self.kernel // self.stride
        found = {"some": Register(1, 0)}
        for what in ("column", "row"):  # place in the windows of phase 0, phases in which a window has begun
            found |= {f"{what}_place": Register(width, 0), f"{what}_open": Register(phases, 0)}
        late = {"last": range(2, 6), "read": range(6, 9), "top": range(2, 7), "bottom": range(2, 9)}
        widths = {"last": phases, "read": 1, "top": phases, "bottom": phases}
        return found | {f"{name}{k}": Register(widths[name], 0) for name, cycles in late.items() for k in cycles}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        new_image = values["valid"] & values["image"]
        new_row = values["valid"] & (values["row"] | values["image"])
        following = {"some": values["valid"]}
        for what, moves, restarts in (("column", values["valid"], new_row), ("row", new_row, new_image)):
            place, opened = values[f"{what}_place"], values[f"{what}_open"]
            after = self._after(place)
            following[f"{what}_place"] = moves.mux(restarts.mux(place.const(0, place.width), after), place)
            started = cat(*self._starts(one_hot(after, self.kernel)))
            only_first = opened.const(1, opened.width)
            following[f"{what}_open"] = moves.mux(restarts.mux(only_first, opened | started), opened)
        at = {what: one_hot(values[f"{what}_place"], self.kernel) for what in ("column", "row")}
        first, top = (cat(*self._starts(at[what])) for what in ("column", "row"))
        ends = {what: cat(*self._starts(turned(at[what], self.kernel - 1))) for what in ("column", "row")}
        some = rep(values["some"], first.width)
        last = ends["column"] & values["column_open"] & some
        bottom = ends["row"] & values["row_open"]
        now = {"last1": last, "read5": any_bit(values["last5"]), "top1": top | ~values["row_open"], "bottom1": bottom}
        delayed = [name for name in self.registers if name[-1].isdigit()]
        following |= {name: {**now, **values}[f"{name[:-1]}{int(name[-1]) - 1}"] for name in delayed}
        return {
            "tap": values["column_place"],
            "line": values["row_place"],
            "valid_now": values["some"],
            "first": first & some,
            "last": values["last4"],
            "top": values["top6"],
            "read": values["read7"],
            "write": values["read8"],
            "done": values["bottom8"] & rep(values["read8"], bottom.width),
            **following,
        }

    def _after(self, place: Any) -> Any:
        """The next place, modulo the kernel."""
        end = one_hot(place, self.kernel)[-1]
        return end.mux(place.const(0, place.width), fit(add(place, place.const(1, place.width)), place.width))

    def _starts(self, places: Sequence[Any]) -> list[Any]:
        """Of one-hot places, those at which a window of each phase begins."""
        return list(places[:: self.stride])


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class RowPick(Unit):
    """Keeps the row sum of the window that is complete: `total{i}` a cycle after bit i of `last`.

    Attributes:
        n: bits of a sum.
        phases: windows that are open side by side.
    """

    n: int = 20
    phases: int = 3
    name = "row_pick"
    catalog = {"two of four bits": "row_pick:n=4,phases=2"}

    def check(self) -> None:
        if not (1 <= self.n <= 64 and 2 <= self.phases <= 8):
            raise ValueError(f"row_pick: n={self.n}, phases={self.phases}; 1 to 64 bits, 2 to 8 windows")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {**{f"total{i}": self.n for i in range(self.phases)}, "last": self.phases}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(self.n, 0), "done": Register(self.phases, 0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        last = values["done"]
        found = chosen(list(last), [values[f"total{i}"] for i in range(self.phases)])
        return {"sum": values["kept"], "kept": any_bit(last).mux(found, values["kept"]), "done": values["last"]}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class ChannelSum(Unit):
    """The row sums of all channels, and what the window had `before` unless it begins (`top`, a cycle earlier).

    Attributes:
        n: bits of a row sum.
        channels: how many.
        sum_bits: of the sum, which is taken modulo.
    """

    n: int = 20
    channels: int = 3
    sum_bits: int = 25
    name = "channel_sum"
    catalog = {"two of three bits": "channel_sum:n=3,channels=2,sum_bits=6"}

    def check(self) -> None:
        if not (1 <= self.n <= self.sum_bits <= 64 and 1 <= self.channels <= 16):
            raise ValueError(
                f"channel_sum: n={self.n}, channels={self.channels}, sum_bits={self.sum_bits}; the sum has at least "
                "the n bits of a term, at most 64, of 1 to 16 channels"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {**{f"sum{c}": self.n for c in range(self.channels)}, "before": self.sum_bits, "top": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"begins": Register(1), "total": Register(self.sum_bits)}

    @property
    def settling(self) -> int:
        return 2

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        before = values["before"] & rep(~values["begins"], self.sum_bits)
        rows = [(before, 0), *((values[f"sum{c}"], 0) for c in range(self.channels))]
        total = sum_columns(rows_to_columns(rows), width=self.sum_bits)
        return {"window": values["total"], "begins": values["top"], "total": total}
