"""Boolean functions as Liberty writes them: "(A1 * A2) + !B", "A' B", "(A&B)|C", "A^B"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

Expression = tuple[Any, ...]  # ("pin", name) | ("const", bool) | ("not", e) | ("and" | "or" | "xor", e, e, ...)

_TOKEN = re.compile(r"\s*([A-Za-z_][\w.]*(?:\[\d+\])?|\"|[01]|[!'^*&+|()])")


@cache
def parse_function(text: str) -> Expression:
    """The expression tree of a Liberty function. `'` and `!` bind tightest, then `^`, then `* &` or nothing, then `+
    |`.

    Raises ValueError where the text is no Boolean expression.
    """
    tokens, position, stripped = [], 0, text.strip().rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if not match:
            raise ValueError(f"function {text!r}: cannot read {stripped[position : position + 10]!r}")
        if match[1] != '"':
            tokens.append(match[1])
        position = match.end()
    parser = _Parser(tokens, text)
    tree = parser.sum()
    if parser.position != len(tokens):
        raise ValueError(f"function {text!r}: {tokens[parser.position]!r} is not expected here")
    return tree


class _Parser:
    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens, self.text, self.position = tokens, text, 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def sum(self) -> Expression:
        terms = [self.product()]
        while self.peek() in ("+", "|"):
            self.take()
            terms.append(self.product())
        return terms[0] if len(terms) == 1 else ("or", *terms)

    def product(self) -> Expression:
        factors = [self.exclusive()]
        while self.peek() and self.peek() not in "+|)":
            if self.peek() in "*&":
                self.take()
            factors.append(self.exclusive())
        return factors[0] if len(factors) == 1 else ("and", *factors)

    def exclusive(self) -> Expression:
        terms = [self.literal()]
        while self.peek() == "^":
            self.take()
            terms.append(self.literal())
        return terms[0] if len(terms) == 1 else ("xor", *terms)

    def literal(self) -> Expression:
        token = self.take()
        if token == "!":
            return ("not", self.literal())
        if token == "(":
            tree = self.sum()
            if self.take() != ")":
                raise ValueError(f"function {self.text!r}: a parenthesis is not closed")
        elif token in ("0", "1"):
            tree = ("const", token == "1")
        elif token and (token[0].isalpha() or token[0] == "_"):
            tree = ("pin", token)
        else:
            raise ValueError(f"function {self.text!r}: an operand is missing before {token or 'the end'!r}")
        while self.peek() == "'":
            self.take()
            tree = ("not", tree)
        return tree


def pins_of(tree: Expression) -> tuple[str, ...]:
    """Names of the pins an expression reads, in order of first appearance."""
    if tree[0] == "pin":
        return (tree[1],)
    if tree[0] == "const":
        return ()
    return tuple(dict.fromkeys(name for part in tree[1:] for name in pins_of(part)))


def evaluate(tree: Expression, values: Mapping[str, Any], ones: Any) -> Any:
    """The expression on values that know `& | ^`; `ones` is the value with every bit set (`~x` is `x ^ ones`)."""
    kind = tree[0]
    if kind == "pin":
        return values[tree[1]]
    if kind == "const":
        return ones if tree[1] else ones ^ ones
    if kind == "not":
        return evaluate(tree[1], values, ones) ^ ones
    result = evaluate(tree[1], values, ones)
    for part in tree[2:]:
        operand = evaluate(part, values, ones)
        if kind == "and":
            result = result & operand
        elif kind == "or":
            result = result | operand
        else:
            result = result ^ operand
    return result


def truth_table(tree: Expression, pins: tuple[str, ...]) -> int:
    """The function's values as bits of an integer; bit k is the value where pin i has bit i of k."""
    rows = 1 << len(pins)
    ones = (1 << rows) - 1
    columns = {}
    for i, pin in enumerate(pins):
        block = ((1 << (1 << i)) - 1) << (1 << i)
        columns[pin] = sum(block << start for start in range(0, rows, 2 << i))
    return evaluate(tree, columns, ones)
