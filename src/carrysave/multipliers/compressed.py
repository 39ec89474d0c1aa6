"""The HEAM form: Zheng, Li and others, "HEAM: high-efficiency approximate multiplier optimization for deep neural
networks" (ISCAS 2022), equations 3 and 4, and the published 8x8 instance."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_, xor
from pathlib import Path
from typing import Any, ClassVar

from carrysave.bits import Word, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier
from carrysave.paths import write_atomically
from carrysave.registry import nearest

OPERATIONS = ("and", "or", "xor", "pass")
HEAM = "8x4_0.7or1.6@8_1.7@8_2.6and3.5@9_2.6or3.5@9_2.7or3.6@9_3.7@10"
LARGEST = 4  # bits of a group; the paper has two
_MAX_FILE_BYTES = 1 << 22


@dataclass(frozen=True)
class Term:
    """`op` over a group of partial products, standing in a column.

    Attributes:
        op: "and", "or", "xor" of two to four bits (the paper: two), or "pass" for one.
        group: pairs (i, j) for the partial product x[i] & y[j].
        column: the weight is 2^column, whatever the weights of the group.
    """

    op: str
    group: tuple[tuple[int, int], ...]
    column: int

    def __str__(self) -> str:
        bits = [f"{i}.{j}" for i, j in self.group]
        return (bits[0] if self.op == "pass" else self.op.join(bits)) + f"@{self.column}"


@dataclass(frozen=True)
class Design:
    """Which rows of the partial products are replaced, and the terms that replace them.

    Attributes:
        n: operand bits.
        operand: whose bits number the rows: "x" (row i is x[i] ? y << i : 0) or "y".
        rows: the rows 0 to rows - 1 are replaced, the others stay.
        terms: what is added instead.

    Raises:
        ValueError: for a design that cannot be; it says which term is wrong and why.
    """

    n: int
    operand: str
    rows: int
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not 2 <= self.n <= 32:
            raise ValueError(f"n={self.n} operand bits; 2 to 32 are possible")
        if self.operand not in ("x", "y"):
            raise ValueError(f"operand is 'x' or 'y', whose rows are compressed, not {self.operand!r}")
        if not 0 <= self.rows <= self.n:
            raise ValueError(f"rows={self.rows} compressed rows; n={self.n} has {self.n}")
        for number, term in enumerate(self.terms):
            problem = self._problem(term)
            if problem:
                raise ValueError(f"term {number} ({term}): {problem}")

    def _problem(self, term: Term) -> str | None:
        if term.op not in OPERATIONS:
            return f"unknown operation {term.op!r}; one of {', '.join(OPERATIONS)}"
        if term.op == "pass" and len(term.group) != 1:
            return f"pass takes 1 partial product, not {len(term.group)}"
        if term.op != "pass" and not 2 <= len(term.group) <= LARGEST:
            return f"{term.op} takes 2 to {LARGEST} partial products, not {len(term.group)}"
        if len(set(term.group)) != len(term.group):
            return "the same partial product twice"
        for i, j in term.group:
            if not (0 <= i < self.n and 0 <= j < self.n):
                return f"partial product ({i}, {j}) lies outside the {self.n} x {self.n} matrix"
            if (i if self.operand == "x" else j) >= self.rows:
                return (
                    f"partial product ({i}, {j}) lies in a row that stays and would count twice;"
                    f" the compressed rows are {self.operand}[0] to {self.operand}[{self.rows - 1}]"
                )
        if not 0 <= term.column < 2 * self.n:
            return f"column {term.column} lies outside the product; 0 to {2 * self.n - 1} are possible"
        return None

    @property
    def text(self) -> str:
        """The design in one line, as a spec string takes it: `8x4_0.7or1.6@8_1.7@8` is n, operand, rows and terms."""
        return "_".join([f"{self.n}{self.operand}{self.rows}", *map(str, self.terms)])

    @classmethod
    def from_text(cls, text: str) -> Design:
        """The design that `text` gives in one line. Raises ValueError."""
        head, *terms = text.split("_")
        match = re.fullmatch(r"(\d{1,3})([xy])(\d{1,3})", head)
        if not match:
            raise ValueError(f"{head!r} is no design: expected n, x or y, and rows, such as 8x4")
        parsed = tuple(_parse_term(number, term) for number, term in enumerate(terms))
        return cls(int(match[1]), match[2], int(match[3]), parsed)

    @property
    def json(self) -> str:
        """The documented JSON form; `from_json` reads it."""
        terms = [{"op": t.op, "group": [list(pair) for pair in t.group], "column": t.column} for t in self.terms]
        lines = ",\n    ".join(json.dumps(term) for term in terms)
        head = f'{{\n  "n": {self.n},\n  "operand": "{self.operand}",\n  "rows": {self.rows},\n  "terms": ['
        return head + (f"\n    {lines}\n  " if terms else "") + "]\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Design:
        """The design in a JSON text.

            {"n": 8, "operand": "x", "rows": 4,
             "terms": [{"op": "or", "group": [[0, 7], [1, 6]], "column": 8},
                       {"op": "pass", "group": [[1, 7]], "column": 8}]}

        Raises:
            ValueError: for a text that is no JSON, a missing, unknown or mistyped key, or an impossible term.
        """
        try:
            data = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from None
        entries = _object("the design", data, ("n", "operand", "rows", "terms"))
        if not isinstance(entries["terms"], list):
            raise ValueError(f"terms is a list, not {entries['terms']!r}")
        terms = tuple(_term(number, entry) for number, entry in enumerate(entries["terms"]))
        return cls(_integer("n", entries["n"]), entries["operand"], _integer("rows", entries["rows"]), terms)

    @classmethod
    def load(cls, path: Path | str) -> Design:
        """The design in a JSON file. Raises ValueError, OSError."""
        file = Path(path)
        if not file.is_file():
            near = nearest(str(path), ["heam"])
            raise ValueError(f"no design file {file}{near}; expected heam, FILE.json or a design such as {HEAM[:18]}")
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError(f"{file}: {file.stat().st_size} bytes is no design; expected a JSON file")
        try:
            return cls.from_json(file.read_text(encoding="utf-8"))
        except ValueError as error:  # UnicodeDecodeError is one
            raise ValueError(f"{file}: {error}") from None

    def save(self, path: Path | str) -> Path:
        """Write the JSON form to `path`, whole or not at all."""
        return write_atomically(path, self.json.encode())


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Compressed(Multiplier):
    """Some rows of the partial products replaced by few terms over them; everything is added exactly.

    `Compressed.of(design)` builds one in memory; its spec string holds the design, so it can be written down.

    Attributes:
        source: "heam" (the published instance), a JSON file (`Design.from_json`), or a design in one line.
        design: what `source` says.
    """

    n: int = field(default=8, init=False)
    source: str
    design: Design = field(init=False, repr=False)
    name = "compressed"
    positional: ClassVar[str] = "source"
    catalog = {"HEAM": "compressed:heam"}

    @classmethod
    def of(cls, design: Design) -> Compressed:
        """The multiplier of a design in memory."""
        return cls(source=design.text)

    def check(self) -> None:
        source = HEAM if self.source == "heam" else self.source
        inline = re.match(r"\d+[xy]\d+(_|$)", source)
        design = Design.from_text(source) if inline else Design.load(source)
        object.__setattr__(self, "design", design)
        object.__setattr__(self, "n", design.n)

    @property
    def key(self) -> str:
        return Compressed(source=self.design.text, signed=self.signed).spec

    def product(self, a: Word, b: Word) -> Any:
        bits = [[a[i] & b[j] for j in range(self.n)] for i in range(self.n)]
        columns: list[list[Any]] = [[] for _ in range(self.product_bits)]
        for i in range(self.n):
            for j in range(self.n):
                if (i if self.design.operand == "x" else j) >= self.design.rows:
                    columns[i + j].append(bits[i][j])
        for term in self.design.terms:
            columns[term.column].append(_evaluate(term.op, [bits[i][j] for i, j in term.group]))
        if not any(columns):
            return a.const(0, self.product_bits)
        return sum_columns(columns, width=self.product_bits)


def _evaluate(op: str, group: list[Any]) -> Any:
    return group[0] if op == "pass" else reduce({"and": and_, "or": or_, "xor": xor}[op], group)


def _parse_term(number: int, text: str) -> Term:
    match = re.fullmatch(r"(\d{1,3}\.\d{1,3}(?:([a-z]+)\d{1,3}\.\d{1,3}(?:\2\d{1,3}\.\d{1,3})*)?)@(\d{1,3})", text)
    if not match:
        raise ValueError(f"term {number} ({text}): expected a term such as 0.7or1.6@8 or 1.7@8")
    op = match[2] or "pass"
    pairs = [bit.split(".") for bit in match[1].split(op)]
    return Term(op, tuple((int(i), int(j)) for i, j in pairs), int(match[3]))


def _term(number: int, entry: Any) -> Term:
    where = f"term {number}"
    parts = _object(where, entry, ("op", "group", "column"))
    group = parts["group"]
    if not isinstance(group, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in group):
        raise ValueError(f"{where}: group is a list of [i, j] partial products, not {json.dumps(group)}")
    pairs = tuple((_integer(f"{where}: i", i), _integer(f"{where}: j", j)) for i, j in group)
    if not isinstance(parts["op"], str):
        raise ValueError(f"{where}: op is one of {', '.join(OPERATIONS)}, not {parts['op']!r}")
    return Term(parts["op"], pairs, _integer(f"{where}: column", parts["column"]))


def _object(where: str, value: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is a JSON object with {', '.join(keys)}, not {json.dumps(value)[:60]}")
    missing, unknown = [k for k in keys if k not in value], [k for k in value if k not in keys]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(unknown)}"
        raise ValueError(f"{where} {what}; it has exactly {', '.join(keys)}")
    return value


def _integer(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} is an integer, not {value!r}")
    return value
