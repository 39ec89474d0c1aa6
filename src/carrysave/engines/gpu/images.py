"""Layers as the GPU kernels see them, and how they are called."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import Any

import torch

from carrysave.engines.problem import Geometry

UNFUSED: Any = {"enable_fp_fusion": False}  # said outright: the default changes between Tritons, with a warning


def image_of(x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """A layer's activation as an image [N, C, H, W]: a linear layer's rows are images of one pixel. No copy."""
    return x[:, :, None, None] if geometry.kind == "linear" else x


def empty_result(
    image: torch.Tensor, outputs: int, size: tuple[int, int], geometry: Geometry, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's result, laid out as torch's own would be for `image`, and the same as an image."""
    if geometry.kind == "linear":
        out = torch.empty((len(image), outputs), dtype=dtype, device=image.device)
        return out, out[:, :, None, None]
    last = not image.is_contiguous() and image.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    out = torch.empty((len(image), outputs, *size), dtype=dtype, device=image.device, memory_format=layout)
    return out, out


def kernels(name: str) -> Any:
    """A module of Triton kernels; Triton is imported only here."""
    return importlib.import_module(f"carrysave.engines.gpu.{name}")


def on(device: torch.device) -> Any:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def power_of_two(n: int) -> int:
    """The least power of two that is not below n."""
    return 1 << max(0, n - 1).bit_length()


def blocks(n: int, size: int) -> int:
    return -(-n // size)
