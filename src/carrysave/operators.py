"""Emulated products as torch operators: torch.compile, torch.export and autograd see one node for each.

    carrysave::conv2d(x, weight, bias, setting, stride, padding, dilation, groups) -> y
    carrysave::linear(x, weight, bias, setting) -> y
    carrysave::matmul(x, w, setting) -> y

and for each of them one operator per gradient. `setting` is the text of settings.py. What an operator computes, in
integers, is said in layers.py. They are registered for every device; an engine that cannot serve one says so.

A program that was exported holds these nodes; import this module before it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from carrysave import gradients
from carrysave.engines.problem import Geometry, Prepared
from carrysave.preparation import preparations_of
from carrysave.quantizers import Quantizer
from carrysave.settings import Setting

WINDOW = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups"
LINEAR = Geometry("linear")


def rescaled(acc: torch.Tensor, scale: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The layer's result: the integer rounded once to float32, times the scale (per channel along dimension 1)."""
    if scale.ndim:
        scale = scale.reshape(-1, *(1,) * (acc.ndim - 2))
    return (acc.to(torch.float32) * scale).to(like.dtype)


def _register(name: str, schema: str) -> Any:
    return torch.library.custom_op(f"carrysave::{name}", mutates_args=(), schema=schema)


@_register("conv2d", f"(Tensor x, Tensor weight, Tensor? bias, str setting, {WINDOW}) -> Tensor")
def conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, setting: str,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int,
) -> torch.Tensor:  # fmt: skip
    """[N, C, H, W] to [N, O, H', W'], like F.conv2d."""
    geometry = _geometry(stride, padding, dilation, groups)
    return _product(x, weight, bias, setting, geometry)


@_register("linear", "(Tensor x, Tensor weight, Tensor? bias, str setting) -> Tensor")
def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, setting: str) -> torch.Tensor:
    """[..., K] to [..., O], like F.linear."""
    _check_channels(setting, x, x.ndim - 1, weight.shape[1])
    rows = _product(x.reshape(-1, x.shape[-1]), weight, bias, setting, LINEAR)
    return rows.reshape(*x.shape[:-1], weight.shape[0])


@_register("matmul", "(Tensor x, Tensor w, str setting) -> Tensor")
def matmul(x: torch.Tensor, w: torch.Tensor, setting: str) -> torch.Tensor:
    """[B, M, K] @ [B, K, O], both activations."""
    kept = preparations_of(setting)
    ready = kept.matmul(x.device)
    codes = _codes(kept.setting, kept.setting.activation, x, "an activation")
    others = _codes(kept.setting, ready.quantizer, w, "the second operand")
    return rescaled(ready.engine(codes, others), ready.scale, x).contiguous()


def _product(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, text: str, geometry: Geometry
) -> torch.Tensor:
    kept = preparations_of(text)
    if geometry.kind == "conv":
        _check_channels(text, x, 1, weight.shape[1] * geometry.groups)
    ready = kept.of(weight, bias, geometry)
    engine: Prepared = ready.engine
    if engine.layer is not None and x.dtype == torch.float32 and x.device == weight.device:
        kept.setting.check_finite(x, "an activation")
        return engine.layer(x, kept.setting.activation, ready.scale).contiguous()
    codes = _codes(kept.setting, kept.setting.activation, x, "an activation")
    return rescaled(engine(codes), ready.scale, x).contiguous()


def _codes(setting: Setting, quantizer: Quantizer, x: torch.Tensor, what: str) -> torch.Tensor:
    setting.check_finite(x, what)
    return quantizer.beside(x).codes(x)


def _check_channels(text: str, x: torch.Tensor, dimension: int, expected: Any) -> None:
    if x.shape[dimension] != expected:
        layer = Setting.parse(text).layer
        raise ValueError(f"layer {layer!r}: {expected} input channels expected, got a tensor {tuple(x.shape)}")


def _geometry(stride: Any, padding: Any, dilation: Any, groups: int) -> Geometry:
    return Geometry("conv", tuple(stride), tuple(padding), tuple(dilation), groups)


@conv2d.register_fake
def _(x: Any, weight: Any, bias: Any, setting: str, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    _check_channels(setting, x, 1, weight.shape[1] * groups)
    size = [
        (x.shape[2 + d] + 2 * padding[d] - dilation[d] * (weight.shape[2 + d] - 1) - 1) // stride[d] + 1 for d in (0, 1)
    ]
    return x.new_empty((x.shape[0], weight.shape[0], *size))


@linear.register_fake
def _(x: Any, weight: Any, bias: Any, setting: str) -> Any:
    _check_channels(setting, x, x.ndim - 1, weight.shape[1])
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@matmul.register_fake
def _(x: Any, w: Any, setting: str) -> Any:
    return x.new_empty((x.shape[0], x.shape[1], w.shape[2]))


@_register("conv2d_input_gradient", f"(Tensor grad, Tensor x, Tensor weight, str setting, {WINDOW}) -> Tensor")
def conv2d_input_gradient(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, setting: str,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int,
) -> torch.Tensor:  # fmt: skip
    """The gradient of `conv2d` by x, like x."""
    return _input_gradient(grad, x, weight, setting, _geometry(stride, padding, dilation, groups))


@_register("conv2d_weight_gradient", f"(Tensor grad, Tensor x, Tensor weight, str setting, {WINDOW}) -> Tensor")
def conv2d_weight_gradient(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, setting: str,
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int,
) -> torch.Tensor:  # fmt: skip
    """The gradient of `conv2d` by the weights, like weight."""
    return _weight_gradient(grad, x, weight, setting, _geometry(stride, padding, dilation, groups))


@_register("linear_input_gradient", "(Tensor grad, Tensor x, Tensor weight, str setting) -> Tensor")
def linear_input_gradient(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, setting: str) -> torch.Tensor:
    """The gradient of `linear` by x, like x."""
    rows = _input_gradient(grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1]), weight, setting, LINEAR)
    return rows.reshape(x.shape)


@_register("linear_weight_gradient", "(Tensor grad, Tensor x, Tensor weight, str setting) -> Tensor")
def linear_weight_gradient(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, setting: str) -> torch.Tensor:
    """The gradient of `linear` by the weights, like weight."""
    return _weight_gradient(grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1]), weight, setting, LINEAR)


@_register("matmul_left_gradient", "(Tensor grad, Tensor x, Tensor w, str setting) -> Tensor")
def matmul_left_gradient(grad: torch.Tensor, x: torch.Tensor, w: torch.Tensor, setting: str) -> torch.Tensor:
    """The gradient of `matmul` by x, like x."""
    parsed = Setting.parse(setting)
    assert parsed.weight is not None
    left, right = parsed.activation.beside(x), parsed.weight.beside(w)
    return gradients.of_left(grad, x, w, left, right, parsed.slopes()[0])


@_register("matmul_right_gradient", "(Tensor grad, Tensor x, Tensor w, str setting) -> Tensor")
def matmul_right_gradient(grad: torch.Tensor, x: torch.Tensor, w: torch.Tensor, setting: str) -> torch.Tensor:
    """The gradient of `matmul` by w, like w."""
    parsed = Setting.parse(setting)
    assert parsed.weight is not None
    left, right = parsed.activation.beside(x), parsed.weight.beside(w)
    return gradients.of_right(grad, x, w, left, right, parsed.slopes()[1])


def _input_gradient(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, text: str, geometry: Geometry
) -> torch.Tensor:
    kept = preparations_of(text)
    quantizers = kept.setting.activation.beside(x), kept.quantizer(weight, geometry)
    return gradients.of_input(grad, x, weight, *quantizers, geometry, kept.setting.slopes()[0])


def _weight_gradient(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, text: str, geometry: Geometry
) -> torch.Tensor:
    kept = preparations_of(text)
    quantizers = kept.setting.activation.beside(x), kept.quantizer(weight, geometry)
    return gradients.of_weight(grad, x, weight, *quantizers, geometry, kept.setting.slopes()[1])


def _like_x(grad: Any, x: Any, weight: Any, *rest: Any) -> Any:
    return x.new_empty(x.shape)


def _like_weight(grad: Any, x: Any, weight: Any, *rest: Any) -> Any:
    return weight.new_empty(weight.shape)


for _operator in (conv2d_input_gradient, linear_input_gradient, matmul_left_gradient):
    _operator.register_fake(_like_x)
for _operator in (conv2d_weight_gradient, linear_weight_gradient, matmul_right_gradient):
    _operator.register_fake(_like_weight)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])
    ctx.rest = inputs[3:]


def _backward_of(by_input: Any, by_weight: Any) -> Any:
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        channels = 1 if by_input is conv2d_input_gradient else grad.ndim - 1
        return (
            by_input(grad, x, weight, *ctx.rest) if need_x else None,
            by_weight(grad, x, weight, *ctx.rest) if need_weight else None,
            grad.sum([d for d in range(grad.ndim) if d != channels]) if need_bias else None,
            *(None,) * len(ctx.rest),
        )

    return backward


def _remember_matmul(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])
    ctx.setting = inputs[2]


def _backward_of_matmul(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    x, w = ctx.saved_tensors
    need_x, need_w = ctx.needs_input_grad[:2]
    return (
        matmul_left_gradient(grad, x, w, ctx.setting) if need_x else None,
        matmul_right_gradient(grad, x, w, ctx.setting) if need_w else None,
        None,
    )


conv2d.register_autograd(_backward_of(conv2d_input_gradient, conv2d_weight_gradient), setup_context=_remember)
linear.register_autograd(_backward_of(linear_input_gradient, linear_weight_gradient), setup_context=_remember)
matmul.register_autograd(_backward_of_matmul, setup_context=_remember_matmul)
