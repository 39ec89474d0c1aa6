"""Tensors to codes and back: a format with the scales found for one tensor, and straight-through gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from carrysave.formats import Format
from carrysave.ranges import RangeMethod, Sample


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A format with its scale and zero, for a whole tensor or for each channel along dimension 0.

    Attributes:
        scale: float32, shape [] or [C].
        zero: int64, like `scale`.
    """

    format: Format
    scale: torch.Tensor
    zero: torch.Tensor

    @classmethod
    def covering(cls, fmt: Format, low: Any, high: Any) -> Quantizer:
        """The format laid over the range [low, high]; numbers, or arrays [C] for scales per channel."""
        scale, zero = fmt.grid(low, high)
        return cls(fmt, torch.from_numpy(np.array(scale)), torch.from_numpy(np.array(zero)))

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """Codes of finite `x` by the format's rule: int32, or int64 above 24 bits."""
        scale, zero = self._shaped(x)
        ratio = torch.round(x.to(torch.float32) / scale)
        low, high = self.format.low, self.format.high
        if self.format.bits > 24:
            return (ratio.to(torch.float64) + zero).clamp_(low, high).to(torch.int64)
        return (ratio + zero).clamp_(low, high).to(torch.int32)

    def values(self, codes: torch.Tensor) -> torch.Tensor:
        """Values of `codes`, float32 (float64 above 24 bits, which float32 cannot tell apart)."""
        scale, zero = self._shaped(codes)
        wide = torch.float64 if self.format.bits > 24 else torch.float32
        return (codes - zero).to(wide) * scale

    def inside(self, x: torch.Tensor) -> torch.Tensor:
        """Where `x` does not saturate, half a step beyond the end codes included: gradients pass there."""
        scale, zero = self._shaped(x)
        ratio = x.to(torch.float32) / scale + zero
        return (ratio >= self.format.low - 0.5) & (ratio <= self.format.high + 0.5)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`x` as its codes represent it; the gradient passes straight through, and is 0 where x saturates."""
        return _StraightThrough.apply(x, self)  # type: ignore[return-value]

    def _shaped(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.scale.ndim == 0:
            return self.scale, self.zero
        shape = (-1,) + (1,) * (x.ndim - 1)
        return self.scale.to(x.device).reshape(shape), self.zero.to(x.device).reshape(shape)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, quantizer: Quantizer) -> torch.Tensor:
        ctx.save_for_backward(quantizer.inside(x))
        return quantizer.values(quantizer.codes(x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None


def quantizer_of_weights(weight: torch.Tensor, fmt: Format, ranges: RangeMethod, scales: str) -> Quantizer:
    """Computed from the weights [C, ...] themselves, with one scale per "tensor" or per "channel"."""
    rows = weight.detach().to("cpu", torch.float64).reshape(weight.shape[0] if scales == "channel" else 1, -1)
    low, high = ranges.find(Sample.of(rows.numpy()), fmt)
    if scales == "channel":
        return Quantizer.covering(fmt, low, high)
    return Quantizer.covering(fmt, low[0], high[0])


def quantizer_of_sample(sample: Sample, fmt: Format, ranges: RangeMethod) -> Quantizer:
    """Calibrated: one scale for the one row of `sample`, such as a histogram's."""
    low, high = ranges.find(sample, fmt)
    return Quantizer.covering(fmt, low[0], high[0])
