"""How wrong a multiplier is: error figures under uniform or given operands, and its error map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from carrysave.multipliers.base import Multiplier
from carrysave.tables import MAX_TABLE_BITS, exact_product, multiply, operand_values, table

_BLOCK = 1 << 20  # pairs evaluated at a time


@dataclass(frozen=True)
class ErrorMetrics:
    """Error figures of a multiplier; an error is the approximate less the exact product.

    Relative figures are over the pairs whose exact product is not 0; they are 0 if there is none.

    Attributes:
        mean_error: mean of the error.
        mean_absolute_error: mean of |error| (MED, MAE).
        mean_relative_error: mean of error / exact, signed: negative where products are too small in magnitude.
        mred: mean of |error / exact|.
        nmed: mean_absolute_error over the largest |exact product| that the operands' width allows.
        rms_error: root of the mean squared error.
        worst_case: largest |error| among the pairs that occur.
        worst_relative: largest |error / exact| among the pairs that occur.
        error_rate: share of pairs with a wrong product.
        bias: mean_error over the same largest |exact product|: the signed counterpart of nmed.
        samples: pairs evaluated.
        exhaustive: whether they are all pairs.
        standard_error: of mean_error; None if exhaustive.
    """

    mean_error: float
    mean_absolute_error: float
    mean_relative_error: float
    mred: float
    nmed: float
    rms_error: float
    worst_case: float
    worst_relative: float
    error_rate: float
    bias: float
    samples: int
    exhaustive: bool
    standard_error: float | None


def measure(m: Multiplier, operands: Any = None, samples: int = 1_000_000, seed: int = 0) -> ErrorMetrics:
    """The errors of `m`: over all pairs to 12 bits an operand, over random pairs above.

    Args:
        operands: how often operands occur, by bit pattern; any scale. None: all equally. A pair of arrays
            of lengths 2^a_bits and 2^b_bits: independent operands (activation, weight). An array
            [2^a_bits, 2^b_bits]: pairs, to 12 bits an operand.
        samples: pairs drawn where not all are evaluated.
        seed: of the draw.

    Raises:
        ValueError: for operands of the wrong size, negative, not finite, or all zero, and for too few samples.
    """
    weights = None if operands is None else _checked_operands(m, operands)
    total = _Total()
    if m.a_bits + m.b_bits <= MAX_TABLE_BITS:
        _enumerate(m, weights, total)
        return total.metrics(m, exhaustive=True)
    if samples < 2:
        raise ValueError(f"samples={samples}: {m.spec} is measured on random pairs, which needs at least 2")
    first, second = (None, None) if weights is None else weights
    rng = np.random.default_rng(seed)
    for start in range(0, samples, _BLOCK):
        count = min(_BLOCK, samples - start)
        x = _draw(rng, m.a_bits, m.signed, first, count)
        y = _draw(rng, m.b_bits, m.signed, second, count)
        total.add(_difference(multiply(m, x, y), exact := exact_product(m, x, y)), exact.astype(np.float64), None)
    return total.metrics(m, exhaustive=False)


def error_map(m: Multiplier) -> np.ndarray:
    """Approximate less exact products: int64 [2^a_bits, 2^b_bits] by bit pattern, to 12 bits an operand."""
    x, y = operand_values(m.a_bits, m.signed), operand_values(m.b_bits, m.signed)
    return table(m) - x[:, None] * y[None, :]


Weights = tuple[np.ndarray, np.ndarray] | np.ndarray


def _checked_operands(m: Multiplier, operands: Any) -> Any:
    """A pair of marginals, or a joint array, of float64."""
    sizes = (1 << m.a_bits, 1 << m.b_bits)
    if isinstance(operands, (tuple, list)) and len(operands) == 2:
        return tuple(
            _checked(m, f"operands of the {which} operand", values, (size,))
            for which, values, size in zip(("first", "second"), operands, sizes, strict=True)
        )
    if m.a_bits + m.b_bits > MAX_TABLE_BITS:
        raise ValueError(f"{m.spec}: joint operands go to {MAX_TABLE_BITS // 2} bits; give a pair of arrays")
    return _checked(m, "joint operands (or give a pair of arrays)", operands, sizes)


def _checked(m: Multiplier, what: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "iufb":
        raise ValueError(
            f"{m.spec}: {what} have one number for each bit pattern, shape {shape}; got {array.dtype} of shape"
            f" {array.shape}"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{m.spec}: {what} hold {array[~np.isfinite(array)][0]}, not a count")
    if (array < 0).any():
        raise ValueError(f"{m.spec}: {what} hold a negative count, {array.min()}")
    if not array.any():
        raise ValueError(f"{m.spec}: {what} are all zero: no operand occurs")
    return array


def _enumerate(m: Multiplier, weights: Any, total: _Total) -> None:
    products, x, y = table(m), operand_values(m.a_bits, m.signed), operand_values(m.b_bits, m.signed)
    rows = max(1, _BLOCK // y.size)
    for start in range(0, x.size, rows):
        block = slice(start, start + rows)
        exact = x[block, None] * y[None, :]
        if isinstance(weights, tuple):
            weight = weights[0][block, None] * weights[1][None, :]
        else:
            weight = None if weights is None else weights[block]
        total.add((products[block] - exact).astype(np.float64), exact.astype(np.float64), weight)


def _draw(rng: np.random.Generator, bits: int, signed: bool, weights: Any, count: int) -> np.ndarray:
    """Operand values, drawn uniformly or as often as `weights` say."""
    if weights is None:
        patterns = rng.integers(0, 1 << bits, count, dtype=np.int64)
    else:
        steps = np.cumsum(weights)
        last = np.flatnonzero(weights)[-1]  # a product rounded up to the whole sum would fall beyond it
        patterns = np.minimum(np.searchsorted(steps, rng.random(count) * steps[-1], side="right"), last)
    return np.where(patterns >= 1 << (bits - 1), patterns - (1 << bits), patterns) if signed else patterns


def _difference(approximate: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """approximate - exact as float64, without a wrap of unsigned integers."""
    above = approximate >= exact
    size = np.where(above, approximate, exact) - np.where(above, exact, approximate)
    return np.where(above, 1.0, -1.0) * size.astype(np.float64)


class _Total:
    """Weighted sums over pairs; weights are counts of any scale, 1 each if None."""

    def __init__(self) -> None:
        self.pairs = 0
        self.weight = self.relative_weight = 0.0
        self.error = self.absolute = self.square = self.wrong = self.relative = self.absolute_relative = 0.0
        self.worst = self.worst_relative = 0.0

    def add(self, error: np.ndarray, exact: np.ndarray, weight: np.ndarray | None) -> None:
        self.pairs += error.size
        if weight is None:
            error, exact, weight = error.reshape(-1), exact.reshape(-1), np.ones(error.size)
        else:
            occurs = weight > 0
            error, exact, weight = error[occurs], exact[occurs], weight[occurs]
        absolute = np.abs(error)
        self.weight += float(weight.sum())
        self.error += float(weight @ error)
        self.absolute += float(weight @ absolute)
        self.square += float(weight @ (error * error))
        self.wrong += float(weight[error != 0].sum())
        self.worst = max(self.worst, float(absolute.max(initial=0)))
        some = exact != 0
        relative, share = error[some] / exact[some], weight[some]
        self.relative_weight += float(share.sum())
        self.relative += float(share @ relative)
        self.absolute_relative += float(share @ np.abs(relative))
        self.worst_relative = max(self.worst_relative, float(np.abs(relative).max(initial=0)))

    def metrics(self, m: Multiplier, exhaustive: bool) -> ErrorMetrics:
        mean, mean_square = self.error / self.weight, self.square / self.weight
        relative_weight = self.relative_weight or 1.0
        largest = _largest(m.a_bits, m.signed) * _largest(m.b_bits, m.signed)
        variance = max(0.0, mean_square - mean * mean) * self.pairs / max(1, self.pairs - 1)
        return ErrorMetrics(
            mean_error=mean,
            mean_absolute_error=self.absolute / self.weight,
            mean_relative_error=self.relative / relative_weight,
            mred=self.absolute_relative / relative_weight,
            nmed=self.absolute / self.weight / largest,
            rms_error=mean_square**0.5,
            worst_case=self.worst,
            worst_relative=self.worst_relative,
            error_rate=self.wrong / self.weight,
            bias=mean / largest,
            samples=self.pairs,
            exhaustive=exhaustive,
            standard_error=None if exhaustive else (variance / self.pairs) ** 0.5,
        )


def _largest(bits: int, signed: bool) -> int:
    return 1 << (bits - 1) if signed else (1 << bits) - 1
