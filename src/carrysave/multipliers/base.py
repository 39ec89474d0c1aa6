"""What every multiplier is: a frozen dataclass with one method, `product`, over Words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from carrysave.bits import Word, fit, rep
from carrysave.multipliers.parts import Parts
from carrysave.registry import Registry

MULTIPLIERS = Registry("multiplier")


@dataclass(frozen=True, kw_only=True)
class Multiplier(ABC):
    """A circuit that multiplies two bit words, defined once.

    `a` is the activation and `b` the weight where it multiplies in a layer; several multipliers are asymmetric.
    A subclass gives `name` and `product`; the table, the vector function, the RTL and the netlist all read it
    by calling the multiplier.

    Attributes:
        n: operand bits.
        signed: operands and product are two's complement. Unless the definition has a sign of its own, the
            unsigned circuit multiplies the magnitudes and the product's sign is the XOR of the operands'.
    """

    n: int = 8
    signed: bool = False

    name: ClassVar[str]
    catalog: ClassVar[Mapping[str, str]] = {}  # named instances: a paper's name -> spec string
    own_sign: ClassVar[bool] = False  # where signed, product() itself takes and gives two's complement words
    is_exact: ClassVar[bool] = False  # every product is right, at any width
    min_bits: ClassVar[int] = 2
    max_bits: ClassVar[int] = 32

    def __post_init__(self) -> None:
        if not self.min_bits <= self.n <= self.max_bits:
            widths = f"{self.min_bits} to {self.max_bits}" if self.min_bits < self.max_bits else f"{self.min_bits} only"
            raise ValueError(f"{self.name}: n={self.n} operand bits; it is defined for {widths}")
        self.check()

    def check(self) -> None:  # noqa: B027 - a hook that most multipliers do not need
        """Raise ValueError for parameters that cannot be."""

    @abstractmethod
    def product(self, a: Word, b: Word) -> Any:
        """The definition. Words of `a_bits` and `b_bits` in; bits above `product_bits` are dropped."""

    def parts(self) -> Parts | None:
        """Structure that makes emulation cheap (parts.py), if there is any; `product` is then built from it."""
        return None

    @property
    def a_bits(self) -> int:
        return self.n

    @property
    def b_bits(self) -> int:
        return self.n

    @property
    def product_bits(self) -> int:
        return self.a_bits + self.b_bits

    @property
    def spec(self) -> str:
        """The canonical spec string, such as "drum:k=6"."""
        return MULTIPLIERS.spec(self)

    def given_table(self) -> Any:
        """Of a multiplier defined by its products: all of them, [2^a_bits, 2^b_bits] by bit pattern. Else None."""
        return None

    @property
    def key(self) -> str:
        """What results are remembered by: the spec, with the content of a file in place of its name."""
        return self.spec

    def __str__(self) -> str:
        return self.spec

    def __call__(self, a: Word, b: Word) -> Any:
        """The product as every reading sees it: signed if `signed`, of exactly `product_bits` bits."""
        if (a.width, b.width) != (self.a_bits, self.b_bits):
            raise ValueError(
                f"{self.name}: operands of {a.width} and {b.width} bits; it takes {self.a_bits} and {self.b_bits}"
            )
        if not self.signed or self.own_sign:
            return fit(self.product(a, b), self.product_bits)
        sign = a[-1] ^ b[-1]
        magnitude = fit(self.product(_magnitude(a), _magnitude(b)), self.product_bits)
        return fit((magnitude ^ rep(sign, self.product_bits)) + sign, self.product_bits)


def _magnitude(w: Word) -> Any:
    """|w| of a two's complement word; it fits the same width, -2^(n-1) included."""
    return fit((w ^ rep(w[-1], w.width)) + w[-1], w.width)
