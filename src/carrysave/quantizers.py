"""Tensors to codes and back: a format with the scales found for one tensor, and straight-through gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from carrysave.formats import FORMATS, Format
from carrysave.ranges import MinMax, RangeMethod, Sample
from carrysave.recipes import Arithmetic


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

    def beside(self, x: torch.Tensor) -> Quantizer:
        """On the device of `x`: there, division by a number from elsewhere may become a product, which rounds twice."""
        if self.scale.device == x.device:
            return self
        return Quantizer(self.format, self.scale.to(x.device), self.zero.to(x.device))

    def _shaped(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.scale.ndim == 0:
            return self.scale, self.zero
        shape = (-1,) + (1,) * (x.ndim - 1)
        return self.scale.to(x.device).reshape(shape), self.zero.to(x.device).reshape(shape)


@dataclass(frozen=True)
class Scale:
    """Codes that a model states of itself, as a quantized ONNX graph does: value = scale * (code - zero).

    Attributes:
        scale, zero: one for the tensor, or one per channel along dimension 0.
        low, high: the smallest and the largest code.
    """

    scale: tuple[float, ...]
    zero: tuple[int, ...]
    low: int
    high: int

    def format(self, signed: bool) -> Format:
        """The format of these codes for a signed or an unsigned multiplier."""
        return FORMATS.parse(f"{'fixed' if signed else 'affine'}:bits={(self.high - self.low).bit_length()}")

    def quantizer(self, fmt: Format) -> Quantizer:
        """The same values under the codes of `fmt`, which start elsewhere: zeros move with them."""
        scale = torch.tensor(self.scale, dtype=torch.float32)
        zero = torch.tensor(self.zero, dtype=torch.int64) + (fmt.low - self.low)
        return Quantizer(fmt, scale.squeeze(), zero.squeeze())


@dataclass(frozen=True)
class Given:
    """The scales that a model states for one layer; None where it states none, and calibration finds them."""

    activation: Scale | None = None
    weight: Scale | None = None

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Given:
        """From what `dataclasses.asdict` made of one, lists for tuples allowed."""
        scales = {
            role: found and Scale(tuple(found["scale"]), tuple(found["zero"]), found["low"], found["high"])
            for role, found in plain.items()
        }
        return cls(**scales)

    def arithmetic(self, wanted: Arithmetic) -> Arithmetic:
        """`wanted` with the formats of the stated codes. Raises ValueError if these do not fit its multiplier."""
        multiplier, _, _ = wanted.parts
        stated = {"activation": self.activation, "weight": self.weight}
        return replace(wanted, **{role: scale.format(multiplier.signed) for role, scale in stated.items() if scale})


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
    rows = weight.detach().reshape(weight.shape[0] if scales == "channel" else 1, -1)
    if isinstance(ranges, MinMax) and rows.numel():  # the ends are all it asks for, and training asks in every step
        low, high = (end.to("cpu", torch.float64).numpy() for end in torch.aminmax(rows, dim=1))
    else:
        low, high = ranges.find(Sample.of(rows.to("cpu", torch.float64).numpy()), fmt)
    if scales == "channel":
        return Quantizer.covering(fmt, low, high)
    return Quantizer.covering(fmt, low[0], high[0])


def quantizer_of_sample(sample: Sample, fmt: Format, ranges: RangeMethod) -> Quantizer:
    """Calibrated: one scale for the one row of `sample`, such as a histogram's."""
    low, high = ranges.find(sample, fmt)
    return Quantizer.covering(fmt, low[0], high[0])
