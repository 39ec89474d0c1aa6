"""oneDNN's quantised convolution of uint8 with int8, which `carrysave bench` compares with where it is exact.

Without VNNI instructions (an older processor, or ONEDNN_MAX_CPU_ISA) oneDNN adds pairs of products in 16 bits, which
saturate silently. Which kernel it takes depends on the layer's kind, so each kind is tried with the largest operands
before it is used.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from carrysave.engines.images import Window

_LARGEST_ACTIVATION, _LARGEST_WEIGHT = 255, 127
_KEPT = 4  # packed weights, one for each size of input
_DEPTH = 512  # of the trial: its sums stay below 2^24


class Int8Convolution:
    """x [N, C, H, W] uint8, channels last in memory, to [N, O, H', W'] float32, channels last: integers up to 2^24.

    Args:
        weight: int8 [O, C / groups, kh, kw].
    """

    def __init__(self, weight: torch.Tensor, window: Window):
        self._weight, self._window = weight.to(torch.int8).contiguous(), window
        self._scales = torch.ones(len(weight))
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._packed: dict[tuple[int, ...], torch.Tensor] = {}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        w = self._window
        shape = tuple(x.shape)
        packed = self._packed.get(shape)
        if packed is None:
            if len(self._packed) >= _KEPT:
                self._packed.clear()
            packed = self._packed[shape] = torch.ops.onednn.qconv_prepack(
                self._weight, self._scales, 1.0, 0, w.stride, (0, 0), w.dilation, w.groups, list(shape)
            )
        return torch.ops.onednn.qconv2d_pointwise(
            x, 1.0, 0, packed, self._scales, self._zeros, None, w.stride, (0, 0), w.dilation, w.groups, 1.0, 0,
            torch.float32, "none", [], "",
        )  # fmt: skip


def is_exact(window: Window, depth: int, outputs: int) -> bool:
    """True if oneDNN's int8 convolution of this kind gives exact sums here; `depth` is C / groups."""
    groups = window.groups
    kind = groups if groups > 1 and depth == 1 else min(groups, 4)
    # sizes beyond a few registers choose no other kernel
    depth, width = min(depth, 256), min(max(1, outputs // groups), 64)
    return _trial(window.kernel, window.stride, window.dilation, min(kind, 64), depth, width)


@lru_cache(maxsize=256)
def _trial(
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], groups: int, depth: int, width: int
) -> bool:
    window = Window(kernel, stride, (0, 0), dilation, groups)
    weight = torch.zeros((groups * width, depth, *kernel), dtype=torch.int8)
    taps = weight.reshape(groups * width, -1)
    taps[:, :_DEPTH] = _LARGEST_WEIGHT
    taps[::2] = -taps[::2]
    size = [d * (k - 1) + 1 + 4 * s for k, s, d in zip(kernel, stride, dilation, strict=True)]
    x = torch.full((2, groups * depth, *size), _LARGEST_ACTIVATION, dtype=torch.uint8)
    expected = taps.to(torch.float32).sum(1) * _LARGEST_ACTIVATION
    try:
        got = Int8Convolution(weight, window)(x.contiguous(memory_format=torch.channels_last))
    except (RuntimeError, AttributeError, NotImplementedError):  # this torch, or this processor, has no such operator
        return False
    return bool((got == expected.reshape(-1, 1, 1)).all())
