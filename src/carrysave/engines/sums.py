"""Exact sums of integer products on torch's floating-point operators: convolution and matrix product.

A sum of integers in floating point is exact, in any order of addition, while the sum of the magnitudes stays within
2^24 (float32) or 2^53 (float64). So the magnitudes are bounded per output channel from the actual weights, and the
input channels are split into parts that stay below; the parts are added as int64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from carrysave.engines.problem import Geometry

LIMITS = {torch.float32: 1 << 24, torch.float64: 1 << 53}
MOST_PARTS = 16  # float64 is about this much slower than float32 where torch has no oneDNN convolution for it


class SumOfProducts:
    """sum over taps of x * w, exactly, for a conv (zero padding) or a linear geometry.

    Args:
        weight: int64 [O, C / groups, kh, kw] or [O, K].
        reach: int64 [C / groups] or [K], the largest magnitude of x on each input channel of a group.

    Attributes:
        dtype: float32, float64, or int64 where neither floating type is exact.
        parts: how many convolutions or matrix products that takes.
        bound: the largest magnitude that any accumulator can reach.
    """

    def __init__(self, geometry: Geometry, weight: torch.Tensor, reach: torch.Tensor):
        self.geometry = geometry
        share = weight.abs().reshape(weight.shape[0], weight.shape[1], -1).sum(2).to(torch.float64)
        share = share * reach.to(weight.device, torch.float64)  # floats: a bound beyond int64 must not wrap
        self.bound = float(share.sum(1).max()) if share.numel() else 0.0
        cuts = cuts_of(share, LIMITS[torch.float32])
        if cuts is not None and len(cuts) <= MOST_PARTS + 1:
            self.dtype = torch.float32
        elif self.bound <= LIMITS[torch.float64] // 2:  # half: the bound itself is computed in float64
            self.dtype, cuts = torch.float64, [0, weight.shape[1]]
        else:
            self.dtype, cuts = torch.int64, [0, weight.shape[1]]
        self._spans = list(zip(cuts, cuts[1:], strict=False))
        self._integers = weight
        self._weights = [weight[:, a:b].to(self.dtype).contiguous() for a, b in self._spans]

    @property
    def parts(self) -> int:
        return len(self._spans)

    @property
    def how(self) -> str:
        passes = "one pass" if self.parts == 1 else f"{self.parts} parts"
        return f"{str(self.dtype).removeprefix('torch.')} in {passes}, |accumulator| at most {self.bound:.4g}"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """int64 accumulators; `x` holds integers within `reach`, of any dtype."""
        if self.dtype == torch.int64:
            return _in_integers(x, self._integers, self.geometry, self.bound)
        if not _float_operators_are_exact(x, self.dtype):
            return _by_patches(x.to(torch.float64), self._integers.to(torch.float64), self.geometry).to(torch.int64)
        total: torch.Tensor | None = None
        for (a, b), weight in zip(self._spans, self._weights, strict=True):
            with without_nnpack():
                part = self._operator(self._channels(x, a, b).to(self.dtype), weight).to(torch.int64)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    def _channels(self, x: torch.Tensor, a: int, b: int) -> torch.Tensor:
        if self.parts == 1:
            return x
        if self.geometry.kind == "linear":
            return x[:, a:b]
        n, _, h, w = x.shape
        groups = self.geometry.groups
        return x.reshape(n, groups, x.shape[1] // groups, h, w)[:, :, a:b].reshape(n, groups * (b - a), h, w)

    def _operator(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if self.geometry.kind == "linear":
            return F.linear(x, weight)
        g = self.geometry
        return F.conv2d(x, weight, None, g.stride, g.padding, g.dilation, g.groups)


@contextmanager
def without_nnpack() -> Iterator[None]:
    """NNPACK convolves by Winograd and FFT, which round; oneDNN and BLAS add plain products."""
    before = torch.backends.nnpack.set_flags(False)
    try:
        yield
    finally:
        torch.backends.nnpack.set_flags(*before)


def patches(x: torch.Tensor, kernel: tuple[int, int], geometry: Geometry, pad: float = 0) -> torch.Tensor:
    """The operands of every output position: [groups, N * H' * W', C / groups * kh * kw]; `pad` is the padding."""
    (py, px), (sy, sx), (dy, dx) = geometry.padding, geometry.stride, geometry.dilation
    x = F.pad(x, (px, px, py, py), value=pad).contiguous()
    n, c, h, w = x.shape
    rows = (h - dy * (kernel[0] - 1) - 1) // sy + 1
    columns = (w - dx * (kernel[1] - 1) - 1) // sx + 1
    groups = geometry.groups
    strides = x.stride()
    view = x.as_strided(
        (groups, n, rows, columns, c // groups, *kernel),
        (
            strides[1] * (c // groups),
            strides[0],
            strides[2] * sy,
            strides[3] * sx,
            strides[1],
            strides[2] * dy,
            strides[3] * dx,
        ),
    )
    return view.reshape(groups, n * rows * columns, c // groups * kernel[0] * kernel[1])


def image(rows: torch.Tensor, codes: torch.Tensor, kernel: tuple[int, int], geometry: Geometry) -> torch.Tensor:
    """Results [groups, N * H' * W', O / groups] of `patches` of `codes` as [N, O, H', W']."""
    (py, px), (sy, sx), (dy, dx) = geometry.padding, geometry.stride, geometry.dilation
    n, _, h, w = codes.shape
    height = (h + 2 * py - dy * (kernel[0] - 1) - 1) // sy + 1
    width = (w + 2 * px - dx * (kernel[1] - 1) - 1) // sx + 1
    groups, outputs = geometry.groups, rows.shape[2]
    split = rows.reshape(groups, n, height, width, outputs)
    return split.permute(1, 0, 4, 2, 3).reshape(n, groups * outputs, height, width)


def cuts_of(share: torch.Tensor, limit: int) -> list[int] | None:
    """Where to cut the input channels so that each part's sum over `share` [O, C] stays within `limit`."""
    cuts, running = [0], torch.zeros(share.shape[0], dtype=share.dtype, device=share.device)
    if share.numel() and float(share.sum(1).max()) <= limit:
        return [0, share.shape[1]]
    if share.numel() and float(share.max()) > limit:
        return None
    for c in range(share.shape[1]):
        running = running + share[:, c]
        if float(running.max()) > limit:
            cuts.append(c)
            running = share[:, c]
    return [*cuts, share.shape[1]]


def _float_operators_are_exact(x: torch.Tensor, dtype: torch.dtype) -> bool:
    """False where a float32 operator may round its operands (TF32, bfloat16) or transform them (cuDNN's Winograd)."""
    if x.device.type != "cpu":
        return False
    if dtype == torch.float64:
        return True
    mkldnn = torch.backends.mkldnn
    settings = [torch.get_float32_matmul_precision() == "highest"]
    for place in (torch.backends, mkldnn, getattr(mkldnn, "conv", None), getattr(mkldnn, "matmul", None)):
        settings.append(getattr(place, "fp32_precision", "none") in ("none", "ieee"))
    return all(settings)


def _by_patches(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    if geometry.kind == "linear":
        return _matmul(x, weight.T)
    kernel = (weight.shape[2], weight.shape[3])
    taps = weight.reshape(geometry.groups, weight.shape[0] // geometry.groups, -1)
    return image(_matmul(patches(x, kernel, geometry), taps.mT), x, kernel, geometry)


def _matmul(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """x @ w; a term at a time where torch has no product of integer matrices, which is on all devices but the CPU."""
    if x.device.type == "cpu" or x.is_floating_point():
        return x @ w
    total = torch.zeros((*x.shape[:-1], w.shape[-1]), dtype=x.dtype, device=x.device)
    for k in range(x.shape[-1]):
        total += x[..., k, None] * w[..., k, None, :]
    return total


def _in_integers(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry, bound: float) -> torch.Tensor:
    if bound >= 2.0**62:
        estimate = _by_patches(x.to(torch.float64), weight.to(torch.float64), geometry)
        check_accumulator(estimate)
    return _by_patches(x.to(torch.int64), weight, geometry)


def check_accumulator(estimate: torch.Tensor) -> None:
    """Raises OverflowError if a sum, estimated in float64, leaves int64."""
    if estimate.numel() and float(estimate.abs().max()) >= 2.0**62:
        raise OverflowError(
            f"an accumulator reaches about {float(estimate.abs().max()):.3g}, beyond the 2^62 that int64 sums are"
            " safe to; use formats with fewer bits"
        )
