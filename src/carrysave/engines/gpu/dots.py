"""Exact and factored layers on int8 tensor cores: digits of the activation by look-up, then an implicit matrix product.

The first kernel writes the digits channels last, halo included, in whole blocks of the depth; where a pixel's digits
would leave most of a block empty (few channels, depthwise), it writes each output's whole window instead. The second
adds them up in int32, adds box sums and constants, rounds once and scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from carrysave.engines.gpu import costs
from carrysave.engines.gpu.digits import Digits, Planes
from carrysave.engines.gpu.images import UNFUSED, blocks, empty_result, image_of, kernels, on, power_of_two
from carrysave.engines.images import Window
from carrysave.engines.problem import Prepared, Problem
from carrysave.quantizers import Quantizer

INT32 = 2.0**31
MOST_DIGITS = 1 << 16  # in an int32 sum whatever they are: a product of two is at most 2^14
CHUNK = 64 << 20  # bytes of digits at a time
LEAST_DEPTH, MOST_DEPTH = 32, 128  # of a block; int8 tensor cores take 32 at least
WASTE = 1.125  # a larger block is taken if it leaves no more than this empty
POSITIONS = 128
EXPAND = (32, 64)  # positions and depth of a block of the first kernel


@dataclass(frozen=True)
class Call:
    """What an activation is: codes, or values of a quantizer; and what is wanted."""

    scale: float = 1.0
    values: bool = False
    scales: torch.Tensor | None = None

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64 if self.scales is None else torch.float32


def prepare(problem: Problem, digits: Digits) -> Prepared:
    layers = [_Dots(problem, digits, p, first=i == 0) for i, p in enumerate(digits.places)]
    cost = costs.LAYER + sum(layer.cost for layer in layers)
    how = f"Triton, {digits.planes} int8 product{'s' * (digits.planes != 1)}, |accumulator| at most {digits.bound:.4g}"

    def call(codes: torch.Tensor) -> torch.Tensor:
        total = layers[0](codes, Call())
        for layer in layers[1:]:
            total += layer(codes, Call()) << 8 * layer.place
        return total

    def layer(x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        scales = scale.to(x.device).expand(len(problem.weights)).contiguous()
        return layers[0](x.detach(), Call(float(quantizer.scale), True, scales))

    whole = len(layers) == 1 and layers[0].place == 0
    return Prepared(call, how, digits.planes, cost, layer if whole else None)


class _Dots:
    """Products of one weight; the first of a layer has the addend and the constants too.

    Attributes:
        place: the weight is 256^place.
        cost: see costs.py.
    """

    def __init__(self, problem: Problem, digits: Digits, planes: Planes, first: bool):
        fmt = problem.products.activation
        self._geometry, self._window = problem.geometry, Window.of(problem.geometry, problem.weights)
        self._zero, self._low, self._high = problem.activation_zero, fmt.low, fmt.high
        self.place, self._planes = planes.place, len(planes.u)
        self._outputs, self._depth = planes.v.shape[1] // self._window.groups, planes.v.shape[2]
        taps = self._window.kernel[0] * self._window.kernel[1]
        apart, together = _block(self._planes * self._depth), _block(self._planes * self._depth * taps)
        self._by_window = taps == 1 or taps * apart[1] > 2 * together[1]
        self._block, self._padded = together if self._by_window else apart
        self._taps = 1 if self._by_window else taps
        self._width = min(128, max(16, power_of_two(self._outputs)))
        self._u = planes.u.contiguous()
        self._v = self._laid_out(planes.v)
        self.cost = costs.DIGIT_PASS * self._v.numel() / (planes.v[0].numel() or 1)
        addend = digits.addend if first else None
        box = 0.0 if addend is None else float(addend.abs().max()) * self._depth * taps
        wide = torch.int32 if box < INT32 else torch.int64
        self._addend = None if addend is None else addend.to(wide)
        self._constant = digits.constant.contiguous() if first else torch.zeros_like(digits.constant)
        self._fits = (digits.bound if first else planes.bound) < INT32
        self._steps = 0 if planes.bound < INT32 else MOST_DIGITS // self._block

    def _laid_out(self, v: torch.Tensor) -> torch.Tensor:
        """int8 [groups, outputs padded to whole blocks, taps * padded depth], 0 where padded."""
        groups, (kh, kw) = self._window.groups, self._window.kernel
        v = v.reshape(self._planes, groups, self._outputs, self._depth, kh * kw)
        # the order of the first kernel: planes, channels, taps of a window; or, of each tap, planes and channels
        order = (1, 2, 0, 3, 4) if self._by_window else (1, 2, 4, 0, 3)
        v = v.permute(order).reshape(groups, self._outputs, self._taps, -1)
        height = blocks(self._outputs, self._width) * self._width
        laid = torch.zeros((groups, height, self._taps, self._padded), dtype=torch.int8, device=v.device)
        laid[:, : self._outputs, :, : v.shape[3]] = v
        return laid

    def __call__(self, x: torch.Tensor, call: Call) -> torch.Tensor:
        image = image_of(x, self._geometry)
        n, _, h, w = image.shape
        rows, columns = self._window.output(h, w)
        py, px = self._window.padding
        grid = (rows, columns) if self._by_window else (h + 2 * py, w + 2 * px)
        channels = self._outputs * self._window.groups
        out, as_image = empty_result(image, channels, (rows, columns), self._geometry, call.dtype)
        if not out.numel():
            return out
        step = max(1, CHUNK // (grid[0] * grid[1] * self._window.groups * self._padded))
        with on(image.device):
            for i in range(0, n, step):
                self._chunk(image[i : i + step], as_image[i : i + step], grid, call)
        return out

    def _chunk(self, image: torch.Tensor, out: torch.Tensor, grid: tuple[int, int], call: Call) -> None:
        groups, positions = self._window.groups, len(image) * grid[0] * grid[1]
        digits = torch.empty((positions, groups, self._padded), dtype=torch.int8, device=image.device)
        box = self._addend is not None
        kind = self._addend.dtype if self._addend is not None else torch.int32
        sums = torch.empty((groups, positions if box else 0), dtype=kind, device=image.device)
        w, whole = self._window, self._by_window
        kernel, step, dilation = w.kernel, w.stride, w.dilation
        one = (1, 1)
        kernels("dot_kernels").expand[(blocks(positions, EXPAND[0]), groups)](
            image, self._u, self._addend if box else sums, digits, sums,
            positions, *grid, *image.shape[2:], self._depth, self._padded, self._u.shape[1],
            call.scale, self._zero, self._low, self._high, *image.stride(),
            *(step if whole else one), *w.padding, *(dilation if whole else one),
            KERNEL_X=kernel[1] if whole else 1, TAPS=kernel[0] * kernel[1] if whole else 1,
            PLANES=self._planes, BOX=box, VALUES=call.values, POSITIONS=EXPAND[0], DEPTH=EXPAND[1],
            **UNFUSED,
        )  # fmt: skip
        self._convolve(digits, sums, out, grid, call)

    def _convolve(
        self, digits: torch.Tensor, sums: torch.Tensor, out: torch.Tensor, grid: tuple[int, int], call: Call
    ) -> None:
        w, whole, one = self._window, self._by_window, (1, 1)
        positions, chunks = len(out) * out.shape[2] * out.shape[3], self._padded // self._block
        scales = self._constant if call.scales is None else call.scales
        rows = POSITIONS if positions > POSITIONS // 2 else max(16, power_of_two(positions))
        kernels("dot_kernels").convolve[(blocks(positions, rows), blocks(self._outputs, self._width), w.groups)](
            digits, self._v, sums, self._constant, scales, out,
            positions, *out.shape[2:], *grid, len(digits), self._padded, chunks, chunks * self._taps,
            self._outputs, self._v.shape[1], *(one if whole else w.stride), *(one if whole else w.dilation),
            *out.stride(),
            KERNEL_X=1 if whole else w.kernel[1], TAPS=self._taps, BOX=self._addend is not None,
            SCALED=call.scales is not None, WIDE=not self._fits, STEPS=self._steps,
            POSITIONS=rows, OUTPUTS=self._width, DEPTH=self._block,
            num_warps=8 if rows * self._width >= 128 * 128 else 4, num_stages=3, **UNFUSED,
        )  # fmt: skip


def _block(depth: int) -> tuple[int, int]:
    """The depth of a block, and `depth` in whole blocks."""
    least = blocks(depth, LEAST_DEPTH) * LEAST_DEPTH
    size = MOST_DEPTH
    while blocks(depth, size) * size > WASTE * least:
        size //= 2
    return size, blocks(depth, size) * size
