"""A sum of products of 8-bit digits, from activation to result: one pass over the activation, int8 convolutions, one
pass over the result.

    acc[o] = sum over taps and k of u[k][x] * v[k][o, tap]  +  sum over taps of addend[x]  +  constant[o]

The first native kernel quantises, looks up all u[k] and writes them channels last with the halo filled in, and sums the
addend over the channels; the last adds parts, box sums and constants as integers, rounds once and scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from carrysave import native
from carrysave.engines import costs
from carrysave.engines.images import Window, image_of, result_of
from carrysave.engines.int8 import Int8Convolution, is_exact
from carrysave.engines.problem import Problem
from carrysave.engines.sums import LIMITS, cuts_of
from carrysave.quantizers import Quantizer

MOST_PARTS = 8
INT32 = 1 << 31
CHUNK = 1 << 20  # bytes of results at a time and thread: they stay in the cache and in the heap's free memory


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


def obstacle(problem: Problem) -> str | None:
    """Why no fused layer can serve this problem, whatever its factors; None if one may."""
    if not native.available:
        return "the native module is not installed"
    if problem.weights.device.type != "cpu":
        return f"the layer is on {problem.weights.device}"
    fmt = problem.products.activation
    if fmt.high - fmt.low > 255:
        return f"the activation's codes, {fmt}, are wider than 8 bits"
    return None


def fused(problem: Problem, ingredients: Ingredients) -> FusedLayer | str:
    """The layer, or why int8 convolutions cannot compute it exactly."""
    rank, u, v = len(ingredients.u), ingredients.u, ingredients.v
    if not rank or not ingredients.constant.numel():
        return "there is nothing to multiply"
    if u.min() < 0 or u.max() > 255 or int(v.min()) < -128 or int(v.max()) > 127:
        return "a factor needs more than 8 bits"
    window = Window.of(problem.geometry, problem.weights)
    depthwise = window.groups > 1 and v.shape[2] == 1
    depth = v.shape[2] if depthwise else v.shape[2] * rank
    if not is_exact(Window(window.kernel, window.stride, (0, 0), window.dilation, window.groups), depth, v.shape[1]):
        return "oneDNN's int8 convolution saturates or is missing here"
    taps = v[0, 0].numel()
    if float(np.abs(ingredients.addend).max()) * taps >= INT32:
        return "a box sum may leave 32 bits"
    layer = FusedLayer(problem, window, ingredients)
    if layer.obstacle:
        return layer.obstacle
    return layer


class FusedLayer:
    """A conv or linear problem.

    Attributes:
        parts: int8 convolutions per call, besides the rank in each: of channels, so that each is exact, and of factors
            in a depthwise layer.
        bound: the largest magnitude of a sum of products.
        obstacle: why it cannot be used, or None.
    """

    def __init__(self, problem: Problem, window: Window, ingredients: Ingredients):
        self._geometry, self._window = problem.geometry, window
        self._zero, fmt = problem.activation_zero, problem.products.activation
        self._low, self._high = fmt.low, fmt.high
        rank, outputs, depth = ingredients.v.shape[:3]
        self.rank, self._outputs, self._depth = rank, outputs, depth
        self._layout = "blocks" if window.groups == 1 else "planes" if depth == 1 else "interleaved"
        self._u = np.zeros((rank, 256), np.uint8)
        self._u[:, : ingredients.u.shape[1]] = ingredients.u
        constant_addend = bool((ingredients.addend == ingredients.addend[0]).all())
        taps = ingredients.v[0, 0].numel()
        shared = int(ingredients.addend[0]) * taps if constant_addend else 0
        self._constant = (ingredients.constant + shared).contiguous()
        self._addend: np.ndarray | None = None
        if not constant_addend:
            self._addend = np.zeros(256, np.int32)
            self._addend[: len(ingredients.addend)] = ingredients.addend
        self.obstacle = self._split(ingredients)
        box = 0 if self._addend is None else float(np.abs(ingredients.addend).max()) * taps
        self._reach = self.bound + box + float(self._constant.abs().max())
        if self._reach >= 2.0**62:
            self.obstacle = "sums might leave int64"

    def _split(self, ingredients: Ingredients) -> str | None:
        v, top = ingredients.v, torch.from_numpy(ingredients.u.max(1)).reshape(-1, 1, 1, 1, 1)
        # u is not negative, so a sum lies between that of the negative products and that of the positive ones
        ends = torch.cat([(v.clamp(min=0) * top), (-v.clamp(max=0) * top)], dim=1).to(torch.float64)
        if self._layout == "planes":
            self._convolutions = [Int8Convolution(row, self._unpadded()) for row in v]
            self._spans, self.parts = [(0, v.shape[2])], len(v)
            self.bound = float(ends.sum((2, 3, 4)).amax(1).sum())
            return None if float(ends.sum((2, 3, 4)).max()) <= LIMITS[torch.float32] else "a sum may leave 2^24"
        share = ends.sum((0, 3, 4))
        self.bound = float(share.sum(1).max())
        cuts = cuts_of(share, LIMITS[torch.float32])
        if cuts is None or len(cuts) > MOST_PARTS + 1 or (len(cuts) > 2 and self._window.groups > 1):
            self._convolutions, self._spans, self.parts = [], [], 0
            return f"|accumulator| up to {self.bound:.4g} would need too many parts of at most 2^24"
        self._spans = list(zip(cuts, cuts[1:], strict=False))
        self.parts = len(self._spans)
        self._convolutions = [Int8Convolution(self._stacked(v[:, :, a:b]), self._unpadded()) for a, b in self._spans]
        return None

    def _stacked(self, v: torch.Tensor) -> torch.Tensor:
        order = (1, 0, 2, 3, 4) if self._layout == "blocks" else (1, 2, 0, 3, 4)
        return v.permute(order).reshape(v.shape[1], -1, *v.shape[3:])

    def _unpadded(self) -> Window:
        w = self._window
        return Window(w.kernel, w.stride, (0, 0), w.dilation, w.groups)

    @property
    def cost(self) -> float:
        passes = self.parts if self._layout == "planes" else self.rank * self.parts
        narrow = self._addend is not None and self._layout != "blocks" and self._depth % 4 > 0
        return costs.INT8_LAYER + costs.INT8_PASS * passes + costs.NARROW_BOX * narrow

    @property
    def how(self) -> str:
        parts = "one pass" if self.parts == 1 else f"{self.parts} parts"
        return f"int8 in {parts}, |accumulator| at most {self.bound:.4g}"

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        from carrysave._native import expand_codes

        image = image_of((codes - self._low).to(torch.uint8), self._geometry)

        def expand(part: torch.Tensor, *rest: Any) -> None:
            expand_codes(part.numpy(), self._zero - self._low, *rest)

        return result_of(self._run(image, expand, None, torch.int64), self._geometry, codes)

    def layer(self, x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        from carrysave._native import expand_values

        image = image_of(x.detach(), self._geometry)
        step = float(quantizer.scale)

        def expand(part: torch.Tensor, *rest: Any) -> None:
            expand_values(part.numpy(), step, self._zero, self._low, self._high, *rest)

        scales = scale.expand(self._outputs).contiguous().numpy()
        return result_of(self._run(image, expand, scales, torch.float32), self._geometry, x)

    def _run(self, image: torch.Tensor, expand: Any, scales: np.ndarray | None, dtype: torch.dtype) -> torch.Tensor:
        from carrysave._native import finish

        rows, columns = self._window.output(*image.shape[2:])
        out = torch.empty((len(image), self._outputs, rows, columns), dtype=dtype)
        if not out.numel():
            return out
        threads = torch.get_num_threads()
        images = max(1, threads * CHUNK // (4 * self._outputs * rows * columns))
        for i in range(0, len(image), images):
            parts, box = self._products(image[i : i + images], expand)
            chunk = out[i : i + images].numpy()
            finish(parts, box, self._constant.numpy(), scales, self._reach, chunk, threads)
        return out

    def _products(self, image: torch.Tensor, expand: Any) -> tuple[list[np.ndarray], np.ndarray | None]:
        """The convolutions' results [N, H', W', O] and the box sums [N, groups, H', W']."""
        n, channels, h, w = image.shape
        py, px = self._window.padding
        height, width = h + 2 * py, w + 2 * px
        sums = total = None
        if self._addend is not None:
            total = sums = torch.empty((n, self._window.groups, height, width), dtype=torch.int32)
        results = []
        for i, (a, b) in enumerate(self._spans):
            part = image if len(self._spans) == 1 else image[:, a:b].contiguous()
            digits = torch.empty(self.rank * n * height * width * part.shape[1], dtype=torch.uint8)
            if i and sums is not None:
                sums = torch.empty_like(sums)
            expand(
                part, (py, px), self._u, self._layout, digits.numpy(), self._addend,
                None if sums is None else sums.numpy(), torch.get_num_threads(),
            )  # fmt: skip
            if i and total is not None and sums is not None:
                total += sums
            if self._layout == "planes":
                planes = digits.reshape(self.rank, n, height, width, channels).permute(0, 1, 4, 2, 3)
                results += [c(plane) for c, plane in zip(self._convolutions, planes, strict=True)]
            else:
                results.append(self._convolutions[i](digits.reshape(n, height, width, -1).permute(0, 3, 1, 2)))
        views = [r.permute(0, 2, 3, 1).contiguous().numpy() for r in results]
        return views, None if total is None else self._box(total)

    def _box(self, sums: torch.Tensor) -> np.ndarray:
        from carrysave._native import box_sum

        w = self._window
        if w.kernel == (1, 1) and w.stride == (1, 1):
            return sums.numpy()
        rows, columns = self._unpadded().output(*sums.shape[2:])
        box = torch.empty((*sums.shape[:2], rows, columns), dtype=torch.int32)
        box_sum(sums.numpy(), box.numpy(), w.kernel, w.stride, w.dilation, torch.get_num_threads())
        return box.numpy()
