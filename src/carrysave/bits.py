"""Words: unsigned bit vectors of known width, and the arithmetic that is built once on them.

A multiplier is written once as a function of two Words. Read on bit planes (`planes.PlaneWord`) that function
computes tables and vectors; read on Amaranth wires (`hardware.rtl.RtlWord`) it becomes a circuit.

The contract of a Word:

* bit 0 is the least significant; there are no signed Words;
* `& | ^` zero-extend the narrower operand, `~` keeps the width, `+` grows by one bit, `-` is modulo 2^width,
  `<< int` grows by the shift, `>> int` drops bits;
* `w[i]` is one bit, `w[lo:hi]` a slice that must lie inside the word;
* a choice that depends on data is `sel.mux(if_one, if_zero)`: `bool()` and `==` raise, loops run over widths;
* constants come from an operand, `w.const(value, width)`, so that they are of its kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

TREES = ("array", "wallace", "dadda")
ADDERS = ("ripple", "sklansky", "brent_kung", "kogge_stone")
STAGES: tuple[str, ...] = (
    "terms",
    "reduction",
    "final adder",
)  # of a multiplier: where a bit was made; see `current_stage`

_stage: ContextVar[str] = ContextVar("stage", default=STAGES[0])


def current_stage() -> str:
    """The part of a multiplier that is being built: a Word that records it tells where area and energy go."""
    return _stage.get()


@contextmanager
def _in_stage(stage: str) -> Iterator[None]:
    token = _stage.set(stage)
    try:
        yield
    finally:
        _stage.reset(token)


class Word(ABC):
    """An unsigned vector of `width` bits. Subclasses give the ten primitive operations; everything else is here."""

    width: int

    @abstractmethod
    def const(self, value: int, width: int) -> Any:
        """A constant of this word's kind."""

    @abstractmethod
    def _and(self, other: Any) -> Any:
        """Bitwise AND of two words of one width; likewise `_or` and `_xor`."""

    @abstractmethod
    def _or(self, other: Any) -> Any: ...

    @abstractmethod
    def _xor(self, other: Any) -> Any: ...

    @abstractmethod
    def _not(self) -> Any: ...

    @abstractmethod
    def _sum(self, other: Any) -> Any:
        """Sum of two words of one width, one bit wider."""

    @abstractmethod
    def _difference(self, other: Any) -> Any:
        """Difference of two words of one width, modulo 2^width."""

    @abstractmethod
    def _choose(self, if_one: Any, if_zero: Any) -> Any:
        """`if_one` where this one-bit word is 1, else `if_zero`; both of one width."""

    @abstractmethod
    def _slice(self, low: int, high: int) -> Any:
        """Bits low to high-1; 0 <= low < high <= width holds."""

    @abstractmethod
    def _concat(self, words: Sequence[Any]) -> Any:
        """The given words (at least one), the first least significant."""

    def _product(self, other: Any) -> Any:
        """Product of two words in two's complement, as wide as both: row by row, the top one subtracted.

        Wires have a `*` of their own.
        """
        width = self.width + other.width
        total, wide = self.const(0, width), sext(self, width)
        for i in range(other.width):
            row = rep(other[i], width) & fit(wide << i, width)
            total = fit(total + row, width) if i + 1 < other.width else total - row
        return total

    def __and__(self, other: Any) -> Any:
        a, b = _aligned(self, other)
        return a._and(b)

    def __or__(self, other: Any) -> Any:
        a, b = _aligned(self, other)
        return a._or(b)

    def __xor__(self, other: Any) -> Any:
        a, b = _aligned(self, other)
        return a._xor(b)

    def __invert__(self) -> Any:
        return self._not()

    def __add__(self, other: Any) -> Any:
        a, b = _aligned(self, other)
        return a._sum(b)

    def __sub__(self, other: Any) -> Any:
        a, b = _aligned(self, other)
        return a._difference(b)

    def __lshift__(self, amount: int) -> Any:
        if amount < 0:
            raise ValueError(f"shift by {amount}: a Word shifts by a non-negative int; use >> to drop bits")
        return self if amount == 0 else self._concat([self.const(0, amount), self])

    def __rshift__(self, amount: int) -> Any:
        if not 0 <= amount < self.width:
            raise ValueError(f"shift by {amount}: a Word of width {self.width} drops 0 to {self.width - 1} bits")
        return self if amount == 0 else self._slice(amount, self.width)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            low = 0 if index.start is None else index.start
            high = self.width if index.stop is None else index.stop
            if index.step is not None or not 0 <= low < high <= self.width:
                raise IndexError(f"slice [{low}:{high}] lies outside a Word of width {self.width}, or is empty")
            return self if (low, high) == (0, self.width) else self._slice(low, high)
        position = index + self.width if index < 0 else index
        if not 0 <= position < self.width:
            raise IndexError(f"bit {index} lies outside a Word of width {self.width}")
        return self if self.width == 1 else self._slice(position, position + 1)

    def mux(self, if_one: Any, if_zero: Any) -> Any:
        """`if_one` where this one-bit word is 1, else `if_zero`; the narrower choice is zero-extended."""
        if self.width != 1:
            raise ValueError(f"mux selects by one bit, not by a Word of width {self.width}")
        one, zero = _aligned(if_one, if_zero)
        return self._choose(one, zero)

    def __iter__(self) -> Any:
        return (self[i] for i in range(self.width))

    def __len__(self) -> int:
        return self.width

    def __bool__(self) -> NoReturn:
        raise TypeError("a Word has no truth value: choose with sel.mux(if_one, if_zero), loop over widths")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("Words are not compared with ==: use `~any_bit(a ^ b)`, which is a Word")

    def __hash__(self) -> int:
        return id(self)


def _aligned(a: Word, b: Word) -> tuple[Any, Any]:
    if not isinstance(b, Word) or not isinstance(a, Word):
        got = type(a if isinstance(b, Word) else b).__name__
        raise TypeError(f"expected a Word, got {got}; constants come from an operand: w.const(value, width)")
    width = max(a.width, b.width)
    return zext(a, width), zext(b, width)


def check_constant(value: int, width: int) -> None:
    """Raises ValueError unless `value` fits `width` bits."""
    if width < 1 or not 0 <= value < (1 << width):
        raise ValueError(f"constant {value} does not fit {width} bits, unsigned")


def cat(*words: Word) -> Any:
    """Concatenation, the first word least significant."""
    return words[0] if len(words) == 1 else words[0]._concat(words)


def rep(bit: Word, count: int) -> Any:
    """One bit repeated `count` times: the mask of a sign."""
    if bit.width != 1:
        raise ValueError(f"rep repeats one bit, not a Word of width {bit.width}")
    return cat(*[bit] * count)


def zext(w: Word, width: int) -> Any:
    """`w` zero-extended to `width` bits."""
    if width < w.width:
        raise ValueError(f"cannot extend a Word of width {w.width} to {width} bits; use fit to cut it")
    return w if width == w.width else w._concat([w, w.const(0, width - w.width)])


def sext(w: Word, width: int) -> Any:
    """`w` with its top bit repeated up to `width` bits: two's complement extension."""
    return w if width == w.width else cat(w, rep(w[-1], width - w.width))


def fit(w: Word, width: int) -> Any:
    """`w` modulo 2^width, zero-extended if it is narrower."""
    return w[:width] if w.width > width else zext(w, width)


def _tree(bits: Sequence[Any], combine: Callable[[Any, Any], Any]) -> Any:
    level = list(bits)
    while len(level) > 1:
        pairs = [combine(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def any_bit(w: Word) -> Any:
    """1 where some bit is 1."""
    return _tree(list(w), lambda a, b: a | b)


def all_bits(w: Word) -> Any:
    """1 where every bit is 1."""
    return _tree(list(w), lambda a, b: a & b)


def parity(w: Word) -> Any:
    """1 where an odd number of bits is 1."""
    return _tree(list(w), lambda a, b: a ^ b)


def leading_one_hot(w: Word) -> Any:
    """Only the highest 1 of `w` kept; 0 for 0. Logarithmic depth."""
    above = list(w)  # after the loop: OR of bit i and all higher bits
    step = 1
    while step < w.width:
        above = [bit | above[i + step] if i + step < w.width else bit for i, bit in enumerate(above)]
        step *= 2
    return cat(*[w[i] & ~above[i + 1] if i + 1 < w.width else w[i] for i in range(w.width)])


def leading_one(w: Word) -> Any:
    """floor(log2 w) as a Word of ceil(log2 width) bits (at least one); 0 for w = 0."""
    return encode(leading_one_hot(w))


def encode(one_hot: Word) -> Any:
    """Position of the only 1 of a one-hot word; 0 for 0."""
    bits = max(1, (one_hot.width - 1).bit_length())
    zero = one_hot.const(0, 1)
    return cat(
        *[
            _tree([one_hot[i] for i in range(one_hot.width) if i >> j & 1] or [zero], lambda a, b: a | b)
            for j in range(bits)
        ]
    )


def shl(w: Word, amount: Word, width: int) -> Any:
    """`w << amount` modulo 2^width, by a barrel shifter."""
    result = fit(w, width)
    for j in range(amount.width):
        shifted = result.const(0, width) if 1 << j >= width else fit(result << (1 << j), width)
        result = amount[j].mux(shifted, result)
    return result


def shr(w: Word, amount: Word) -> Any:
    """`w >> amount`, of the width of `w`, by a barrel shifter."""
    result = w
    for j in range(amount.width):
        shifted = w.const(0, w.width) if 1 << j >= w.width else zext(result >> (1 << j), w.width)
        result = amount[j].mux(shifted, result)
    return result


def normalised(w: Word, leading: Word) -> Any:
    """`w` shifted left so that its bit `leading`, the leading 1, becomes the top bit."""
    return shl(w, _from_top(leading, w.width), w.width)


def antilog(log: Word, fraction_bits: int, width: int) -> Any:
    """2^k * (1 + f) truncated to an integer of `width` bits, for log = {k, f} with k < width."""
    k = log[fraction_bits:]
    significand = cat(log[:fraction_bits], log.const(1, 1)) if fraction_bits else log.const(1, 1)
    return shr(significand << (width - 1 - fraction_bits), _from_top(k, width))


def _from_top(position: Word, width: int) -> Any:
    """width - 1 - position."""
    if width == 1 << position.width:
        return ~position
    return position.const(width - 1, max(position.width, (width - 1).bit_length())) - position


def times(a: Word, b: Word) -> Any:
    """a * b in two's complement, as wide as both; wires multiply by the `*` of RTL, left to whoever maps it.

    That is a DSP block on an FPGA. A circuit whose adders are to be its own adds `partial_products`.
    """
    return a._product(b)


def half_adder(a: Word, b: Word) -> tuple[Any, Any]:
    """(sum, carry) of two bits."""
    return a ^ b, a & b


def full_adder(a: Word, b: Word, c: Word) -> tuple[Any, Any]:
    """(sum, carry) of three bits."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


def add(a: Word, b: Word, adder: str = "sklansky", carry: Word | None = None) -> Any:
    """a + b + carry, one bit wider than the wider operand, by the named adder (one of ADDERS)."""
    _check_name("adder", adder, ADDERS)
    x, y = _aligned(a, b)
    if adder == "ripple":
        return _ripple(x, y, carry)
    generate, propagate = list(x & y), list(x ^ y)
    carries = _prefix(generate, propagate, adder, carry)
    first = [propagate[0]] if carry is None else [propagate[0] ^ carry]
    return cat(*first, *[propagate[i] ^ carries[i - 1] for i in range(1, x.width)], carries[-1])


def _ripple(x: Word, y: Word, carry: Word | None) -> Any:
    bits: list[Any] = []
    for i in range(x.width):
        total, carry = half_adder(x[i], y[i]) if carry is None else full_adder(x[i], y[i], carry)
        bits.append(total)
    assert carry is not None
    return cat(*bits, carry)


def _prefix(generate: list[Any], propagate: list[Any], adder: str, carry: Word | None) -> list[Any]:
    """Carry out of every position, by a parallel-prefix network over (generate, propagate)."""
    g, p = list(generate), list(propagate)
    if carry is not None:
        g[0] = g[0] | (p[0] & carry)
    for level in _prefix_levels(len(g), adder):
        before_g, before_p = list(g), list(p)
        for high, low in level:
            g[high] = before_g[high] | (before_p[high] & before_g[low])
            p[high] = before_p[high] & before_p[low]
    return g


def _prefix_levels(width: int, adder: str) -> list[list[tuple[int, int]]]:
    """Per level the (position, lower position) pairs that a prefix network combines."""
    levels: list[list[tuple[int, int]]] = []
    distances = [1 << k for k in range((width - 1).bit_length())]
    if adder == "kogge_stone":
        return [[(i, i - d) for i in range(d, width)] for d in distances]
    if adder == "sklansky":
        return [[(i, (i // d) * d - 1) for i in range(width) if i // d % 2] for d in distances]
    for d in distances:  # brent_kung: a tree up, then a tree down
        levels.append([(i, i - d) for i in range(2 * d - 1, width, 2 * d)])
    for d in reversed(distances):
        levels.append([(i, i - d) for i in range(3 * d - 1, width, 2 * d)])
    return levels


def less(a: Word, b: Word) -> Any:
    """1 where a < b, unsigned."""
    x, y = _aligned(a, b)
    return ~add(x, ~y, carry=x.const(1, 1))[-1]


def negate(w: Word) -> Any:
    """-w modulo 2^width."""
    return w.const(0, w.width) - w


def rows_to_columns(rows: Sequence[tuple[Word, int]]) -> list[list[Any]]:
    """Columns of bits of equal weight of the sum of `word << shift` over all rows, for `sum_columns`."""
    columns: list[list[Any]] = [[] for _ in range(max(word.width + shift for word, shift in rows))]
    for word, shift in rows:
        for i in range(word.width):
            columns[shift + i].append(word[i])
    return columns


def minus(word: Word, shift: int, width: int) -> list[tuple[Any, int]]:
    """Rows for `rows_to_columns` that subtract `word << shift` modulo 2^width: the complement, ones above it, and 1."""
    ones = width - shift - word.width
    complement = cat(~word, word.const((1 << ones) - 1, ones)) if ones else ~word
    return [(complement, shift), (word.const(1, 1), shift)]


def partial_products(a: Word, b: Word) -> list[list[Any]]:
    """Columns of the exact product: the bits a[i] & b[j] at weight 2^(i+j), rows in the order of a's bits."""
    return rows_to_columns([(rep(a[i], b.width) & b, i) for i in range(a.width)])


def sum_columns(
    columns: Sequence[Sequence[Word]], tree: str = "dadda", adder: str = "sklansky", width: int | None = None
) -> Any:
    """The exact sum of bits: `columns[c]` holds one-bit Words of weight 2^c.

    The bits are reduced to two rows by carry-save adders arranged as `tree` (one of TREES), then added by
    `adder`. Every exact sum of a multiplier goes through here, so that two multipliers differ in their
    terms and not in how a synthesiser happened to add them.

    Args:
        width: bits of the result; carries beyond are dropped. Default: what the largest sum needs.

    Raises:
        ValueError: for an unknown tree or adder, or if there is no bit at all.
    """
    _check_name("tree", tree, TREES)
    _check_name("adder", adder, ADDERS)
    if not any(columns):
        raise ValueError("sum_columns: no bits to add; an empty sum is w.const(0, width)")
    largest = sum(len(bits) << c for c, bits in enumerate(columns))
    width = largest.bit_length() if width is None else width
    work = [list(columns[c]) if c < len(columns) else [] for c in range(width)]
    if not any(work):
        return next(bit for bits in columns for bit in bits).const(0, width)
    reduce = {"array": _reduce_array, "wallace": _reduce_wallace, "dadda": _reduce_dadda}[tree]
    with _in_stage("reduction"):
        rows = reduce(work)
    with _in_stage("final adder"):
        return _add_two_rows(rows, adder, width)


def _check_name(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise ValueError(f"unknown {what} {name!r}; one of {', '.join(names)}")


def _put(columns: list[list[Any]], position: int, bit: Any) -> None:
    if position < len(columns):  # a carry beyond the result's width is dropped
        columns[position].append(bit)


def _reduce_array(columns: list[list[Any]]) -> list[list[Any]]:
    """One more row at a time onto a carry-save pair: the linear array of an array multiplier."""
    state: list[list[Any]] = [bits[:2] for bits in columns]
    for row in range(2, max(len(bits) for bits in columns)):
        following: list[list[Any]] = [[] for _ in columns]
        for c, bits in enumerate(columns):
            operands = state[c] + bits[row : row + 1]
            if len(operands) >= 3:
                total, carry = full_adder(*operands[:3])
                operands = [total, *operands[3:]]
                _put(following, c + 1, carry)
            following[c] += operands
        state = following
    return _reduce_dadda(state)  # where a carry met two bits that no row followed, three are left


def _reduce_wallace(columns: list[list[Any]]) -> list[list[Any]]:
    """As early as possible: in each level every three bits of a column become two, every leftover pair too."""
    while max(len(bits) for bits in columns) > 2:
        following: list[list[Any]] = [[] for _ in columns]
        for c, bits in enumerate(columns):
            for start in range(0, len(bits), 3):
                group = bits[start : start + 3]
                if len(group) == 1 or len(bits) <= 2:
                    following[c] += group
                    continue
                total, carry = full_adder(*group) if len(group) == 3 else half_adder(*group)
                following[c].append(total)
                _put(following, c + 1, carry)
        columns = following
    return columns


def _reduce_dadda(columns: list[list[Any]]) -> list[list[Any]]:
    """As late as possible: each level reduces only to the next height of 2, 3, 4, 6, 9, 13, ..."""
    heights = [2]
    while heights[-1] < max(len(bits) for bits in columns):
        heights.append(heights[-1] * 3 // 2)
    for height in reversed(heights):
        following: list[list[Any]] = [[] for _ in columns]
        for c, bits in enumerate(columns):
            waiting = list(bits)
            while len(waiting) + len(following[c]) > height:
                excess = len(waiting) + len(following[c]) - height
                group, waiting = (waiting[:2], waiting[2:]) if excess == 1 else (waiting[:3], waiting[3:])
                total, carry = full_adder(*group) if len(group) == 3 else half_adder(*group)
                following[c].append(total)
                _put(following, c + 1, carry)
            following[c] += waiting
        columns = following
    return columns


def _add_two_rows(columns: list[list[Any]], adder: str, width: int) -> Any:
    some = next(bit for bits in columns for bit in bits)
    zero = some.const(0, 1)
    start = next((c for c, bits in enumerate(columns) if len(bits) == 2), width)
    low = [bits[0] if bits else zero for bits in columns[:start]]
    if start == width:
        return cat(*low)
    first = cat(*[bits[0] if bits else zero for bits in columns[start:]])
    second = cat(*[bits[1] if len(bits) == 2 else zero for bits in columns[start:]])
    return fit(cat(*low, add(first, second, adder)), width)
