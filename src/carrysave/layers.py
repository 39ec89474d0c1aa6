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
calibrated and stay. The gradient is straight-through: that of the float layer at the represented values, zero where a
value saturates.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from carrysave.engines.plan import Plan, prepare
from carrysave.engines.problem import Geometry, Prepared, Problem, Products
from carrysave.quantizers import Quantizer, quantizer_of_weights
from carrysave.recipes import Arithmetic

LARGEST_BIAS = 2.0**62


class Emulation:
    """What makes a layer integer: its arithmetic and calibrated activation scale, and the engine for its weights.

    Attributes:
        layer: the layer's name, for messages.
        activation: the activation's quantizer (calibrated).
        weight: the second operand's quantizer if that is calibrated too (a matmul) or stated by the model; else
            computed from the weights.
        plan: of the last preparation; None before the first.
    """

    def __init__(
        self,
        layer: str,
        arithmetic: Arithmetic,
        activation: Quantizer,
        engine: str | None = None,
        weight: Quantizer | None = None,
    ):
        self.layer, self.arithmetic, self.engine = layer, arithmetic, engine
        self.activation, self.weight = activation, weight
        self.products = Products(*arithmetic.parts)
        self.plan: Plan | None = None
        self._key: tuple[Any, ...] | None = None
        self._kept: tuple[Prepared, Quantizer, torch.Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_key": None, "_kept": None}  # the engine holds tables and closures; it is made again

    def prepared(
        self, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> tuple[Prepared, Quantizer, torch.Tensor]:
        """The engine for these very weights, their quantizer, and the layer's output scale."""
        key = (geometry, weight.device)
        if self._kept is None or self._key is None or self._key[0] != key or not self._same(weight, bias):
            self._kept = self._prepare(weight.detach(), None if bias is None else bias.detach(), geometry)
            old_bias = None if bias is None else bias.detach().clone()
            self._key = (key, weight.detach().clone(memory_format=torch.contiguous_format), old_bias)
        return self._kept

    def prepared_matmul(self) -> tuple[Prepared, Quantizer, torch.Tensor]:
        """The engine for two operands that both come with the call."""
        assert self.weight is not None
        if self._kept is None:
            problem = Problem(
                self.products,
                Geometry("matmul"),
                None,
                int(self.activation.zero),
                self.weight.zero,
            )
            self.plan, engine = self._planned(problem)
            self._kept = engine, self.weight, self.activation.scale * self.weight.scale
        return self._kept

    def check_activation(self, x: torch.Tensor) -> None:
        """Raises ValueError, naming the layer, where an activation is not finite."""
        self._check_finite(x, "an activation")

    def activation_codes(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of an activation; raises like `check_activation`."""
        self.check_activation(x)
        return self.activation.codes(x)

    def weight_codes(self, w: torch.Tensor) -> torch.Tensor:
        """Codes of a matmul's second operand."""
        assert self.weight is not None
        self._check_finite(w, "the second operand")
        return self.weight.codes(w)

    def _same(self, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
        assert self._key is not None
        _, old_weight, old_bias = self._key
        if (bias is None) != (old_bias is None) or weight.shape != old_weight.shape:
            return False
        if bias is not None and not torch.equal(bias, old_bias):
            return False
        # every weight, for changes through .data leave no other trace; it costs a pass over the weights
        return torch.equal(weight, old_weight)

    def _prepare(
        self, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
    ) -> tuple[Prepared, Quantizer, torch.Tensor]:
        self._check_finite(weight, "a weight")
        _, _, fmt = self.arithmetic.parts
        ranges: Any = self.arithmetic.ranges
        quantizer = self.weight or quantizer_of_weights(weight, fmt, ranges, self.arithmetic.weight_scales)
        scale = (self.activation.scale * quantizer.scale).to(weight.device)
        integer = torch.zeros((), dtype=torch.int64, device=weight.device)
        if bias is not None:
            self._check_finite(bias, "a bias")
            units = torch.round(bias.to(torch.float64) / scale.to(torch.float64))
            if units.numel() and float(units.abs().max()) >= LARGEST_BIAS:
                raise ValueError(
                    f"layer {self.layer!r}: a bias is {float(units.abs().max()):.3g} times the product of the scales,"
                    " more than the accumulator holds; calibrate with the data that the layer will see"
                )
            integer = units.to(torch.int64)
        problem = Problem(
            self.products,
            geometry,
            quantizer.codes(weight),
            int(self.activation.zero),
            quantizer.zero.to(weight.device),
            integer,
        )
        self.plan, engine = self._planned(problem)
        return engine, quantizer, scale

    def _planned(self, problem: Problem) -> tuple[Plan, Prepared]:
        try:
            return prepare(problem, self.engine)
        except ValueError as error:
            raise ValueError(f"layer {self.layer!r}: {error}") from error

    def _check_finite(self, x: torch.Tensor, what: str) -> None:
        # a sum is infinite or NaN if a term is, and costs one pass; only then look closer
        if x.numel() and not bool(torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else None))):
            bad = int((~torch.isfinite(x)).sum())
            if bad:
                raise ValueError(f"layer {self.layer!r}: {what} is NaN or infinite ({bad} of {x.numel()} values)")


def rescaled(acc: torch.Tensor, scale: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The layer's result: the integer rounded once to float32, times the scale (per channel along dimension 1)."""
    if scale.ndim:
        scale = scale.reshape(-1, *(1,) * (acc.ndim - 2))
    return (acc.to(torch.float32) * scale).to(like.dtype)


class _Product(torch.autograd.Function):
    """Conv or linear: forward in integers, backward of the float layer at the represented values."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, core: Emulation, geometry: Geometry,
        ready: tuple[Prepared, Quantizer, torch.Tensor],
    ) -> torch.Tensor:  # fmt: skip
        engine, quantizer, scale = ready
        ctx.save_for_backward(x, weight)
        ctx.core, ctx.geometry, ctx.quantizer, ctx.has_bias = core, geometry, quantizer, bias is not None
        if engine.layer is not None and x.dtype == torch.float32 and x.device.type == "cpu":
            core.check_activation(x)
            return engine.layer(x, core.activation, scale)
        return rescaled(engine(core.activation_codes(x)), scale, x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        activation, quantizer, g = ctx.core.activation, ctx.quantizer, ctx.geometry
        grad = grads[0].contiguous()
        x_values = activation.values(activation.codes(x)).to(x.dtype)
        w_values = quantizer.values(quantizer.codes(weight)).to(weight.dtype)
        need_x, need_w, need_b = ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2]
        if g.kind == "linear":
            grad_x = grad @ w_values if need_x else None
            grad_w = grad.T @ x_values if need_w else None
        else:
            grad_x, grad_w, _ = torch.ops.aten.convolution_backward(
                grad, x_values, w_values, None, g.stride, g.padding, g.dilation, False, (0, 0), g.groups,
                (need_x, need_w, False),
            )  # fmt: skip
        if grad_x is not None:
            grad_x = grad_x * activation.inside(x)
        if grad_w is not None:
            grad_w = grad_w * quantizer.inside(weight)
        axes = [d for d in range(grad.ndim) if d != 1]
        return grad_x, grad_w, grad.sum(axes) if need_b and ctx.has_bias else None, None, None, None


class _Matmul(torch.autograd.Function):
    """[B, M, K] @ [B, K, O], both activations."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, core: Emulation) -> torch.Tensor:
        engine, _, scale = core.prepared_matmul()
        ctx.save_for_backward(x, w)
        ctx.core = core
        return rescaled(engine(core.activation_codes(x), core.weight_codes(w)), scale, x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        x, w = ctx.saved_tensors
        left, right = ctx.core.activation, ctx.core.weight
        grad_x = grads[0] @ right.values(right.codes(w)).to(w.dtype).mT * left.inside(x)
        grad_w = left.values(left.codes(x)).to(x.dtype).mT @ grads[0] * right.inside(w)
        return grad_x, grad_w, None


def conv2d(
    core: Emulation, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """[N, C, H, W] or [C, H, W], like F.conv2d."""
    if x.ndim == 3:
        return conv2d(core, x[None], weight, bias, geometry)[0]
    _check_channels(core, x, 1, weight.shape[1] * geometry.groups)
    ready = core.prepared(weight, bias, geometry)
    return _Product.apply(x, weight, bias, core, geometry, ready)  # type: ignore[return-value]


def linear(core: Emulation, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """[..., K] to [..., O], like F.linear."""
    _check_channels(core, x, x.ndim - 1, weight.shape[1])
    geometry = Geometry("linear")
    ready = core.prepared(weight, bias, geometry)
    rows = _Product.apply(x.reshape(-1, x.shape[-1]), weight, bias, core, geometry, ready)
    return rows.reshape(*x.shape[:-1], weight.shape[0])  # type: ignore[union-attr]


def matmul(core: Emulation, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Like torch.matmul, for all its shapes of one dimension and more, with broadcasting."""
    left, right = x[None] if x.ndim == 1 else x, w[:, None] if w.ndim == 1 else w
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    result = _Matmul.apply(
        left.expand(*batch, *left.shape[-2:]).reshape(-1, *left.shape[-2:]),
        right.expand(*batch, *right.shape[-2:]).reshape(-1, *right.shape[-2:]),
        core,
    )
    result = result.reshape(*batch, *result.shape[-2:])  # type: ignore[union-attr]
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


def _check_channels(core: Emulation, x: torch.Tensor, dimension: int, expected: int) -> None:
    if x.shape[dimension] != expected:
        raise ValueError(f"layer {core.layer!r}: {expected} input channels expected, got a tensor {tuple(x.shape)}")


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
