"""What an engine is asked: an immutable Problem, and what it answers: a Prepared to be called on activation codes.

Every engine gives, bit for bit, the integers that `reference.py` defines with plain loops:

    acc[o] = sum over taps of ( M(x, w) - zw[o] * x - zx * w + zx * zw[o] ) + bias[o]

with activation codes x, weight codes w, their zeros zx and zw, and the multiplier's product M. Padding takes part as
the code zx. (An engine is free to compute anything that equals this; `bias` is a constant of the channel, in units of
the product of the two scales.)

An engine is a module-level object with

    name                     what `engine=` and a plan call it
    refuses(problem)         None, or why it cannot serve this problem, in words
    prepare(problem)         a Prepared, after all work that depends on the weights alone
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal, Protocol

import numpy as np
import torch

from carrysave import tables
from carrysave.formats import Format
from carrysave.multipliers import Multiplier
from carrysave.quantizers import Quantizer
from carrysave.recipes import check_operands

MAX_TABLE_BITS = 12


@dataclass(frozen=True, eq=False)
class Prepared:
    """An engine ready for one problem: call it on activation codes (and, for a matmul, weight codes).

    Attributes:
        call: codes to accumulators, int64.
        how: what it does, in words, for the plan; may be empty.
        passes: the exact convolutions or matrix products of the layer's own size that a call takes.
        cost: estimated time, in float32 convolutions of the layer's own shape (costs.py); infinite if unknown.
        layer: the whole layer in one go, where the engine can do better than `call` between two conversions; it takes
            the finite float32 activation, its quantizer and the output scale, and gives what `rescaled` makes of the
            accumulators, bit for bit (layers.py). For tensors on the device of the weights.
    """

    call: Callable[..., torch.Tensor]
    how: str = ""
    passes: int = 1
    cost: float = math.inf
    layer: Callable[[torch.Tensor, Quantizer, torch.Tensor], torch.Tensor] | None = None

    def __call__(self, *codes: torch.Tensor) -> torch.Tensor:
        return self.call(*codes)


@dataclass(frozen=True)
class Products:
    """A multiplier as two formats see it: the product of every activation code with every weight code.

    Codes of a sign-and-magnitude format enter an unsigned multiplier as their magnitude, and the sign goes round it.
    """

    multiplier: Multiplier
    activation: Format
    weight: Format

    def __post_init__(self) -> None:
        check_operands(self.multiplier, self.activation, self.weight)

    @property
    def has_table(self) -> bool:
        return max(_span_bits(self.activation), _span_bits(self.weight)) <= MAX_TABLE_BITS

    @property
    def table(self) -> np.ndarray:
        """int64 [activation codes, weight codes], from the lowest code to the highest; read-only."""
        if not self.has_table:
            raise ValueError(f"{self.multiplier}: {self.activation} x {self.weight} is too wide for a table")
        return _table(self)

    def multiply(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The products (int64) of arrays of codes that broadcast against each other."""
        x, w = np.broadcast_arrays(np.asarray(x, np.int64), np.asarray(w, np.int64))
        if self.multiplier.signed:
            products = tables.multiply(self.multiplier, x, w)
        else:
            products = tables.multiply(self.multiplier, np.abs(x), np.abs(w))
        if products.dtype == np.uint64 and products.size and products.max() >= 1 << 63:
            raise OverflowError(f"{self.multiplier}: a product of 2^63 or more does not fit the accumulator")
        products = products.astype(np.int64)
        return products if self.multiplier.signed else products * np.sign(x | 1) * np.sign(w | 1)

    @cached_property
    def exact(self) -> bool:
        """True if every product is proved to be the product of the two codes: by the table, entry by entry.

        Where there is no table nothing is proved, and the answer is what the multiplier states of itself.
        """
        if not self.has_table:
            return bool(getattr(self.multiplier, "is_exact", False))
        return bool(np.array_equal(self.table, np.multiply.outer(codes_of(self.activation), codes_of(self.weight))))


@dataclass(frozen=True)
class Geometry:
    """How operands meet. Shapes of the codes, and of the result:

    conv      activation [N, C, H, W], weight [O, C / groups, kh, kw]  ->  [N, O, H', W']
    linear    activation [M, K], weight [O, K]                         ->  [M, O]
    matmul    activation [B, M, K], weight [B, K, O], given at the call -> [B, M, O]
    """

    kind: Literal["conv", "linear", "matmul"]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Problem:
    """One layer's integer arithmetic.

    Attributes:
        weight: integer codes; None for a matmul, whose second operand comes with the call.
        activation_zero: the activation's zero, which is also the code that padding has.
        weight_zero: int64, shape [] or [O].
        bias: int64, shape [] or [O].
    """

    products: Products
    geometry: Geometry
    weight: torch.Tensor | None
    activation_zero: int = 0
    weight_zero: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    bias: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))

    @property
    def weights(self) -> torch.Tensor:
        """The weight codes as [O, C / groups, kh, kw] (conv) or [O, K] (linear), int64."""
        if self.weight is None:
            raise ValueError("a matmul's weight codes come with the call; there are none to prepare")
        return self.weight.to(torch.int64)


class Engine(Protocol):
    @property
    def name(self) -> str: ...

    def refuses(self, problem: Problem) -> str | None: ...

    def prepare(self, problem: Problem) -> Prepared: ...


def codes_of(fmt: Format) -> np.ndarray:
    """All codes of a format, rising."""
    return np.arange(fmt.low, fmt.high + 1, dtype=np.int64)


def patterns_of(multiplier: Multiplier, fmt: Format, bits: int) -> np.ndarray:
    """For each code of `fmt`, rising, the bit pattern that enters the multiplier."""
    return codes_of(fmt) % (1 << bits) if multiplier.signed else np.abs(codes_of(fmt))


def _span_bits(fmt: Format) -> int:
    return (fmt.high - fmt.low).bit_length()


@lru_cache(maxsize=64)
def _table(products: Products) -> np.ndarray:
    m = products.multiplier
    if m.a_bits + m.b_bits <= tables.MAX_TABLE_BITS:
        rows = patterns_of(m, products.activation, m.a_bits)
        columns = patterns_of(m, products.weight, m.b_bits)
        result = tables.table(m).astype(np.int64)[np.ix_(rows, columns)]
        if not m.signed:
            result *= np.multiply.outer(
                np.sign(codes_of(products.activation) | 1), np.sign(codes_of(products.weight) | 1)
            )
    else:
        result = products.multiply(codes_of(products.activation)[:, None], codes_of(products.weight)[None])
    result.setflags(write=False)
    return result
