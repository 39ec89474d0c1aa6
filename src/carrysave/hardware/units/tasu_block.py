"""TASU's convolution block put together: a block per filter and channel, a filter, all filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrysave.bits import cat
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Unit
from carrysave.hardware.units.products import Delay, sum_bits, unsigned_multiplier
from carrysave.hardware.units.tasu import (
    ChannelSum,
    RowPick,
    RowSelect,
    TapRow,
    TasuControl,
    WindowMac,
    check_window,
)


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class WindowBlock(Assembly):
    """One channel of one filter: its weights in registers, and a multiplier for each window that a pixel lies in.

    Ports: the pixel `x` with `tap`, `line`, `valid`, `first` and (for an earlier pixel) `last` of `TasuControl`; one
    weight of the kernel `weight` where `load` is 1, the last one first, row by row. `row{j}` is the sum over a row of
    a window of row phase j, six cycles after the row's last pixel and until the next one.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; pixels are its a.
        kernel: rows and columns of the kernel.
        stride: from window to window; it divides the kernel.
    """

    multiplier: str = "exact"
    kernel: int = 12
    stride: int = 4
    name = "window_block"
    catalog = {"kernel 2, stride 1": "window_block:multiplier=exact:n=2,kernel=2,stride=1"}

    def check(self) -> None:
        check_window(self.name, self.kernel, self.stride)
        unsigned_multiplier(self.name, self.multiplier)

    @property
    def phases(self) -> int:
        return self.kernel // self.stride

    @cached_property
    def mac(self) -> WindowMac:
        m = unsigned_multiplier(self.name, self.multiplier)
        return WindowMac(multiplier=self.multiplier, sum_bits=sum_bits(m, self.kernel))

    @property
    def inputs(self) -> Mapping[str, int]:
        m, width = self.mac.of, (self.kernel - 1).bit_length()
        marks = {"tap": width, "line": width, "valid": 1, "first": self.phases, "last": self.phases}
        return {"x": m.a_bits, "weight": m.b_bits, "load": 1, **marks}

    @property
    def parts(self) -> Mapping[str, Unit]:
        mac, phases = self.mac, range(self.phases)
        taps = TapRow(n=mac.of.b_bits, kernel=self.kernel, stride=self.stride)
        rows = RowSelect(n=mac.of.b_bits, kernel=self.kernel, stride=self.stride)
        found: dict[str, Unit] = {"held": Delay(n=sum(self.inputs.values()) - 1)}  # all but `load`
        found["beside"] = Delay(
            n=mac.of.a_bits + self.phases + 1
        )  # what comes with a pixel, while its weights are read
        found |= {f"taps{k}": taps for k in range(self.kernel)}
        found |= {f"rows{i}": rows for i in phases}
        found |= {f"mac{j}_{i}": mac for j in phases for i in phases}
        return found | {f"pick{j}": RowPick(n=mac.sum_bits, phases=self.phases) for j in phases}

    @property
    def settling(self) -> int:
        return 8

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        names = [name for name in self.inputs if name != "load"]
        word, low, held = place("held", x=cat(*[values[name] for name in names]))["y"], 0, {}
        for name in names:
            held[name] = word[low : low + self.inputs[name]]
            low += self.inputs[name]
        weight, taps = held["weight"], []
        for k in range(self.kernel):
            taps.append(place(f"taps{k}", weight=weight, load=values["load"], tap=held["tap"]))
            weight = taps[-1]["last"]
        marked = place("beside", x=cat(held["valid"], held["first"], held["x"]))["y"]
        valid, first, x = marked[0], marked[1 : 1 + self.phases], marked[1 + self.phases :]
        phases, totals = range(self.phases), {}
        for i in phases:
            of_rows = {f"w{k}": taps[k][f"tap{i}"] for k in range(self.kernel)}
            weights = place(f"rows{i}", row=held["line"], **of_rows)
            for j in phases:
                mac = place(f"mac{j}_{i}", x=x, w=weights[f"row{j}"], first=first[i], valid=valid)
                totals[j, i] = mac["total"]
        return {
            f"row{j}": place(f"pick{j}", last=held["last"], **{f"total{i}": totals[j, i] for i in phases})["sum"]
            for j in phases
        }


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class WindowFilter(Assembly):
    """One filter: a `WindowBlock` per channel, and per row phase the sum over channels and image rows.

    Ports as those of the block and of `ChannelSum`: `x{c}`, `load{c}`, `weight`; `top`; `before{j}` and `window{j}`.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; pixels are its a.
        kernel, stride: of the windows.
        channels: of the image.
    """

    multiplier: str = "exact"
    kernel: int = 12
    stride: int = 4
    channels: int = 3
    name = "window_filter"
    catalog = {"kernel 2, stride 1": "window_filter:multiplier=exact:n=2,kernel=2,stride=1,channels=2"}

    def check(self) -> None:
        self.block.check()
        self.sum.check()

    @cached_property
    def block(self) -> WindowBlock:
        return WindowBlock(multiplier=self.multiplier, kernel=self.kernel, stride=self.stride)

    @cached_property
    def sum(self) -> ChannelSum:
        mac = self.block.mac
        width = sum_bits(mac.of, self.kernel**2 * self.channels)
        return ChannelSum(n=mac.sum_bits, channels=self.channels, sum_bits=width)

    @property
    def inputs(self) -> Mapping[str, int]:
        of_block, phases = self.block.inputs, self.block.phases
        each = {f"{port}{c}": of_block[port] for port in ("x", "load") for c in range(self.channels)}
        shared = {port: width for port, width in of_block.items() if port not in ("x", "load")}
        return {**each, **shared, "top": phases, **{f"before{j}": self.sum.sum_bits for j in range(phases)}}

    @property
    def parts(self) -> Mapping[str, Unit]:
        blocks = {f"channel{c}": self.block for c in range(self.channels)}
        return {**blocks, **{f"sum{j}": self.sum for j in range(self.block.phases)}}

    @property
    def settling(self) -> int:
        return self.block.settling + 2

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        shared = {port: values[port] for port in self.block.inputs if port not in ("x", "load")}
        found = []
        for c in range(self.channels):
            found.append(place(f"channel{c}", x=values[f"x{c}"], load=values[f"load{c}"], **shared))
        out = {}
        for j in range(self.block.phases):
            rows = {f"sum{c}": block[f"row{j}"] for c, block in enumerate(found)}
            made = place(f"sum{j}", before=values[f"before{j}"], top=values["top"][j], **rows)
            out[f"window{j}"] = made["window"]
        return out


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Tasu(Assembly):
    """All filters of the block on one stream of pixels, and what tells them where the windows are.

    For every window out_f = sum over channels, rows and columns of weight * pixel. Products and sums are unsigned, with
    the bits that they need; what zero points make of them, and DoReFa's quantizer to 2 bits, come after it. Between two
    image rows the sums of unfinished windows wait outside, in a memory (a FIFO) with an entry for each window side by
    side: kernel / stride sums per filter. For 224 pixels, 54 entries of 16 * 75 bits.

    Ports: a pixel of all channels `x{c}` where `valid` is 1, with `row` at the first of an image row and `image` at the
    first of an image; the row's length less the kernel is a multiple of the stride, and so is the number of rows less
    the kernel. Weights before: `weight{f}` of all filters where `load{c}` is 1, the last of the channel's kernel first.
    Eight cycles after the last pixel of a window's row `window{f}_{j}` holds its sum in row phase j, with `write` at 1,
    and finished where bit j of `done` is 1; a cycle before, `read` says that `before{f}_{j}`, the first entry of the
    FIFO, is taken.

    Attributes:
        multiplier: an unsigned multiplier's spec string, with ; where it has commas; pixels are its a.
        kernel, stride: of the windows.
        channels: of the image.
        filters: how many.
    """

    multiplier: str = "exact"
    kernel: int = 12
    stride: int = 4
    channels: int = 3
    filters: int = 16
    name = "tasu"
    catalog = {"one filter of 2x2": "tasu:multiplier=exact:n=2,kernel=2,stride=1,channels=1,filters=1"}

    def check(self) -> None:
        self.filter.check()
        if not 1 <= self.filters <= 64:
            raise ValueError(f"tasu: filters={self.filters}; 1 to 64")

    @cached_property
    def filter(self) -> WindowFilter:
        return WindowFilter(multiplier=self.multiplier, kernel=self.kernel, stride=self.stride, channels=self.channels)

    @property
    def inputs(self) -> Mapping[str, int]:
        of_filter, phases = self.filter.inputs, self.filter.block.phases
        image = {f"x{c}": of_filter[f"x{c}"] for c in range(self.channels)}
        image |= {"valid": 1, "row": 1, "image": 1, **{f"load{c}": 1 for c in range(self.channels)}}
        weights = {f"weight{f}": of_filter["weight"] for f in range(self.filters)}
        before = {f"before{f}_{j}": of_filter[f"before{j}"] for f in range(self.filters) for j in range(phases)}
        return {**image, **weights, **before}

    @property
    def parts(self) -> Mapping[str, Unit]:
        control = TasuControl(kernel=self.kernel, stride=self.stride)
        pixels = {f"pixel{c}": Delay(n=self.filter.inputs[f"x{c}"]) for c in range(self.channels)}
        return {"control": control, **pixels, **{f"filter{f}": self.filter for f in range(self.filters)}}

    @property
    def settling(self) -> int:
        return self.filter.settling + 1

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        control = dict(place("control", valid=values["valid"], row=values["row"], image=values["image"]))
        marks = {port: control[port] for port in ("tap", "line", "first", "last", "top")}
        marks["valid"] = control["valid_now"]
        for c in range(self.channels):
            marks |= {f"x{c}": place(f"pixel{c}", x=values[f"x{c}"])["y"], f"load{c}": values[f"load{c}"]}
        out = {port: control[port] for port in ("read", "write", "done")}
        phases = range(self.filter.block.phases)
        for f in range(self.filters):
            before = {f"before{j}": values[f"before{f}_{j}"] for j in phases}
            made = place(f"filter{f}", weight=values[f"weight{f}"], **marks, **before)
            out |= {f"window{f}_{j}": made[f"window{j}"] for j in phases}
        return out
