"""The operands' distribution p(x, y) of HEAM's equation 3, and the expectations that equation 5 needs of it.

Every compressed term is a polynomial in the operands' bits, so all that is needed are expectations of products of
bits, E[x_S y_R] for sets S and R of bit positions. With independent operands they are products of two moments, and a
histogram gives the moments of all 2^n sets at once by sums over supersets: no vector over operand pairs is formed, so
16-bit operands are exact, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrysave.calibration import Calibration, Operands
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.recipes import Arithmetic
from carrysave.registry import nearest
from carrysave.tables import multiply, table

TABLE_BITS = 12  # an operand; up to here a mean over all pairs is computed, above a mean over drawn ones
PAIRS = 1 << 20  # drawn where not all are used
_CLOSE = 1e-6  # by how much the two sides' totals may differ, as a share
Floats = NDArray[np.float64]
Masks = NDArray[np.int64]


class Distribution(ABC):
    """How often each pair of unsigned n-bit operands occurs. `source` says where that comes from; `weights` are the
    layers' shares of all products [L]."""

    n: int
    source: str
    weights: Floats

    @abstractmethod
    def gram(self, a: Masks, b: Masks) -> Floats:
        """E[m_i m_j] of the monomials m_i = (all bits of x in mask a_i) and (all bits of y in b_i); [M, M]."""

    @abstractmethod
    def means(self, a: Masks, b: Masks) -> Floats:
        """E[m_i] of the same monomials within each layer; [L, M]."""

    @abstractmethod
    def drawn(self, count: int, seed: int) -> tuple[Masks, Masks, Masks]:
        """`count` pairs (x, y), drawn independently, and the layer that each is of."""

    @abstractmethod
    def joint(self) -> Floats:
        """p(x, y) [2^n, 2^n]. Raises ValueError above TABLE_BITS bits."""

    @abstractmethod
    def _layer_means(self, values: Floats) -> Floats:
        """Of a table [2^n, 2^n], its mean within each layer [L]."""

    def draw(self, count: int, seed: int) -> tuple[Masks, Masks]:
        """`count` pairs (x, y), drawn independently."""
        return self.drawn(count, seed)[:2]

    def error(self, m: Multiplier, pairs: int = PAIRS, seed: int = 1) -> Expected:
        """Equation 3 for any unsigned multiplier: all pairs up to TABLE_BITS bits, else `pairs` drawn ones."""
        if self.n <= TABLE_BITS:
            values = np.arange(1 << self.n, dtype=np.float64)
            difference = table(m) - values[:, None] * values[None, :]
            square = float((self.joint() * difference * difference).sum())
            means = self._layer_means(difference)
            return Expected(square, 0.0, 1 << 2 * self.n, float(self.weights @ means), float(self.weights @ means**2))
        x, y, layer = self.drawn(pairs, seed)
        difference = multiply(m, x, y).astype(np.float64) - x.astype(np.float64) * y.astype(np.float64)
        counts = np.maximum(np.bincount(layer, minlength=len(self.weights)), 1)
        means = np.bincount(layer, difference, minlength=len(self.weights)) / counts
        square = difference**2
        return Expected(
            float(square.mean()), float(square.std(ddof=1) / np.sqrt(pairs)), pairs, float(difference.mean()),
            float(self.weights @ means**2),
        )  # fmt: skip

    def _no_table(self) -> None:
        if self.n > TABLE_BITS:
            raise ValueError(f"operands of {self.n} bits have no table of all pairs; it goes to {TABLE_BITS} bits")


@dataclass(frozen=True)
class Expected:
    """A mean squared error, its standard error (0 where all pairs were taken), and the pairs it comes from.

    Attributes:
        mean: E[e], with its sign.
        square_of_means: of each layer's mean error the square, layers by their products; mean^2 where there is one
            layer, and more where layers' means cancel, which no sum in the network sees.
    """

    value: float
    standard_error: float
    pairs: int
    mean: float = 0.0
    square_of_means: float = 0.0

    def weighted(self, mean_weight: float) -> float:
        """What a design minimises: equation 3, and `mean_weight` times the squared mean error."""
        return self.value + mean_weight * self.square_of_means


class Mixture(Distribution):
    """Independent operands in each of several layers, the layers as often as they multiply.

    Args:
        sides: (activation [2^n], weight [2^n]) of each layer: counts or probabilities; both sides of a layer count the
            same products, and a layer weighs as its counts.

    Raises:
        ValueError: for no layer, histograms of another length, negative, not finite or all zero, and sides whose sums
            differ.
    """

    def __init__(self, sides: Sequence[tuple[Any, Any]], source: str = "given operands"):
        if not sides:
            raise ValueError("operands: no histogram was given; at least one layer's (activation, weight) is needed")
        first = np.asarray(sides[0][0])
        self.n, self.source = _bits(first.size if first.ndim == 1 else 0, "activation"), source
        layers = [_checked_sides(a, b, self.n) for a, b in sides]
        totals = np.array([a.sum() for a, _ in layers])
        self.weights = totals / totals.sum()
        self.a = np.stack([a / a.sum() for a, _ in layers])
        self.b = np.stack([b / b.sum() for _, b in layers])
        self._moments = (_superset_sums(self.a), _superset_sums(self.b))

    def gram(self, a: Masks, b: Masks) -> Floats:
        both_a, both_b = a[:, None] | a[None, :], b[:, None] | b[None, :]
        total = np.zeros(both_a.shape)
        for weight, of_a, of_b in zip(self.weights, *self._moments, strict=True):
            total += weight * of_a[both_a] * of_b[both_b]
        return total

    def means(self, a: Masks, b: Masks) -> Floats:
        return self._moments[0][:, a] * self._moments[1][:, b]

    def drawn(self, count: int, seed: int) -> tuple[Masks, Masks, Masks]:
        generator = np.random.default_rng(seed)
        layers = generator.choice(len(self.weights), size=count, p=self.weights)
        x, y = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        for layer in range(len(self.weights)):
            lanes = np.flatnonzero(layers == layer)
            for out, side in ((x, self.a), (y, self.b)):
                out[lanes] = generator.choice(side.shape[1], size=lanes.size, p=side[layer])
        return x, y, layers

    def joint(self) -> Floats:
        self._no_table()
        return np.einsum("l,lx,ly->xy", self.weights, self.a, self.b)

    def _layer_means(self, values: Floats) -> Floats:
        return ((self.a @ values) * self.b).sum(axis=1)


class Joint(Distribution):
    """A joint histogram [2^n, 2^n] of operand pairs, counts or probabilities. Raises ValueError as `Mixture`."""

    def __init__(self, histogram: Any, source: str = "a joint histogram"):
        values = np.asarray(histogram)
        if values.ndim != 2 or values.shape[0] != values.shape[1]:
            raise ValueError(f"operands: a joint histogram has shape [2^n, 2^n], not {list(values.shape)}")
        self.n, self.source = _bits(values.shape[0], "joint"), source
        checked = _checked(values, "the joint histogram", values.shape)
        self._joint, self.weights = checked / checked.sum(), np.ones(1)
        self._moments = _superset_sums(np.ascontiguousarray(_superset_sums(self._joint).T)).T

    def gram(self, a: Masks, b: Masks) -> Floats:
        return self._moments[a[:, None] | a[None, :], b[:, None] | b[None, :]]

    def means(self, a: Masks, b: Masks) -> Floats:
        return self._moments[a, b][None]

    def drawn(self, count: int, seed: int) -> tuple[Masks, Masks, Masks]:
        flat = np.random.default_rng(seed).choice(self._joint.size, size=count, p=self._joint.reshape(-1))
        return flat >> self.n, flat & ((1 << self.n) - 1), np.zeros(count, dtype=np.int64)

    def joint(self) -> Floats:
        return self._joint

    def _layer_means(self, values: Floats) -> Floats:
        return np.array([(self._joint * values).sum()])


class Sampled(Distribution):
    """Operand pairs as they were drawn, each equally likely: the paper's way to 16 bits (section II-B).

    What is minimised over a sample is too small as an estimate: `of` keeps the distribution that was sampled, and
    fresh pairs of it give the error with its standard error.
    """

    def __init__(self, x: Masks, y: Masks, layer: Masks, of: Distribution):
        if x.size < 2 or x.shape != y.shape:
            raise ValueError(f"operands: {x.size} and {y.size} sampled values; a sample has at least 2 pairs")
        self.x, self.y, self.layer, self.n, self.of = x, y, layer, of.n, of
        self.weights = np.bincount(layer, minlength=len(of.weights)) / x.size
        self.source = f"{x.size:,} pairs drawn from {of.source}"

    def gram(self, a: Masks, b: Masks) -> Floats:
        kind = np.float32 if self.x.size < 1 << 24 else np.float64  # counts of pairs: exact in either
        features = np.empty((len(a), self.x.size), dtype=kind)
        for row, of_a, of_b in zip(features, a, b, strict=True):
            row[:] = self._have(of_a, of_b)
        return (features @ features.T).astype(np.float64) / self.x.size

    def means(self, a: Masks, b: Masks) -> Floats:
        counts = [
            np.bincount(self.layer, self._have(of_a, of_b), minlength=len(self.weights))
            for of_a, of_b in zip(a, b, strict=True)
        ]
        return np.stack(counts, axis=1) / np.maximum(self.weights * self.x.size, 1.0)[:, None]

    def drawn(self, count: int, seed: int) -> tuple[Masks, Masks, Masks]:
        return self.of.drawn(count, seed)

    def joint(self) -> Floats:
        return self.of.joint()

    def _layer_means(self, values: Floats) -> Floats:
        return self.of._layer_means(values)

    def error(self, m: Multiplier, pairs: int = PAIRS, seed: int = 1) -> Expected:
        return self.of.error(m, pairs, seed)

    def _have(self, a: int, b: int) -> NDArray[np.bool_]:
        return ((self.x & a) == a) & ((self.y & b) == b)


def distribution_of(
    source: Any,
    arithmetic: Arithmetic | None = None,
    layer: str | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Distribution:
    """The operands that a multiplier is designed for.

    Args:
        source: a Calibration; Operands of one layer or a sequence of them; a joint histogram [2^n, 2^n]; or a
            Distribution, which is returned as it is.
        arithmetic: of a calibration: the formats whose codes enter the multiplier; 8-bit affine by default. The
            multiplier named in it gives the operands' width; of a signed one the magnitudes are taken.
        layer: of a calibration, this layer alone; all of them by their multiply-accumulates if None.
        samples: replace the distribution by so many pairs drawn from it.

    Raises:
        ValueError: for an unknown layer, and histograms that are none (see `Mixture`).
    """
    if isinstance(source, Distribution):
        found = source
    elif isinstance(source, Calibration):
        found = _of_calibration(source, arithmetic or Arithmetic.natural("exact"), layer)
    elif isinstance(source, Operands):
        found = Mixture([(source.activation, source.weight)])
    elif isinstance(source, list | tuple) and all(isinstance(part, Operands) for part in source):
        found = Mixture([(part.activation, part.weight) for part in source])
    elif isinstance(source, np.ndarray):
        found = Joint(source)
    else:
        raise ValueError(
            f"operands come from a Calibration, Operands or a joint histogram (numpy), not {type(source).__name__}"
        )
    if samples is None:
        return found
    if samples < 2:
        raise ValueError(f"samples={samples}: at least 2 pairs are drawn")
    return Sampled(*found.drawn(samples, seed), found)


def mean_square_product(distribution: Distribution) -> float:
    """E[(xy)^2], exactly, from the moments."""
    n = distribution.n
    masks = np.array([(1 << i, 1 << j) for i in range(n) for j in range(n)], dtype=np.int64)
    weights = (masks[:, 0] * masks[:, 1]).astype(np.float64)
    return float(weights @ distribution.gram(masks[:, 0], masks[:, 1]) @ weights)


def uniform(n: int) -> Mixture:
    """Every pair of n-bit operands equally often."""
    return Mixture([(np.ones(1 << n), np.ones(1 << n))], f"uniform {n}-bit operands")


def _of_calibration(calibration: Calibration, arithmetic: Arithmetic, layer: str | None) -> Mixture:
    m: Multiplier = MULTIPLIERS.parse(arithmetic.multiplier)
    if m.a_bits != m.b_bits:
        raise ValueError(f"{m.spec}: operands of {m.a_bits} and {m.b_bits} bits; the HEAM form has equal ones")
    if not calibration.layers:
        raise ValueError("calibration saw no layer that can be emulated, so there are no operands to design for")
    if layer is not None and layer not in calibration.layers:
        raise ValueError(
            f"no layer {layer!r}{nearest(layer, calibration.layers)}; layers: {', '.join(calibration.layers)}"
        )
    sides = []
    for name in [layer] if layer else calibration.layers:
        operands = calibration.operands(name, arithmetic)
        both = (operands.activation, operands.weight)
        sides.append(tuple(_magnitudes(side) for side in both) if m.signed else both)
    what = f"layer {layer}" if layer else f"all {len(sides)} layers by their multiply-accumulates"
    return Mixture(sides, f"{what}; {arithmetic.activation} x {arithmetic.weight}")


def _magnitudes(counts: Floats) -> Floats:
    """Of a histogram by two's complement pattern: by |value|."""
    half = counts.size // 2
    folded = counts.copy()
    folded[half + 1 :] = 0
    folded[1:half] += counts[:half:-1]
    return folded


def _superset_sums(values: Floats) -> Floats:
    """sums[..., S] = sum of values[..., v] over all v that contain every bit of S: the moments E[x_S]."""
    sums = values.copy()
    for bit in range(values.shape[-1].bit_length() - 1):
        pairs = sums.reshape(*values.shape[:-1], -1, 2, 1 << bit)
        pairs[..., 0, :] += pairs[..., 1, :]
    return sums


def _bits(size: int, which: str) -> int:
    n = size.bit_length() - 1
    if size != 1 << max(n, 0) or not 2 <= n <= 20:
        raise ValueError(f"operands: the {which} histogram has one entry per code of 2 to 20 bits, not {size} entries")
    return n


def _checked_sides(a: Any, b: Any, n: int) -> tuple[Floats, Floats]:
    left, right = _checked(a, "the activation histogram", (1 << n,)), _checked(b, "the weight histogram", (1 << n,))
    if abs(left.sum() - right.sum()) > _CLOSE * max(left.sum(), right.sum()):
        raise ValueError(
            f"operands: the activation histogram sums to {left.sum():g}, the weight histogram to {right.sum():g}; both"
            " count the same products, so divide each by its sum, or count them alike"
        )
    return left, right


def _checked(values: Any, what: str, shape: tuple[int, ...]) -> Floats:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "iufb":
        raise ValueError(f"operands: {what} has shape {list(shape)}, one number per code; got {list(array.shape)}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"operands: {what} holds {array[~np.isfinite(array)][0]}, which is no count")
    if (array < 0).any():
        raise ValueError(f"operands: {what} holds a negative count, {array.min():g}")
    if not array.any():
        raise ValueError(f"operands: {what} is empty: all its counts are zero, so no operand occurs")
    return array
