"""Every layer as the native kernels see it: a convolution of a contiguous image [N, C, H, W].

A matrix product [M, K] x [O, K] is a 1x1 convolution of one image of K channels and M pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from carrysave.engines.problem import Geometry


@dataclass(frozen=True)
class Window:
    """What the kernels need to know of a geometry beside the tensors' shapes."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, geometry: Geometry, weight: torch.Tensor) -> Window:
        """`weight` is [O, C / groups, kh, kw] or [O, K]."""
        kernel = (weight.shape[2], weight.shape[3]) if weight.ndim == 4 else (1, 1)
        return cls(kernel, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)

    def arguments(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], int]:
        return self.kernel, self.stride, self.padding, self.dilation, self.groups

    def output(self, height: int, width: int) -> tuple[int, int]:
        """H', W' of an image of that size."""
        rows, columns = (
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                (height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return rows, columns


def image_of(x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """A layer's activation, or its codes, as a contiguous image."""
    if geometry.kind == "linear":
        return x.T.contiguous()[None, :, None]
    return x.contiguous()


def result_of(image: torch.Tensor, geometry: Geometry, like: torch.Tensor) -> torch.Tensor:
    """The layer's result, laid out in memory as torch's own layer would for the activation `like`."""
    if geometry.kind == "linear":
        return image[0, :, 0].T.contiguous()
    if not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
        return image.contiguous(memory_format=torch.channels_last)
    return image
