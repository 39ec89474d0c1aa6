"""Logarithmic and wide engines on GPUs: an addition of logarithms, or a 64-bit product, per product of the layer.

Logarithms are coded as floats' bits (float32 up to products of 2^31, else float64) whose exponents' biases add up to a
float's, so that the sum of two words is the product and its conversion to an integer the truncation; a word of 0 makes
it less than 1. Sums are integers, of 32 bits where a bound proves that they fit, else of 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from carrysave.engines.gpu import costs
from carrysave.engines.gpu.dots import Call
from carrysave.engines.gpu.terms import INT32, Frame, Terms, corrections
from carrysave.engines.logarithmic_native import Coded, coded
from carrysave.engines.problem import Prepared, Problem, codes_of
from carrysave.engines.sums import check_accumulator
from carrysave.formats import Format
from carrysave.multipliers.parts import Logarithmic, Separable
from carrysave.quantizers import Quantizer

TABLE_BITS = 16  # activations of more bits are coded in each call
SAFE = 2.0**61
MANTISSA = {32: 23, 64: 52}
BIASES = {32: (63, 64), 64: (511, 512)}  # of weights' and activations' words


@dataclass(frozen=True, eq=False)
class _Words:
    """How the two operands are coded.

    Attributes:
        of_activation: codes to words.
        weights: words like the problem's weights.
        bound: the largest magnitude of a sum of products.
    """

    kind: str
    of_activation: Callable[[np.ndarray], np.ndarray]
    weights: torch.Tensor
    bound: float
    how: str
    cost: float
    signed: bool = False
    complement: bool = False


def prepare(problem: Problem) -> Prepared | str:
    """For multipliers with parts and for exact products, at any width; or why not."""
    if not problem.weights.numel():
        return "there are no weights"
    parts = problem.products.multiplier.parts()
    centred = problem.products.exact
    if centred:
        words, frame = _of_centred(problem), Frame(problem, _bias(problem), None)
    else:
        words = _of_logarithms(problem, parts) if isinstance(parts, Logarithmic) else _of_numbers(problem)
        frame = corrections(problem)
    if isinstance(words, str):
        return words
    fmt = problem.products.activation
    reach = float(max(fmt.high - problem.activation_zero, problem.activation_zero - fmt.low))
    beside = float(frame.constant.abs().max())
    beside += 0.0 if frame.factor is None else reach * float(frame.factor.abs().max()) * frame.taps
    if beside >= SAFE:
        return "the corrections might leave int64"
    layer = _Layer(frame, words)
    return Prepared(layer.call, words.how, cost=words.cost, layer=layer.layer if layer.takes_values else None)


class _Layer:
    def __init__(self, frame: Frame, words: _Words):
        problem = frame.problem
        fmt, device = problem.products.activation, problem.weights.device
        self._frame, self._words = frame, words
        self._terms = Terms(
            words.kind, words.weights, frame.by_group(words.weights), words.bound >= INT32, 0, frame.taps,
            signed=words.signed, complement=words.complement, coded=True,
            pad_word=int(words.of_activation(np.array([problem.activation_zero]))[0]),
        )  # fmt: skip
        self.takes_values = False
        if (fmt.high - fmt.low).bit_length() <= TABLE_BITS:
            table = torch.from_numpy(words.of_activation(codes_of(fmt))).to(device)
            self._terms = replace(self._terms, table=table, coded=False)
            self.takes_values = words.bound < SAFE

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        terms, codes = self._terms, codes.contiguous()
        if self._words.bound >= SAFE:
            self._check(codes)
        if terms.coded:
            values, which = codes.unique(return_inverse=True)
            words = torch.from_numpy(self._words.of_activation(values.cpu().numpy().astype(np.int64)))
            terms = replace(terms, table=words.to(codes.device)[which])
        return self._frame(codes, terms, Call())

    def layer(self, x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        scales = scale.to(x.device).expand(len(self._frame.constant)).contiguous()
        return self._frame(x.detach(), self._terms, Call(float(quantizer.scale), True, scales))

    def _check(self, codes: torch.Tensor) -> None:
        """Sums are right modulo 2^64: raises OverflowError where the magnitudes could add up to more."""
        problem, geometry = self._frame.problem, self._frame.problem.geometry
        zero = problem.activation_zero
        # no product is more than a little larger than that of the magnitudes, and the limit leaves a factor of two
        sizes = codes.to(torch.float64).abs() + abs(zero)
        weights = problem.weights.to(torch.float64).abs() + float(problem.weight_zero.abs().max())
        if geometry.kind == "linear":
            check_accumulator(sizes @ weights.T)
            return
        py, px = geometry.padding
        sizes = F.pad(sizes, (px, px, py, py), value=2.0 * abs(zero))
        check_accumulator(
            F.conv2d(sizes, weights, None, geometry.stride, (0, 0), geometry.dilation, geometry.groups)
        )  # fmt: skip


def _of_logarithms(problem: Problem, parts: Logarithmic) -> _Words | str:
    products, f = problem.products, parts.fraction_bits
    fmt, weights = products.activation, problem.weights
    values, which = weights.unique(return_inverse=True)
    logs, minus = coded(products, products.weight, values.cpu().numpy())
    ends, _ = coded(products, fmt, np.array([fmt.low, fmt.high]))
    top = int(ends.number.max())
    largest = _value(top + int(logs.number.max()), f)
    if largest >= SAFE * 4 or f > MANTISSA[64]:
        return f"a product may reach {largest:.3g}, or its logarithm has too many fraction bits ({f})"
    bits = 32 if largest < INT32 and f <= MANTISSA[32] else 64
    for_weights, for_activations = BIASES[bits]

    def of_activation(codes: np.ndarray) -> np.ndarray:
        return _words_of(*coded(products, fmt, codes), f, bits, for_activations)

    words = torch.from_numpy(_words_of(logs, minus, f, bits, for_weights)).to(weights.device)[which]
    sums = logs.number + top
    largest_terms = torch.from_numpy(np.ldexp(1 + (sums & ((1 << f) - 1)) / (1 << f), (sums >> f).astype(int)) + 1)
    bound = float(largest_terms.to(weights.device)[which].reshape(len(weights), -1).sum(1).max())
    signed = fmt.low < 0 or bool(minus.any())
    how = f"Triton, an addition of {bits}-bit logarithms per product"
    cost = costs.LOGARITHM[bits]
    return _Words("logarithm", of_activation, words, bound, how, cost, signed, parts.truncation == "complement")


def _words_of(logs: Coded, negative: np.ndarray, fraction_bits: int, bits: int, bias: int) -> np.ndarray:
    mantissa = MANTISSA[bits]
    words = (logs.number << (mantissa - fraction_bits)) + (bias << mantissa)
    words = np.where(negative, words ^ np.int64(-1 << bits - 1), words)
    return np.where(logs.present, words, 0).astype(np.int32 if bits == 32 else np.int64)


def _value(log: int, fraction_bits: int) -> float:
    one = 1 << fraction_bits
    return float((one + (log & (one - 1))) << (log >> fraction_bits) >> fraction_bits)


def _of_centred(problem: Problem) -> _Words:
    """(x - zx) (w - zw), which leaves no corrections."""
    fmt, zero = problem.products.activation, problem.activation_zero
    zeros = problem.weight_zero.to(problem.weights.device)
    weights = problem.weights - zeros.reshape(-1, *(1,) * (problem.weights.ndim - 1))
    return _product(lambda codes: codes - zero, weights, float(max(fmt.high - zero, zero - fmt.low)))


def _of_numbers(problem: Problem) -> _Words:
    products, fmt = problem.products, problem.products.activation
    assert isinstance(products.multiplier.parts(), Separable)

    def numbers(fmt: Format, codes: np.ndarray) -> np.ndarray:
        found, negative = coded(products, fmt, codes)
        return np.where(negative, -found.number, found.number)

    values, which = problem.weights.unique(return_inverse=True)
    of_weights = torch.from_numpy(numbers(products.weight, values.cpu().numpy())).to(which.device)[which]
    # a number is never smaller than that of a smaller magnitude
    reach = float(np.abs(numbers(fmt, np.array([fmt.low, fmt.high]))).max())
    return _product(lambda codes: numbers(fmt, codes), of_weights, reach)


def _product(of_activation: Callable[[np.ndarray], np.ndarray], weights: torch.Tensor, reach: float) -> _Words:
    bound = reach * float(weights.to(torch.float64).abs().reshape(len(weights), -1).sum(1).max())
    return _Words("product", of_activation, weights, bound, "Triton, 64-bit products", costs.INTEGER_PRODUCT)


def _bias(problem: Problem) -> torch.Tensor:
    return problem.bias.to(problem.weights.device).expand(len(problem.weights)).contiguous()
