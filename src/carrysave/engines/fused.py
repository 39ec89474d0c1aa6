"""A sum of products of 8-bit digits, from activation to result, in one native pass (native/digits.h).

    acc[o] = sum over taps and k of u[k][x] * v[k][o, tap]  +  sum over taps of addend[x]  +  constant[o]

The kernel quantises, looks up all u[k] with the halo filled in, and sums the addend over the channels; multiplies and
adds in 32 bits, and in 64 where a sum may leave them; adds box sums and constants, rounds once and scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from carrysave import native
from carrysave.engines import costs
from carrysave.engines.images import Window, result_of
from carrysave.engines.problem import Problem
from carrysave.quantizers import Quantizer

INT32 = 1 << 31


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What a fused layer computes, in the words above.

    Attributes:
        u: int64 [rank, activation codes], each of 0 to 255.
        v: int64 [rank, O, C / groups, kh, kw], each of -128 to 127.
        addend: int64 [activation codes].
        constant: int64 [O].
    """

    u: np.ndarray
    v: torch.Tensor
    addend: np.ndarray
    constant: torch.Tensor


def obstacle(problem: Problem, most_bits: int = 8) -> str | None:
    """Why no native layer of digits can serve this problem, whatever its factors; None if one may."""
    if not native.available:
        return "the native module is not installed"
    if problem.weights.device.type != "cpu":
        return f"the layer is on {problem.weights.device}"
    fmt = problem.products.activation
    if fmt.high - fmt.low >= 1 << most_bits:
        return f"the activation's codes, {fmt}, are wider than {most_bits} bits"
    return None


def fused(problem: Problem, ingredients: Ingredients) -> FusedLayer | str:
    """The layer, or why int8 convolutions cannot compute it exactly."""
    u, v = ingredients.u, ingredients.v
    if not len(u) or not v.numel():
        return "there is nothing to multiply"
    if u.min() < 0 or u.max() > 255 or int(v.min()) < -128 or int(v.max()) > 127:
        return "a factor needs more than 8 bits"
    if float(np.abs(ingredients.addend).max()) * v[0, 0].numel() >= INT32:
        return "a box sum may leave 32 bits"
    layer = FusedLayer(problem, ingredients)
    return "sums might leave int64" if layer.reach >= 2.0**62 else layer


class FusedLayer:
    """A conv or linear problem.

    Attributes:
        rank: int8 convolutions per call, all in one.
        bound: the largest magnitude of a sum of products.
        reach: the largest magnitude of an accumulator, or of a part of its sum.
    """

    def __init__(self, problem: Problem, ingredients: Ingredients):
        from carrysave._native import DigitWeights

        self._geometry, self._window = problem.geometry, Window.of(problem.geometry, problem.weights)
        self._zero, fmt = problem.activation_zero, problem.products.activation
        self._low, self._high = fmt.low, fmt.high
        u, v = ingredients.u, ingredients.v
        self.rank, self._outputs, self._depth = v.shape[:3]
        self._u = np.zeros((self.rank, 256), np.uint8)
        self._u[:, : u.shape[1]] = u
        taps = v[0, 0].numel()
        constant_addend = bool((ingredients.addend == ingredients.addend[0]).all())
        shared = int(ingredients.addend[0]) * taps if constant_addend else 0
        self._constant = (ingredients.constant + shared).contiguous().numpy()
        self._addend = None if constant_addend else _continued(ingredients.addend)
        # u is not negative, so a sum lies between that of the negative products and that of the positive ones
        top = torch.from_numpy(u.max(1)).reshape(-1, 1, 1, 1, 1)
        ends = [(part * top).to(torch.float64).sum((0, 2, 3, 4)) for part in (v.clamp(min=0), -v.clamp(max=0))]
        self.bound = float(torch.cat(ends).max())
        box = 0 if constant_addend else float(np.abs(ingredients.addend).max()) * taps
        self.reach = self.bound + box + float(np.abs(self._constant).max())
        passes = [(k, 0) for k in range(self.rank)]
        digits = v.to(torch.int8).contiguous().numpy()
        self._weights = DigitWeights(digits, passes, self._window.groups, self._u.max(1))

    @property
    def cost(self) -> float:
        if self._depth == 1 and self._window.groups > 1:
            return costs.DEPTHWISE_LAYER + costs.DEPTHWISE_PASS * self.rank
        return costs.INT8_LAYER + costs.INT8_PASS * self.rank

    @property
    def how(self) -> str:
        ranges = f" in {self._weights.blocks} ranges of 32 bits" if self._weights.blocks > 1 else ""
        return f"int8 in one pass, |accumulator| at most {self.bound:.4g}{ranges}"

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        from carrysave._native import digit_sums

        image = self._image((codes - self._low).to(torch.uint8))
        out = self._empty(image, torch.int64)
        if out.numel():
            digit_sums(self._weights, image.numpy(), self._zero - self._low, out.numpy(), *self._shared(), *self._end())
        return self._result(out, codes)

    def layer(self, x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        from carrysave._native import digit_layer

        image = self._image(x.detach())
        out = self._empty(image, torch.float32)
        scales = scale.expand(self._outputs).contiguous().numpy()
        grid = float(quantizer.scale), self._zero, self._low, self._high
        if out.numel():
            digit_layer(self._weights, image.numpy(), *grid, out.numpy(), *self._shared(), *self._end(scales))
        return self._result(out, x)

    def _image(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of a matrix are images of one pixel."""
        return (x[:, :, None, None] if self._geometry.kind == "linear" else x).contiguous()

    def _empty(self, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty((len(image), self._outputs, *self._window.output(*image.shape[2:])), dtype=dtype)

    def _result(self, out: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return out[:, :, 0, 0] if self._geometry.kind == "linear" else result_of(out, self._geometry, like)

    def _shared(self) -> tuple[Any, ...]:
        w = self._window
        return w.stride, w.padding, w.dilation, self._u, self._addend, self._constant, self.reach

    def _end(self, *scales: np.ndarray) -> tuple[Any, ...]:
        return *scales, torch.get_num_threads()


def _continued(addend: np.ndarray) -> np.ndarray:
    """int32 [256]: codes that there are not go on as the last two, so that an affine function stays one."""
    rest = np.arange(1, 257 - len(addend)) * (addend[-1] - addend[-2])
    return np.concatenate([addend, addend[-1] + rest]).astype(np.int32)
