"""A convolution layer of a streaming accelerator: a sliding-window unit that feeds a matrix-vector-threshold unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.hardware.units.assembly import Assembly, Place
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.memory import Form
from carrysave.hardware.units.mvtu import MvtuWithMemories
from carrysave.hardware.units.sliding_window import SlidingWindow


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class ConvLayer(Assembly):
    """A convolution layer (simplification thesis, Figure 4.1): pixels in, quantized activations out.

    Ports: `x`, `simd` channels of a pixel (pixels by rows, the groups of channels of each one after the other), taken
    where `valid` and `ready` are 1; `y`, `pe` output channels of `mmv` pixels side by side where `done` is 1, all
    channels of a pixel before the next one's. The memories are filled as those of `MvtuWithMemories`. A weight's
    column is that of (row in the kernel, pixel in the row, input channel).

    Two words stand between the units, so that neither's handshake depends on the other's in the same cycle.

    Attributes:
        height, width: of the image, its padding included.
        kernel, stride: of the windows.
        channels, filters: channels of the image, and of what comes out.
        simd, pe, mmv, a, weights, levels, scales, scale_bits, memory: as in `Folded`.
    """

    height: int = 3
    width: int = 3
    kernel: int = 2
    stride: int = 1
    channels: int = 1
    filters: int = 2
    simd: int = 1
    pe: int = 1
    mmv: int = 1
    a: int = 2
    weights: Literal["binary", "ternary"] = "binary"
    levels: int = 0
    scales: int = 0
    scale_bits: int = 8
    memory: Form = "flops"
    name = "conv_layer"

    def check(self) -> None:
        if self.simd < 1 or self.channels % self.simd:
            raise ValueError(f"conv_layer: channels={self.channels}, simd={self.simd}; simd must divide the channels")
        for part in (self.window, self.unit):
            part.check()

    @property
    def window(self) -> SlidingWindow:
        """The unit that makes the windows."""
        return SlidingWindow(
            height=self.height,
            width=self.width,
            kernel=self.kernel,
            stride=self.stride,
            words=self.channels // self.simd,
            mmv=self.mmv,
            bits=self.simd * self.a,
            memory=self.memory,
        )

    @property
    def unit(self) -> MvtuWithMemories:
        """The unit that multiplies them."""
        return MvtuWithMemories(
            columns=self.kernel * self.kernel * self.channels,
            rows=self.filters,
            simd=self.simd,
            pe=self.pe,
            mmv=self.mmv,
            a=self.a,
            weights=self.weights,
            levels=self.levels,
            scales=self.scales,
            scale_bits=self.scale_bits,
            memory=self.memory,
        )

    @property
    def loading(self) -> Mapping[str, int]:
        """The ports through which the memories are filled."""
        return {port: width for port, width in self.unit.inputs.items() if port not in ("x", "valid")}

    @property
    def cycles(self) -> int:
        """Cycles for one image, the input never late: the thesis' Reuse (4.6)."""
        return self.unit.cycles(self.window.across * self.window.down)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.simd * self.a, "valid": 1, **self.loading}

    @property
    def own_registers(self) -> Mapping[str, Register]:
        bits = self.mmv * self.simd * self.a
        return {"next": Register(bits), "after": Register(bits), "some": Register(1, 0), "more": Register(1, 0)}

    @property
    def settling(self) -> int:
        return 1

    @property
    def parts(self) -> Mapping[str, Unit]:
        return {"window": self.window, "unit": self.unit}

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        some, more = values["some"], values["more"]
        loading = {port: values[port] for port in self.loading}
        unit = place("unit", x=values["next"], valid=some, **loading)
        window = place("window", x=values["x"], valid=values["valid"], take=~more)
        stays, comes = some & ~unit["ready"], window["shown"] & ~more
        return {
            "ready": window["ready"],
            "done": unit["done"],
            "y": unit["y"],
            "next": stays.mux(values["next"], more.mux(values["after"], window["y"])),
            "after": more.mux(values["after"], window["y"]),
            "some": stays | more | comes,
            "more": stays & (more | comes),
        }
