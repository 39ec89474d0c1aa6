"""The logarithmic engine on the native kernel (native/logarithmic.h)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from carrysave import native
from carrysave.engines import costs
from carrysave.engines.images import Window, image_of, result_of
from carrysave.engines.problem import Prepared, Problem, Products, codes_of
from carrysave.formats import Format
from carrysave.multipliers.parts import Logarithmic, Separable
from carrysave.planes import PlaneWord
from carrysave.quantizers import Quantizer

TABLE_BITS = 16  # activations of more bits are coded in each call
BFLOAT16_FRACTION = 7
DOUBLE_BITS = 53
ROOM_32, ROOM_64 = 2.0**22, 2.0**51  # products below have room in a float accumulator; see native/logarithmic.h


@dataclass(frozen=True, eq=False)
class Coded:
    """Operands as a multiplier's parts code them: int64 logarithms or numbers, and whether they are not 0."""

    number: np.ndarray
    present: np.ndarray


def coded(products: Products, fmt: Format, codes: np.ndarray) -> tuple[Coded, np.ndarray]:
    """The codes of an operand and where it is negative; signs that go round the multiplier are left out of it."""
    m = products.multiplier
    parts = m.parts()
    bits = m.a_bits if fmt is products.activation else m.b_bits
    negative = codes < 0
    signed_words = isinstance(parts, Logarithmic) and parts.truncation == "complement"
    values = codes if signed_words else np.abs(codes)  # as the circuit takes them
    if isinstance(parts, Logarithmic) and parts.truncated and bits <= DOUBLE_BITS:
        if signed_words:
            values = np.where(negative, ~codes, codes)
        return Coded(_truncated_logs(values, parts.fraction_bits), codes != 0), negative
    words = PlaneWord.from_ints(values, bits)
    if isinstance(parts, Separable):
        mantissa, shift = parts.code(words)
        numbers = mantissa.to_ints().astype(np.int64) << shift.to_ints().astype(np.int64)
        return Coded(numbers, codes != 0), negative
    assert isinstance(parts, Logarithmic)
    log, some = parts.code(words)
    return Coded(log.to_ints().astype(np.int64), some.to_ints().astype(bool)), negative


def _truncated_logs(magnitudes: np.ndarray, fraction_bits: int) -> np.ndarray:
    """k * 2^fraction_bits + f of magnitudes below 2^53, of 1 where one is 0: the top bits of an exact float."""
    pattern = np.maximum(magnitudes, 1).astype(np.float64).view(np.int64)
    return (pattern >> (52 - fraction_bits)) - (1023 << fraction_bits)


def obstacle(problem: Problem) -> str | None:
    """Why the native kernel cannot serve this problem; None if it can."""
    if not native.available:
        return "the native module is not installed"
    if problem.weights.device.type != "cpu":
        return f"the layer is on {problem.weights.device}"
    parts = problem.products.multiplier.parts()
    if not isinstance(parts, Logarithmic) or parts.fraction_bits >= 52:
        return "the logarithm has too many fraction bits"
    if not problem.weights.numel():
        return "there are no weights"
    fmt = problem.products.activation
    reach = max(fmt.high - problem.activation_zero, problem.activation_zero - fmt.low)
    if bool(problem.weight_zero.any()) and float(reach) * problem.weights[0].numel() >= 2.0**31:
        return "a box sum may leave 32 bits"
    return None


def prepare(problem: Problem) -> Prepared:
    layer = _Layer(problem)
    return Prepared(layer.call, layer.how, cost=layer.cost, layer=layer.layer if layer.takes_values else None)


class _Layer:
    def __init__(self, problem: Problem):
        parts = problem.products.multiplier.parts()
        assert isinstance(parts, Logarithmic)
        self._problem, self._parts, self._window = problem, parts, Window.of(problem.geometry, problem.weights)
        fmt, weights = problem.products.activation, problem.weights.numpy()
        self._low, self._zero = fmt.low, problem.activation_zero
        logs, minus = coded(problem.products, problem.products.weight, weights.reshape(-1))
        ends, _ = coded(problem.products, fmt, np.array([fmt.low, fmt.high]))
        top = int(ends.number.max())
        self._bits = self._word_bits(logs.number, top)
        self._largest = self._value(top + int(logs.number.max()))
        signed = fmt.low < 0
        self._rounding = self._rounding_of(signed or bool(minus.any()))
        words = self._words(logs, minus, weight=True).reshape(len(weights), -1)
        make = getattr(_kernels(), f"LogWeights{self._bits}")
        kh, kw = self._window.kernel
        self._weights = make(words, self._window.groups, kh * kw, self._rounding, self._largest, signed)
        self._outputs = len(weights)
        self._sums_fit = self._bound(logs, top) < 2.0**62
        self._boxes(problem)
        self._table: np.ndarray | None = None
        if (fmt.high - fmt.low).bit_length() <= TABLE_BITS:
            self._table = self._words(*coded(problem.products, fmt, codes_of(fmt)))
        self.takes_values = self._table is not None and self._sums_fit
        if self._sums_fit:  # no call looks at the weight codes again
            self._problem = replace(problem, weight=None)

    @property
    def cost(self) -> float:
        depthwise = self._window.groups == self._outputs  # nothing is shared: each product codes an operand anew
        return costs.instructions() * (costs.LOGARITHM_DEPTHWISE if depthwise else costs.LOGARITHM)[self._bits]

    @property
    def how(self) -> str:
        return f"an addition of {self._bits}-bit logarithms per product"

    def _word_bits(self, logs: np.ndarray, top: int) -> int:
        pairs = self._window.groups < self._problem.weights.shape[0] and _kernels().log_pairs_are_fast()
        if pairs and self._makes_integers():
            return 16
        # 16 products between flushes of a float accumulator, or 64 of an integer one: fewer would cost more
        largest = self._value(top + int(logs.max()))
        small = self._parts.fraction_bits < 23 and (16 * (largest + 1) <= ROOM_32 or 64 * (largest + 1) <= 2.0**31)
        return 32 if small else 64

    def _makes_integers(self) -> bool:
        """True if no product is truncated, whatever the operands, and words of 16 bits can hold its logarithm."""
        products, f = self._problem.products, self._parts.fraction_bits
        if f > BFLOAT16_FRACTION or not products.has_table or self._parts.truncation == "complement":
            return False
        formats = products.activation, products.weight
        x, w = (np.unique(coded(products, fmt, codes_of(fmt))[0].number) for fmt in formats)
        sums = np.add.outer(x, w)
        return not bool((((1 << f) + (sums & ((1 << f) - 1))) << (sums >> f) & ((1 << f) - 1)).any())

    def _value(self, log: int) -> float:
        f = self._parts.fraction_bits
        return float(((1 << f) + (log & ((1 << f) - 1))) << (log >> f) >> f)

    def _rounding_of(self, negative: bool) -> str:
        if not negative:
            return "down"
        if self._bits == 16:
            return "toward_zero"
        fits = self._largest < (ROOM_32 if self._bits == 32 else ROOM_64)
        if self._parts.truncation == "complement":
            return "down" if fits else "complement"
        return "magnitude" if fits else "toward_zero"

    def _words(self, logs: Coded, negative: np.ndarray, weight: bool = False) -> np.ndarray:
        out = np.empty(logs.number.shape, f"int{self._bits}")
        code = getattr(_kernels(), f"log_words{self._bits}")
        code(logs.number, logs.present, negative, self._parts.fraction_bits, self._rounding, weight, out)
        return out

    def _bound(self, logs: Coded, top: int) -> float:
        """What no sum exceeds: the products of the weights with the largest activation, and the bias."""
        f = self._parts.fraction_bits
        sums = logs.number + top
        values = np.ldexp(1 + (sums & ((1 << f) - 1)) / (1 << f), (sums >> f).astype(int)) + 1
        return float(values.reshape(self._outputs, -1).sum(1).max()) + float(self._problem.bias.abs().max())

    def _boxes(self, problem: Problem) -> None:
        """The corrections: a constant per channel, and -zw times the box sum of x - zx where there are weight zeros."""
        weights, zeros = problem.weights, problem.weight_zero.expand(self._outputs)
        constant = problem.bias - self._zero * weights.reshape(self._outputs, -1).sum(1)
        self._constant = constant.expand(self._outputs).contiguous().numpy()
        self._factor: np.ndarray | None = None
        if not bool(zeros.any()):
            return
        self._factor = (-zeros).contiguous().numpy()

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        image = image_of(codes, self._problem.geometry)
        out = self._empty(image, torch.int64)
        if out.numel():
            self._check_sums(codes)
            self._convolve(image, out)
        return result_of(out, self._problem.geometry, codes)

    def _convolve(self, image: torch.Tensor, out: torch.Tensor) -> None:
        fmt, window, threads = self._problem.products.activation, self._window.arguments(), torch.get_num_threads()
        if self._table is None:
            flat = np.append(image.numpy().reshape(-1).astype(np.int64), self._zero)
            words = self._words(*coded(self._problem.products, fmt, flat))
            source = words[:-1].reshape(image.shape)
            _kernels().log_conv_words(
                self._weights, source, int(words[-1]), out.numpy(), *window, self._constant, threads
            )  # fmt: skip
            return
        index = (image - self._low).to(torch.uint8 if fmt.high - fmt.low <= 255 else torch.uint16)
        box = None if self._factor is None else self._box_of(image)
        _kernels().log_conv(
            self._weights, index.numpy(), self._table, int(self._table[self._zero - self._low]), out.numpy(), *window,
            self._constant, box, self._factor, threads,
        )  # fmt: skip

    def layer(self, x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        image = image_of(x.detach(), self._problem.geometry)
        out = self._empty(image, torch.float32)
        if not out.numel():
            return result_of(out, self._problem.geometry, x)
        assert self._table is not None
        fmt = quantizer.format
        grid = float(quantizer.scale), self._zero, fmt.low, fmt.high
        box = None if self._factor is None else self._box_of_values(image, grid)
        _kernels().log_layer(
            self._weights, image.numpy(), self._table, int(self._table[self._zero - self._low]), out.numpy(),
            *self._window.arguments(), *grid, self._constant, box, self._factor,
            scale.expand(self._outputs).contiguous().numpy(), torch.get_num_threads(),
        )  # fmt: skip
        return result_of(out, self._problem.geometry, x)

    def _box_of(self, image: torch.Tensor) -> np.ndarray:
        """The box sums of codes of any width; the halo's are those of the zero, 0."""
        n, _, h, w = image.shape
        (py, px), groups = self._window.padding, self._window.groups
        sums = torch.zeros((n, groups, h + 2 * py, w + 2 * px), dtype=torch.int32)
        channels = image.reshape(n, groups, -1, h, w)
        sums[:, :, py : py + h, px : px + w] = channels.sum(2, dtype=torch.int32) - self._zero * channels.shape[2]
        return self._window_sums(sums.numpy())

    def _window_sums(self, sums: np.ndarray) -> np.ndarray:
        window, threads = self._window, torch.get_num_threads()
        (py, px), (h, w) = window.padding, sums.shape[2:]
        box = np.empty((*sums.shape[:2], *window.output(h - 2 * py, w - 2 * px)), np.int32)
        _kernels().window_sums(sums, box, window.kernel, window.stride, window.dilation, threads)
        return box

    def _box_of_values(self, image: torch.Tensor, grid: tuple[float, int, int, int]) -> np.ndarray:
        """The box sums of values, quantised on the way; int32 [N, groups, H', W']."""
        (py, px), groups, threads = self._window.padding, self._window.groups, torch.get_num_threads()
        n, _, h, w = image.shape
        sums = np.empty((n, groups, h + 2 * py, w + 2 * px), np.int32)
        _kernels().offset_sums(image.numpy(), (py, px), groups, *grid, sums, threads)
        return self._window_sums(sums)

    def _check_sums(self, codes: torch.Tensor) -> None:
        """Sums are right modulo 2^64: raises OverflowError where the magnitudes could add up to more."""
        if self._sums_fit:
            return
        weights = self._problem.weights.abs()
        geometry = self._problem.geometry
        sizes = codes.abs().to(torch.float64)
        if geometry.kind == "linear":
            sums = sizes @ weights.to(torch.float64).T
        else:
            window = (geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
            sums = torch.nn.functional.conv2d(sizes, weights.to(torch.float64), None, *window)
        # no logarithmic product is larger than the exact one by more than a part in 2^fraction_bits, and 1
        if float(sums.max()) >= 2.0**61:
            raise OverflowError(
                f"an accumulator may reach {float(sums.max()):.3g}, beyond the 2^61 that the logarithmic engine's int64"
                " sums are safe to; use formats with fewer bits, or engine='vector'"
            )

    def _empty(self, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty((len(image), self._outputs, *self._window.output(*image.shape[2:])), dtype=dtype)


def _kernels() -> Any:
    from carrysave import _native

    return _native
