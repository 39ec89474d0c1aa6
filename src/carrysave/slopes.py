"""How gradients pass a multiplier: as if it were exact, or by the slope of its own table.

Straight-through (Bengio, Leonard and Courville, 2013, arXiv:1308.3432; for approximate multipliers for instance AdaPT):
the derivative of M(x, w) is w by x and x by w, that of the exact product.

Table slope: the difference-based gradient of Meng, Burleson, Qian and De Micheli, "Gradient approximation of
approximate multipliers for high-accuracy deep neural network retraining" (DATE 2025; the two-dimensional table of
arXiv:2509.10519). Along each operand the table is smoothed by the mean over 2 h + 1 neighbouring codes, h the half
window, and the slope is the central difference of that:

    dM/dx (x, w)  =  ( S(x + 1, w) - S(x - 1, w) ) / 2,    S(x, w)  =  mean of M(x + t, w) for t = -h to h

Both are linear, so they are applied to the multiplier's error, M(x, w) - x w, and the exact slope is added. Beyond the
first and last code the error is taken as it is there (the paper takes another estimate there); the slope of the exact
multiplier is thereby w everywhere, and table slope and straight-through agree.

The slope table has a small rank where the multiplier's has, and is then a few products: by its singular values,
dM/dx = w + sum over k of u_k(x) v_k(w). That turns a layer's gradient into one transposed convolution for each k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch

from carrysave.engines.problem import Products, codes_of
from carrysave.registry import Registry

GRADIENTS = Registry("gradient")
FLOAT32 = 2.0**-24  # singular values below this share of the largest are no more than float32 rounding


@GRADIENTS.register
@dataclass(frozen=True, kw_only=True)
class Straight:
    """Gradients of the exact product."""

    name: ClassVar[str] = "straight"


@GRADIENTS.register
@dataclass(frozen=True, kw_only=True)
class Table:
    """Gradients by the slope of the multiplier's table, smoothed over `half_window` codes on either side."""

    half_window: int = 4
    name: ClassVar[str] = "table"
    positional: ClassVar[str] = "half_window"

    def __post_init__(self) -> None:
        if self.half_window < 0:
            raise ValueError(f"{self.name}: half_window={self.half_window}; it is 0 (no smoothing) or more codes")


@dataclass(frozen=True, eq=False)
class Slope:
    """What a slope has beyond the exact one: sum over k of u[k, x - lowest x] * v[k, w - lowest w], float32.

    Attributes:
        u: [rank, activation codes].
        v: [rank, weight codes].
    """

    u: torch.Tensor
    v: torch.Tensor

    @property
    def rank(self) -> int:
        return len(self.u)


def error_slope(products: Products, half_window: int, axis: int) -> np.ndarray:
    """The smoothed slope of M(x, w) - x w along `axis`, 0 by x or 1 by w: float64 [activation codes, weight codes]."""
    exact = np.multiply.outer(codes_of(products.activation), codes_of(products.weight))
    error = np.moveaxis(products.table - exact, axis, 0)
    reach = half_window + 1
    padded = np.pad(error, ((reach, reach), (0, 0)), mode="edge")
    sums = np.concatenate([np.zeros_like(padded[:1]), np.cumsum(padded, axis=0)])
    count, size = 2 * half_window + 1, len(error)
    # the sum over 2 h + 1 codes, one code higher minus one code lower
    windows = sums[count:] - sums[:-count]
    return np.moveaxis((windows[2 : size + 2] - windows[:size]) / (2 * count), 0, axis)


@lru_cache(maxsize=64)
def slope(products: Products, half_window: int, axis: int) -> Slope:
    """The factors of `error_slope`, to float32's accuracy. Raises ValueError where there is no table."""
    if not products.has_table:
        raise ValueError(
            f"gradient 'table': {products.multiplier} with {products.activation} x {products.weight} is too wide for a"
            " table; use gradient='straight'"
        )
    u, sizes, v = np.linalg.svd(error_slope(products, half_window, axis), full_matrices=False)
    rank = int((sizes > sizes[0] * FLOAT32).sum()) if sizes[0] > 0 else 0
    root = np.sqrt(sizes[:rank])
    return Slope(
        torch.from_numpy((u[:, :rank] * root).T.astype(np.float32)),
        torch.from_numpy((v[:rank] * root[:, None]).astype(np.float32)),
    )
