"""One exact product of operands wider than 8 bits, as products of their 8-bit digits on the native int8 convolution.

    acc[o] = sum over taps of a(x) * b[o, tap]  +  constant[o]  -  zero[o] * sum over taps of (x - zx)

a(x) less its smallest value is written in digits of 0 to 255, b in digits of -128 to 127, both to base 256. The digits
of an activation are channels of one image; digit i of a and digit j of b meet in the pass whose sum counts 256^(i + j).
Passes leave out the channels that they have no weights for, so n times m digits take n * m int8 convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from carrysave.engines import costs
from carrysave.engines.images import Window, result_of
from carrysave.engines.problem import Problem

MOST_BITS = 16  # of an activation code: its number is looked up
_IDENTITY = np.arange(256, dtype=np.uint8)[None]


@dataclass(frozen=True, eq=False)
class Factor:
    """The product's two sides.

    Attributes:
        numbers: int64 [activation codes], a of each code.
        weights: int64 [O, C / groups, kh, kw], b of each weight.
        constant: int64 [O].
        zeros: int64 [O].
    """

    numbers: np.ndarray
    weights: torch.Tensor
    constant: torch.Tensor
    zeros: torch.Tensor


def wide(problem: Problem, factor: Factor) -> WideLayer | str:
    """The layer, or why int64 sums may not hold it."""
    if not factor.weights.numel():
        return "there are no weights"
    fmt, taps = problem.products.activation, factor.weights[0].numel()
    reach = float(np.abs(factor.numbers).max()) * factor.weights.abs().to(torch.float64).sum((1, 2, 3))
    # the smallest number is taken out of all of them, which at most doubles a sum
    total = 2 * reach + factor.constant.abs().to(torch.float64)
    total += factor.zeros.abs().to(torch.float64) * taps * (fmt.high - fmt.low)
    return "sums might leave int64" if float(total.max()) >= 2.0**61 else WideLayer(problem, factor)


class WideLayer:
    """A conv or linear problem. `products` is the number of int8 convolutions that it takes."""

    def __init__(self, problem: Problem, factor: Factor):
        geometry = problem.geometry
        self._geometry, self._zero = geometry, problem.activation_zero
        self._low = problem.products.activation.low
        window = Window.of(geometry, problem.weights)
        self._window = Window(window.kernel, window.stride, (0, 0), window.dilation, window.groups)
        least = int(factor.numbers.min())
        self._numbers = torch.from_numpy(factor.numbers - least).to(torch.int32)
        identity = np.arange(len(factor.numbers))
        self._plain = bool(np.array_equal(factor.numbers - least, identity))
        self._digits = max(1, -(-int(factor.numbers.max() - least).bit_length() // 8))
        digits = _balanced(factor.weights)
        self.products = self._digits * len(digits)
        constant = factor.constant + least * factor.weights.sum((1, 2, 3))
        self._sum = _Sum(self._window, self._digits, digits, constant)
        self._zeros, self._box = factor.zeros, None
        if bool(factor.zeros.any()):
            ones = torch.ones((window.groups, *factor.weights.shape[1:]), dtype=torch.int64)
            taps = factor.weights[0].numel()
            shift = torch.full((window.groups,), (self._low - self._zero) * taps)
            codes = max(1, -(-len(identity).bit_length() // 8))
            self._box = _Sum(self._window, codes, [ones], shift)

    @property
    def cost(self) -> float:
        return costs.WIDE_LAYER + costs.INT8_PASS * self.products

    @property
    def how(self) -> str:
        return f"{self.products} int8 products of digits, each summed in 32 bits, together in 64"

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        index = (codes - self._low).to(torch.int32)
        if self._geometry.kind == "linear":
            index = index[:, :, None, None]
        py, px = self._geometry.padding
        index = F.pad(index, (px, px, py, py), value=self._zero - self._low).contiguous()
        acc = self._sum(index if self._plain else self._numbers[index])
        if self._box is not None:
            box = self._box(index).repeat_interleave(acc.shape[1] // self._window.groups, dim=1)
            acc -= box * self._zeros.reshape(-1, 1, 1)
        if self._geometry.kind == "linear":
            return acc[:, :, 0, 0]
        return result_of(acc, self._geometry, codes)


class _Sum:
    """Sums of numbers (int32, not negative) times weights, which come as their digits."""

    def __init__(self, window: Window, digits: int, weights: list[torch.Tensor], constant: torch.Tensor):
        from carrysave._native import DigitWeights

        self._window, self._digits, self._outputs = window, digits, len(constant)
        passes = digits + len(weights) - 1
        outputs, depth, *kernel = weights[0].shape
        v = torch.zeros((passes, outputs, digits, depth, *kernel), dtype=torch.int8)
        for i in range(digits):
            for j, digit in enumerate(weights):
                v[i + j, :, i] = digit.to(torch.int8)
        order, largest = [(0, 8 * s) for s in range(passes)], np.full(1, 255, np.uint8)
        stacked = v.reshape(passes, outputs, digits * depth, *kernel).numpy()
        self._weights = DigitWeights(stacked, order, window.groups, largest)
        self._constant = constant.contiguous().numpy()

    def __call__(self, numbers: torch.Tensor) -> torch.Tensor:
        from carrysave._native import digit_sums

        n, channels, h, w = numbers.shape
        out = torch.empty((n, self._outputs, *self._window.output(h, w)), dtype=torch.int64)
        if not out.numel():
            return out
        # the bytes of each number, lowest first, as channels of its group
        split = torch.stack([(numbers >> 8 * i).to(torch.uint8) for i in range(self._digits)], 1)
        groups = self._window.groups
        split = split.reshape(n, self._digits, groups, channels // groups, h, w).transpose(1, 2)
        image = split.reshape(n, self._digits * channels, h, w).contiguous().numpy()
        win = self._window
        digit_sums(
            self._weights, image, 0, out.numpy(), win.stride, (0, 0), win.dilation, _IDENTITY, None,
            self._constant, 2.0**61, torch.get_num_threads(),
        )  # fmt: skip
        return out


def _balanced(numbers: torch.Tensor) -> list[torch.Tensor]:
    """Digits of -128 to 127 to base 256, lowest first; at least one."""
    digits = []
    while not digits or bool(numbers.any()):
        digit = (numbers + 128) % 256 - 128
        digits.append(digit)
        numbers = (numbers - digit) // 256
    return digits
