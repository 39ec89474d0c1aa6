"""Matrix products that a model computes by function call (attention, F.linear, F.conv2d), caught and named.

A torch function mode sees the calls; hooks on the modules say in which module the model is. A call is named by that
module's path and its index among the module's calls in one forward pass: "blocks.0.attention.matmul1". A scaled dot
product attention counts as two matmuls, nn.MultiheadAttention as the F.linear and matmul calls that it consists of.

torch.compile, with fullgraph too, and torch.export trace through mode and hooks. What they cannot do: torch.export with
strict=True, which is refused (`STRICT_EXPORT`).
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

_MATMULS = {
    torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm,
    torch.mv, torch.Tensor.mv,
}  # fmt: skip
_REVERSED = {torch.Tensor.__rmatmul__}
_UNSUPPORTED = {
    torch.einsum: "einsum", torch.addmm: "addmm", torch.Tensor.addmm: "addmm", torch.baddbmm: "baddbmm",
    torch.Tensor.baddbmm: "baddbmm", torch.tensordot: "tensordot", torch.dot: "dot", torch.Tensor.dot: "dot",
    torch.inner: "inner", F.bilinear: "bilinear", torch.conv1d: "conv1d", torch.conv3d: "conv3d",
    torch.conv_transpose1d: "conv_transpose1d", torch.conv_transpose2d: "conv_transpose2d",
    torch.conv_transpose3d: "conv_transpose3d", F.multi_head_attention_forward: "multi_head_attention",
    torch.addmv: "addmv", torch.Tensor.addmv: "addmv", torch.addbmm: "addbmm", torch.Tensor.addbmm: "addbmm",
    torch.vdot: "vdot", torch.Tensor.vdot: "vdot", torch.Tensor.inner: "inner", torch.linalg.vecdot: "vecdot",
    torch.linalg.matmul: "linalg_matmul", torch.chain_matmul: "chain_matmul", torch.linalg.multi_dot: "multi_dot",
}  # fmt: skip
_ATTENTION = tuple(inspect.signature(F.multi_head_attention_forward).parameters)
Matmul = Callable[[str, torch.Tensor, torch.Tensor], torch.Tensor]
STRICT_EXPORT = (
    "torch.export with strict=True does not show `a @ b` to a torch function mode, so products would be missed;"
    " use strict=False, its default"
)
OWN_CALLS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Bilinear,
)


class Handler(ABC):
    """What to do with a call once it is named; each method gives the call's result."""

    @abstractmethod
    def matmul(self, name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def linear(self, name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor: ...

    @abstractmethod
    def conv2d(
        self, name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, **how: Any
    ) -> torch.Tensor: ...

    def other(self, name: str, kind: str) -> None:  # noqa: B027 - for a handler that lists them
        """A product that is not emulated; it is then computed in float."""


class Tracker:
    """Follows a model through its modules and hands its functional products to a handler.

    Hooks are plain objects, so a model with a tracker can be copied and pickled.
    """

    def __init__(self, handler: Handler):
        self.handler = handler
        self._stack: list[tuple[str, bool, dict[str, int]]] = []
        self._modes: list[_Mode] = []

    def attach(self, model: nn.Module) -> list[Any]:
        """Hooks on every module; gives the handles that remove them."""
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(_Enter(self, name)))
            handles.append(module.register_forward_hook(_Leave(self, name), always_call=True))
        return handles

    def enter(self, name: str, owns_calls: bool) -> None:
        if not self._stack:
            if torch.compiler.is_exporting() and torch.compiler.is_dynamo_compiling():
                raise ValueError(STRICT_EXPORT)
            mode = _Mode(self)
            mode.__enter__()
            self._modes.append(mode)
        self._stack.append((name, owns_calls, {}))

    def leave(self, name: str) -> None:
        if self._stack and self._stack[-1][0] == name:
            self._stack.pop()
        if not self._stack and self._modes:
            self._modes.pop().__exit__(None, None, None)

    @property
    def inside_layer(self) -> bool:
        """True inside a layer that is itself the unit of emulation: its own calls are not functional ones."""
        return not self._stack or self._stack[-1][1]

    def name(self, kind: str) -> str:
        """The next name for a call of this kind in the present module."""
        path, _, counts = self._stack[-1]
        counts[kind] = counts.get(kind, 0) + 1
        return f"{path}{'.' if path else ''}{kind}{counts[kind] - 1}"

    def __getstate__(self) -> dict[str, Any]:
        return {"handler": self.handler, "_stack": [], "_modes": []}


class _Enter:
    def __init__(self, tracker: Tracker, name: str):
        self.tracker, self.name = tracker, name

    def __call__(self, module: nn.Module, args: Any) -> None:
        self.tracker.enter(self.name, isinstance(module, OWN_CALLS))


class _Leave:
    def __init__(self, tracker: Tracker, name: str):
        self.tracker, self.name = tracker, name

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self.tracker.leave(self.name)


class _Mode(TorchFunctionMode):
    def __init__(self, tracker: Tracker):
        super().__init__()
        self.tracker = tracker

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if self.tracker.inside_layer:
            return func(*args, **kwargs)
        if kwargs.get("out") is not None and func in _MATMULS:
            self.tracker.handler.other(self.tracker.name("matmul_out"), "matmul_out")
            return func(*args, **kwargs)
        if func in _MATMULS:
            return self._matmul(*args, **kwargs)
        if func in _REVERSED:
            return self._matmul(args[1], args[0])
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func in (F.conv2d, torch.conv2d):
            return self._conv2d(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return attention(self._matmul, *args, **kwargs)
        if func is F.multi_head_attention_forward and not unusual_attention(*args, **kwargs):
            return multi_head_attention(self._linear, self._matmul, *args, **kwargs)
        if func in _UNSUPPORTED:
            kind = _UNSUPPORTED[func]
            self.tracker.handler.other(self.tracker.name(kind), kind)
        return func(*args, **kwargs)

    def _matmul(self, input: torch.Tensor, other: torch.Tensor | None = None, **names: Any) -> torch.Tensor:
        second = other if other is not None else next(names[k] for k in ("mat2", "vec", "tensor2") if k in names)
        return self.tracker.handler.matmul(self.tracker.name("matmul"), input, second)

    def _linear(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return self.tracker.handler.linear(self.tracker.name("linear"), input, weight, bias)

    def _conv2d(
        self,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> torch.Tensor:
        name = self.tracker.name("conv2d")
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return self.tracker.handler.conv2d(name, input, weight, bias, **how)


def attention(
    matmul: Callable[..., torch.Tensor],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """F.scaled_dot_product_attention as its documentation defines it, with the two products by `matmul`."""
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scores = matmul(query, key.transpose(-2, -1)) * (1 / math.sqrt(query.size(-1)) if scale is None else scale)
    if is_causal:
        visible = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~visible, -math.inf)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        else:
            scores = scores + attn_mask
    weights = F.dropout(torch.softmax(scores, -1), dropout_p, training=dropout_p > 0)
    return matmul(weights, value)


def multi_head_attention(
    linear: Callable[..., torch.Tensor],
    matmul: Callable[..., torch.Tensor],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: torch.Tensor | None,
    in_proj_bias: torch.Tensor | None,
    bias_k: torch.Tensor | None,
    bias_v: torch.Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None,
    training: bool = True,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: torch.Tensor | None = None,
    k_proj_weight: torch.Tensor | None = None,
    v_proj_weight: torch.Tensor | None = None,
    static_k: torch.Tensor | None = None,
    static_v: torch.Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """F.multi_head_attention_forward: three projections, two matmuls per batch of heads, one projection."""
    batched = query.ndim == 3
    if not batched:
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
    if use_separate_proj_weight:
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = in_proj_weight.chunk(3)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    heads = []
    for x, weight, bias in zip((query, key, value), weights, biases, strict=True):
        projected = linear(x, weight, bias)  # [length, batch, embedding]
        heads.append(projected.reshape(*projected.shape[:2], num_heads, -1).permute(1, 2, 0, 3))
    q, k, v = heads
    scores = matmul(q, k.mT) / math.sqrt(q.shape[-1])
    scores = _masked(scores, attn_mask, key_padding_mask)
    probabilities = torch.softmax(scores, -1)
    mixed = matmul(F.dropout(probabilities, dropout_p, training=training), v)
    mixed = mixed.permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], embed_dim_to_check)
    output = linear(mixed, out_proj_weight, out_proj_bias)
    if average_attn_weights:
        probabilities = probabilities.mean(1)
    if not batched:
        output, probabilities = output.squeeze(1), probabilities.squeeze(0)
    return output, probabilities if need_weights else None


def unusual_attention(*args: Any, **kwargs: Any) -> bool:
    """True for arguments of F.multi_head_attention_forward that `multi_head_attention` leaves to torch: added biases of
    keys and values, an added zero, static keys.
    """
    given = {**dict(zip(_ATTENTION, args, strict=False)), **kwargs}
    extra = ("bias_k", "bias_v", "static_k", "static_v")
    return bool(given.get("add_zero_attn")) or any(given.get(name) is not None for name in extra)


def _masked(
    scores: torch.Tensor, attn_mask: torch.Tensor | None, key_padding_mask: torch.Tensor | None
) -> torch.Tensor:
    """Scores [batch, heads, target, source] with nn.MultiheadAttention's masks: True, or added -inf, hides."""
    if attn_mask is not None:
        if attn_mask.ndim == 3:
            attn_mask = attn_mask.reshape(-1, scores.shape[1], *attn_mask.shape[1:])
        hidden = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(attn_mask, -math.inf) if hidden else scores + attn_mask
    if key_padding_mask is not None:
        mask = key_padding_mask.reshape(scores.shape[0], 1, 1, -1)
        scores = scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores
