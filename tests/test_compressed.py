"""Designs of the HEAM form: in memory, in one line, in JSON; and what is wrong with those that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import carrysave as cs
from carrysave.multipliers.compressed import HEAM, Compressed, Design, Term
from carrysave.tables import table


@st.composite
def designs(draw: st.DrawFn) -> Design:
    n = draw(st.integers(2, 6))
    operand, rows = draw(st.sampled_from("xy")), draw(st.integers(1, n))
    bits = [(i, j) for i in range(n) for j in range(n) if (i if operand == "x" else j) < rows]
    term = st.builds(
        lambda op, group, column: Term(op, tuple(group[:1] if op == "pass" else group), column),
        st.sampled_from(["and", "or", "xor", "pass"]),
        st.lists(st.sampled_from(bits), min_size=2, max_size=min(4, len(bits)), unique=True),
        st.integers(0, 2 * n - 1),
    )
    return Design(n, operand, rows, tuple(draw(st.lists(term, max_size=6))))


def model(design: Design) -> np.ndarray:
    """Equation 4 over integers, modulo 2^2n."""
    x, y = np.meshgrid(np.arange(1 << design.n), np.arange(1 << design.n), indexing="ij")
    kept = x >> design.rows << design.rows if design.operand == "x" else x
    z = kept * (y >> design.rows << design.rows if design.operand == "y" else y)
    operations: dict[str, Any] = {
        "and": lambda s: s.min(0), "or": lambda s: s.max(0), "xor": lambda s: s.sum(0) % 2, "pass": lambda s: s.sum(0),
    }  # fmt: skip
    for term in design.terms:
        bits = np.stack([x >> i & y >> j & 1 for i, j in term.group])
        z = z + (operations[term.op](bits) << term.column)
    return z % (1 << 2 * design.n)


@given(design=designs())
@settings(max_examples=80, deadline=None)
def test_a_design_survives_every_form_and_computes_equation_4(design: Design) -> None:
    assert Design.from_text(design.text) == design == Design.from_json(design.json)
    m = Compressed.of(design)
    assert cs.multiplier(m.spec) == m and m.n == design.n
    assert (table(m) == model(design)).all()


def test_files(tmp_path: Path) -> None:
    published = cs.multiplier("compressed:heam")
    file = published.design.save(tmp_path / "heam.json")
    loaded = cs.multiplier(f"compressed:{file}")
    assert loaded.design == published.design and loaded.spec == f"compressed:{file}"
    assert loaded.key == published.key == f"compressed:{HEAM}"
    assert (table(loaded) == table(published)).all()
    signed = cs.multiplier(f"compressed:{file},signed=true")
    assert signed.key == f"compressed:{HEAM},signed=true" or signed.key == f"compressed:signed=true,{HEAM}"
    assert cs.multiplier(signed.key).design == signed.design and cs.multiplier(signed.key).signed


def test_the_published_instance_is_that_of_the_document() -> None:
    terms = [(t.op, t.group, t.column) for t in cs.multiplier("compressed:heam").design.terms]
    assert terms == [
        ("or", ((0, 7), (1, 6)), 8),
        ("pass", ((1, 7),), 8),
        ("and", ((2, 6), (3, 5)), 9),
        ("or", ((2, 6), (3, 5)), 9),
        ("or", ((2, 7), (3, 6)), 9),
        ("pass", ((3, 7),), 10),
    ]


def changed(path: str, value: Any) -> str:
    """A good design with one thing replaced, such as changed("terms.1.column", 99)."""
    design = json.loads(Design.from_text("8x4_0.7or1.6@8_1.7@8").json)
    *way, last = path.split(".")
    place: Any = design
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    if value is None:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(design)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", r"the design is a JSON object with n, operand, rows, terms, not \[1\]"),
        (changed("n", None), "the design lacks n; it has exactly n, operand, rows, terms"),
        (changed("comment", "x"), "the design has unknown comment"),
        (changed("n", 1), "n=1 operand bits; 2 to 32"),
        (changed("n", 8.5), "n is an integer, not 8.5"),
        (changed("n", True), "n is an integer, not True"),
        (changed("operand", "z"), "operand is 'x' or 'y'"),
        (changed("rows", 9), "rows=9 compressed rows; n=8 has 8"),
        (changed("terms", {"op": "or"}), "terms is a list"),
        (changed("terms.1", 7), "term 1 is a JSON object with op, group, column, not 7"),
        (changed("terms.1.column", None), "term 1 lacks column"),
        (changed("terms.1.column", 16), "column 16 lies outside the product; 0 to 15 are possible"),
        (changed("terms.1.column", "8"), "term 1: column is an integer, not '8'"),
        (changed("terms.0.op", "nand"), "term 0 .*: unknown operation 'nand'; one of and, or, xor, pass"),
        (changed("terms.0.op", 3), "term 0: op is one of and, or, xor, pass, not 3"),
        (changed("terms.0.op", "pass"), "pass takes 1 partial product, not 2"),
        (changed("terms.1.op", "xor"), "term 1 .*: xor takes 2 to 4 partial products, not 1"),
        (changed("terms.0.group", [[0, 7], [0, 7]]), "the same partial product twice"),
        (changed("terms.0.group", [[0, 7], [1, 8]]), r"\(1, 8\) lies outside the 8 x 8 matrix"),
        (changed("terms.0.group", [[0, 7], [5, 2]]), r"\(5, 2\) lies in a row that stays .* are x\[0\] to x\[3\]"),
        (changed("terms.0.group", [0, 7]), r"term 0: group is a list of \[i, j\] partial products, not \[0, 7\]"),
        (changed("terms.0.group.0", [0, 1.5]), "term 0: j is an integer, not 1.5"),
    ],
)
def test_errors_say_which_term_and_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(ValueError, match=message) as found:
        cs.multiplier(f"compressed:{tmp_path / 'd.json'}")
    assert "d.json" in str(found.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.json", "no design file nowhere.json; expected heam, FILE.json or a design such as 8x4_"),
        ("8x4_0.7or1.6", r"term 0 \(0.7or1.6\): expected a term such as 0.7or1.6@8"),
        ("8x4_0.7or1.6@8_", "term 1 .*: expected a term"),
        ("8x4_0.7or1.6xor2.5@8", r"term 0 \(0.7or1.6xor2.5@8\): expected a term"),
        ("8x4_0.7@16", "term 0 .*column 16 lies outside"),
        ("99x4", "n=99 operand bits"),
    ],
)
def test_errors_of_designs_in_one_line(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cs.multiplier(f"compressed:{source}")


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_bytes(b"\xff\x00\xfe")
    with pytest.raises(ValueError, match="d.json: 'utf-8' codec"):
        Design.load(tmp_path / "d.json")
    (tmp_path / "big.json").write_bytes(b" " * ((1 << 22) + 1))
    with pytest.raises(ValueError, match="4194305 bytes is no design"):
        Design.load(tmp_path / "big.json")
