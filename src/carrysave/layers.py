"""Layers that compute in integers what hardware would, and train as the float layers they stand in for.

The semantics, once and for all engines:

* Activations x are codes of an unsigned affine, a signed fixed-point or a sign-and-magnitude format with scale sx and
  zero zx. Weights w likewise, sw and zw, which may differ between output channels.
* Every product is the multiplier's own, M(x, w): approximate. A sign-and-magnitude code enters an unsigned multiplier
  as its magnitude, and the sign goes round it. Signed formats enter signed multipliers as two's complement.
* Everything else is exact: the accumulation, the zero corrections, and the bias as the integer round(b / (sx sw)):

      acc = sum M(x, w)  -  zw sum x  -  zx sum w  +  K zx zw  +  bias

* Padding enters the multiplier as the code zx, in the sums too, as it does in hardware.
* The result is that integer, rounded once to float32, times sx sw (rounded to float32).

Weight scales follow the weights: they are computed again whenever the weights have changed. Activation scales are
calibrated and stay. The gradient is by default straight-through: that of the float layer at the represented values,
zero where a value saturates; or it follows the slope of the multiplier's table (slopes.py).

The computation itself is in operators.py, as torch operators, which torch.compile and torch.export take as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from carrysave import operators
from carrysave.engines.plan import Plan
from carrysave.engines.problem import Geometry, Prepared, Products
from carrysave.operators import rescaled as rescaled
from carrysave.preparation import preparations_of_layer
from carrysave.quantizers import Quantizer
from carrysave.recipes import Arithmetic
from carrysave.settings import Setting


class Emulation:
    """What makes a layer integer: its setting, and what is ready for it as long as this object lives.

    Attributes:
        setting: arithmetic, calibrated scales, engine and gradient.
        text: the setting as the operators take it.
    """

    def __init__(self, setting: Setting):
        self.setting, self.text = setting, setting.text
        self._kept = preparations_of_layer(setting)

    def __getstate__(self) -> dict[str, Any]:
        return {"text": self.text}  # engines hold tables and closures; they are found or made again

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(Setting.parse(state["text"]))

    @property
    def layer(self) -> str:
        """The layer's name, for messages."""
        return self.setting.layer

    @property
    def arithmetic(self) -> Arithmetic:
        return self.setting.arithmetic

    @property
    def products(self) -> Products:
        return self.setting.products

    @property
    def activation(self) -> Quantizer:
        """The activation's quantizer (calibrated)."""
        return self.setting.activation

    @property
    def plan(self) -> Plan | None:
        """Of the last preparation that chose an engine; None before the first."""
        return self._kept.plan

    def prepared(
        self, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> tuple[Prepared, Quantizer, torch.Tensor]:
        """The engine for these very weights, their quantizer, and the layer's output scale."""
        ready = self._kept.of(weight, bias, geometry)
        return ready.engine, ready.quantizer, ready.scale

    def prepared_matmul(self) -> tuple[Prepared, Quantizer, torch.Tensor]:
        """The engine for two operands that both come with the call."""
        ready = self._kept.matmul(torch.device("cpu"))
        return ready.engine, ready.quantizer, ready.scale


def conv2d(
    core: Emulation, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """[N, C, H, W] or [C, H, W], like F.conv2d."""
    if x.ndim == 3:
        return conv2d(core, x[None], weight, bias, geometry)[0]
    g = geometry
    return operators.conv2d(x, weight, bias, core.text, g.stride, g.padding, g.dilation, g.groups)


def linear(core: Emulation, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """[..., K] to [..., O], like F.linear."""
    return operators.linear(x, weight, bias, core.text)


def matmul(core: Emulation, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Like torch.matmul, for all its shapes of one dimension and more, with broadcasting."""
    left, right = x[None] if x.ndim == 1 else x, w[:, None] if w.ndim == 1 else w
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    result = operators.matmul(
        left.expand(*batch, *left.shape[-2:]).reshape(-1, *left.shape[-2:]),
        right.expand(*batch, *right.shape[-2:]).reshape(-1, *right.shape[-2:]),
        core.text,
    )
    result = result.reshape(*batch, *result.shape[-2:])
    result = result[..., 0, :] if x.ndim == 1 else result
    return result[..., 0] if w.ndim == 1 else result


def sides(padding: Any, kernel: Any, dilation: Any) -> tuple[int, int, int, int]:
    """What nn.Conv2d's padding, pairs or "same" or "valid", puts on top, left, bottom and right."""
    if not isinstance(padding, str):
        return padding[0], padding[1], padding[0], padding[1]
    total = [0 if padding == "valid" else d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2


def call_geometry(
    x: torch.Tensor, weight: torch.Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[torch.Tensor, Geometry]:
    """An F.conv2d call's input, padded where the padding is not symmetric, and its geometry."""
    stride, dilation = _pair(stride), _pair(dilation)
    top, left, bottom, right = sides(
        padding if isinstance(padding, str) else _pair(padding), weight.shape[2:], dilation
    )
    if (top, left) == (bottom, right):
        return x, Geometry("conv", stride, (top, left), dilation, groups)
    return F.pad(x, (left, right, top, bottom)), Geometry("conv", stride, (0, 0), dilation, groups)


def _pair(value: Any) -> tuple[int, int]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values[0], values[-1]


class EmulatedConv2d(nn.Conv2d):
    """An nn.Conv2d that multiplies with its arithmetic's multiplier; same `weight` and `bias`, so checkpoints fit."""

    core: Emulation

    @classmethod
    def of(cls, layer: nn.Conv2d, core: Emulation) -> EmulatedConv2d:
        """Takes over the layer's parameters (the same tensors), hooks and mode."""
        return _recast(cls, layer, core)

    def geometry(self) -> Geometry:
        """What the engines see; padding that they do not know is put on before, by `padded`."""
        stride, dilation = (self.stride[0], self.stride[1]), (self.dilation[0], self.dilation[1])
        padding = (0, 0) if self._pads_before() else self._sides()[:2]
        return Geometry("conv", stride, padding, dilation, self.groups)

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """`x` with the padding that is no symmetric border of zeros. A zero put on here has the code zx as well."""
        if not self._pads_before():
            return x
        top, left, bottom, right = self._sides()
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(x, (left, right, top, bottom), mode=mode)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return conv2d(self.core, self.padded(input), self.weight, self.bias, self.geometry())

    def _sides(self) -> tuple[int, int, int, int]:
        return sides(self.padding, self.kernel_size, self.dilation)

    def _pads_before(self) -> bool:
        top, left, bottom, right = self._sides()
        return self.padding_mode != "zeros" or (top, left) != (bottom, right)


class EmulatedLinear(nn.Linear):
    """An nn.Linear that multiplies with its arithmetic's multiplier; same `weight` and `bias`, so checkpoints fit."""

    core: Emulation

    @classmethod
    def of(cls, layer: nn.Linear, core: Emulation) -> EmulatedLinear:
        """Takes over the layer's parameters (the same tensors), hooks and mode."""
        return _recast(cls, layer, core)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return linear(self.core, input, self.weight, self.bias)


def _recast(cls: Any, layer: nn.Module, core: Emulation) -> Any:
    emulated = cls.__new__(cls)
    emulated.__dict__ = {**layer.__dict__, "core": core}  # parameters, buffers, hooks, settings: all in __dict__
    return emulated
