"""The sliding-window unit: pixels of an image come in row by row, the windows of a convolution go out (im2col).

It feeds matrix-vector units and pooling units (simplification thesis, 4.4.2 and Figure 4.1; FINN).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from carrysave.bits import all_bits, cat, fit, zext
from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.memory import Form, Memory
from carrysave.hardware.units.ring_counter import bits_of, counted


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows of an image and the rows of it that are held.

    Attributes:
        height, width: of the image in pixels, its padding (if it has any) included.
        kernel: height and width of a window.
        stride: from one window to the next, in both directions.
        words: words of a pixel: its channels in groups, one after the other.
        mmv: windows of a row that go out side by side; divides the windows of a row.
    """

    height: int = 3
    width: int = 3
    kernel: int = 2
    stride: int = 1
    words: int = 1
    mmv: int = 1

    def checked(self, name: str) -> None:
        """Raises ValueError for sizes that cannot be."""
        if not 1 <= self.kernel <= min(self.height, self.width) or not 1 <= self.stride <= self.kernel:
            raise ValueError(
                f"{name}: windows of kernel={self.kernel}, stride={self.stride} in {self.height} x {self.width} "
                "pixels; the kernel fits the image, and the stride is 1 to the kernel, for no pixel is left out"
            )
        if self.words < 1 or self.row < 2:
            raise ValueError(f"{name}: words={self.words}, width={self.width}; a row has two words or more")
        if self.mmv < 1 or self.across % self.mmv or (self.mmv > 1 and self.kernel == 1):
            raise ValueError(
                f"{name}: mmv={self.mmv}; it divides the {self.across} windows of a row, and is 1 where each is a pixel"
            )

    @property
    def across(self) -> int:
        """Windows of a row."""
        return (self.width - self.kernel) // self.stride + 1

    @property
    def down(self) -> int:
        """Rows of windows."""
        return (self.height - self.kernel) // self.stride + 1

    @property
    def row(self) -> int:
        """Words of a row of pixels."""
        return self.width * self.words

    @property
    def held(self) -> int:
        """Words that are held: the rows of a window, and those that come in while it is read."""
        return (self.kernel + self.stride) * self.row

    @property
    def last_rows(self) -> int:
        """Rows of pixels from the first one of the last row of windows to the end of the image."""
        return self.height - (self.down - 1) * self.stride


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class WindowControl(Windows, Unit):
    """Addresses and counters of a sliding-window unit.

    The rows of pixels stand one after the other in a ring of `held` words. Ports: `valid`, `ready`, `shown`, `take` are
    those of `SlidingWindow`; where `fill` is 1 the word that comes in is put at `at`; `read0` and so on are what the
    memories are to show in the next cycle.
    """

    name = "sliding_window_control"
    catalog = {
        "3 x 3 pixels": "sliding_window_control",
        "stride 2": "sliding_window_control:height=5,width=6,stride=2,words=2,mmv=3",
    }

    def check(self) -> None:
        self.checked(self.name)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"valid": 1, "take": 1}

    @property
    def registers(self) -> Mapping[str, Register]:
        address = bits_of(self.held)
        widths = {
            "filled": self.held.bit_length(),  # words held, from the first row of the current windows on
            "coming": address,  # where the next word goes
            "top": address,  # of the first row of the current windows
            "corner": address,  # of the current windows
            "line": address,  # of the row of pixels in them that is shown
            "along": bits_of(self.kernel * self.words),
            "beneath": bits_of(self.kernel),
            "group": bits_of(self.across // self.mmv),
            "rank": bits_of(self.down),
        }
        return {name: Register(width, reset=0) for name, width in widths.items()}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        shown, room = self._stands(values)
        take, fill = shown & values["take"], values["valid"] & room
        following: dict[str, Any] = {}
        counts = {"along": self.kernel * self.words, "beneath": self.kernel, "group": self.across // self.mmv}
        ends, step = {}, take
        for name, count in {**counts, "rank": self.down}.items():
            following[name], over = counted(values[name], step, count)
            ends[name] = step = step & over
        following |= self._addresses(values, ends)
        start = fit(following["line"] + following["along"], values["line"].width)
        apart = self.stride * self.words
        reads = {
            f"read{m}": fit(start + start.const(m * apart, start.width), start.width) if m else start
            for m in range(self.mmv)
        }
        following["coming"], _ = counted(values["coming"], fill, self.held)
        following["filled"] = self._filled(values, fill, ends)
        return {"ready": room, "fill": fill, "at": values["coming"], "shown": shown, **reads, **following}

    def _stands(self, values: Mapping[str, Any]) -> tuple[Any, Any]:
        """Whether the rows of the current windows are all here, and whether there is room for a word."""
        filled = values["filled"]
        bottom = _is(values["rank"], self.down - 1)
        needed = bottom.mux(*(filled.const(rows * self.row, filled.width) for rows in (self.last_rows, self.kernel)))
        one = filled.const(1, 1)
        enough = (zext(filled, filled.width + 1) + ~needed + one)[filled.width]
        return enough, ~_is(filled, self.held)

    def _addresses(self, values: Mapping[str, Any], ends: Mapping[str, Any]) -> dict[str, Any]:
        """Where the current windows, their first row and the current row of pixels in them begin next."""
        line, corner, top = (values[name] for name in ("line", "corner", "top"))
        bottom = _is(values["rank"], self.down - 1)
        rows = bottom.mux(*(top.const(n * self.row % self.held, top.width) for n in (self.last_rows, self.stride)))
        next_top = ends["group"].mux(self._ahead(top, rows), top)
        aside = fit(corner + corner.const(self.mmv * self.stride * self.words % self.held, corner.width), corner.width)
        next_corner = ends["group"].mux(next_top, ends["beneath"].mux(aside, corner))
        below = self._ahead(line, line.const(self.row, line.width))
        next_line = ends["beneath"].mux(next_corner, ends["along"].mux(below, line))
        return {"top": next_top, "corner": next_corner, "line": next_line}

    def _ahead(self, address: Any, words: Any) -> Any:
        """An address so many words ahead in the ring."""
        total = address + words
        over = total - total.const(self.held, total.width)
        return fit(over[-1].mux(total, over), address.width)  # both are below `held`: no difference reaches the top bit

    def _filled(self, values: Mapping[str, Any], fill: Any, ends: Mapping[str, Any]) -> Any:
        """Words held: one more where one comes in, less the rows that no later window has."""
        filled = values["filled"]
        bottom = _is(values["rank"], self.down - 1)
        gone = bottom.mux(*(filled.const(rows * self.row, filled.width) for rows in (self.last_rows, self.stride)))
        left = ends["group"].mux(filled - gone, filled)
        return fit(left + fill, filled.width)


def _is(word: Any, value: int) -> Any:
    return all_bits(~(word ^ word.const(value, word.width)))


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Windows, Assembly):
    """Line buffers that turn a stream of pixels into one of windows.

    Ports: `x`, one word of a pixel (pixels by rows, the words of each one after the other), taken where `valid` and
    `ready` are 1; `y`, where `shown` is 1, one word of each of `mmv` windows; `take`: the next one, please. A window
    goes out row by row, a row pixel by pixel. Images follow one another; the memories hold kernel + stride rows, a copy
    for each window that goes out side by side.

    Attributes:
        bits: of a word.
        memory: the form of its memories, as in `Memory`.
    """

    bits: int = 2
    memory: Form = "flops"
    name = "sliding_window"
    catalog = {"2 x 2 of 3 x 3": "sliding_window", "two at a time": "sliding_window:bits=1,mmv=2"}

    def check(self) -> None:
        self.checked(self.name)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.bits, "valid": 1, "take": 1}

    @property
    def settling(self) -> int:
        return 1

    @property
    def parts(self) -> Mapping[str, Unit]:
        control = WindowControl(**{field.name: getattr(self, field.name) for field in fields(Windows)})
        memory = Memory(depth=self.held, width=self.bits, form=self.memory)
        return {"control": control, **{f"rows{m}": memory for m in range(self.mmv)}}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        control = place("control", valid=values["valid"], take=values["take"])
        filling = {"write": control["fill"], "at": control["at"], "data": values["x"]}
        words = [place(f"rows{m}", read=control[f"read{m}"], **filling)["word"] for m in range(self.mmv)]
        return {"ready": control["ready"], "shown": control["shown"], "y": cat(*words)}
