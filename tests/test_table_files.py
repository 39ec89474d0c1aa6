"""`table:FILE` in its three forms: what is read, what is refused, and the circuit made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import carrysave as cs
from carrysave.multipliers.table import _Decisions
from carrysave.planes import PlaneWord
from carrysave.table_files import read_table, truth_tables
from carrysave.tables import multiply, table

EXACT = np.outer(np.arange(256), np.arange(256))


def circuit_table(m: Any) -> np.ndarray:
    """The table again, from the circuit rather than from the file."""
    a, b = np.arange(1 << m.a_bits), np.arange(1 << m.b_bits)
    x, y = PlaneWord.from_ints(np.repeat(a, b.size), m.a_bits), PlaneWord.from_ints(np.tile(b, a.size), m.b_bits)
    return m(x, y).to_ints(m.signed).reshape(a.size, b.size)


def saved(path: Path, entries: np.ndarray) -> Path:
    np.save(path, entries)
    return path


@pytest.mark.parametrize("kind", ["npy", "csv", "tabs", "spaces", "semicolons", "raw", "text without a suffix"])
def test_forms(tmp_path: Path, kind: str) -> None:
    entries = table(cs.multiplier("recovery:c=6"))
    separators = {"csv": ", ", "tabs": "\t", "spaces": "  ", "semicolons": ";", "text without a suffix": " "}
    if kind == "npy":
        file = saved(tmp_path / "t.npy", entries.astype(np.uint16))
    elif kind == "raw":
        file = tmp_path / "t.bin"
        file.write_bytes(entries.astype("<u2").tobytes())
    else:
        file = tmp_path / {"csv": "t.csv", "text without a suffix": "lut"}.get(kind, "t.txt")
        file.write_text("\n".join(separators[kind].join(map(str, row)) for row in entries) + "\n\n")
    m = cs.multiplier(f"table:{file}")
    assert (m.n, m.a_bits, m.b_bits, m.product_bits, m.signed) == (8, 8, 8, 16, False)
    assert (table(m) == entries).all() and table(m).dtype == np.int32
    assert (multiply(m, np.arange(256), np.arange(256)) == np.diag(entries)).all()
    assert m.spec == f"table:{file}" and cs.multiplier(m.spec) == m


@pytest.mark.parametrize("spec", ["exact:n=4", "recovery:c=6", "mitchell_w:w=6", "compressed:heam,signed=true"])
def test_the_circuit_is_the_table(tmp_path: Path, spec: str) -> None:
    source = cs.multiplier(spec)
    m = cs.multiplier(f"table:{saved(tmp_path / 't.npy', table(source))},signed={source.signed}")
    assert m.signed == source.signed and (table(m) == table(source)).all()
    assert (circuit_table(m) == table(source)).all()


@given(bits=st.tuples(st.integers(1, 4), st.integers(1, 4)), signed=st.booleans(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_table_becomes_a_circuit(
    tmp_path_factory: pytest.TempPathFactory, bits: tuple[int, int], signed: bool, seed: int
) -> None:
    rng, width = np.random.default_rng(seed), sum(bits)
    entries = rng.integers(0, rng.integers(1, (1 << width) + 1), (1 << bits[0], 1 << bits[1]))
    entries -= signed * (1 << width - 1)
    m = cs.multiplier(f"table:{saved(tmp_path_factory.mktemp('t') / 't.npy', entries)},signed={signed}")
    assert (circuit_table(m) == entries).all() and (table(m) == entries).all()


def test_signed_entries_as_values_or_as_patterns(tmp_path: Path) -> None:
    products = table(cs.multiplier("exact:signed=true"))
    values = cs.multiplier(f"table:{saved(tmp_path / 'v.npy', products)},signed=true")
    patterns = cs.multiplier(f"table:{saved(tmp_path / 'p.npy', products.astype(np.uint16))},signed=true")
    assert (table(values) == products).all() and (table(patterns) == products).all()
    assert values.digest == patterns.digest
    assert multiply(values, np.array([-128, -1, 127]), np.array([-128, 5, -2])).tolist() == [16384, -5, -254]


def test_equal_decisions_are_built_once() -> None:
    """Bit 0 of the product is one AND, and the constant bits of a table are constants."""
    inputs = [PlaneWord.from_ints(np.arange(4), 1) for _ in range(8)]
    decisions = _Decisions(inputs)
    entries = np.outer(np.arange(16), np.arange(16))
    first, second, *_ = truth_tables(entries, range(8), 8)
    decisions.build(first)
    assert len(decisions.known) <= 9  # one for each input at most, and 0
    before = len(decisions.known)
    decisions.build(first)
    decisions.build(first ^ (1 << 256) - 1)
    assert len(decisions.known) == before + 1  # its inversion is one gate
    decisions.build(second)
    assert len(decisions.known) > before + 1


def test_larger_tables_are_emulated_only(tmp_path: Path) -> None:
    entries = np.outer(np.arange(1 << 9), np.arange(1 << 8))
    m = cs.multiplier(f"table:{saved(tmp_path / 't.npy', entries)}")
    assert (m.n, m.a_bits, m.b_bits, m.product_bits) == (9, 9, 8, 17)
    assert (table(m) == entries).all() and multiply(m, np.array(511), np.array(255)) == 511 * 255
    with pytest.raises(ValueError, match="9 [+] 8 operand bits is too large for a circuit; to 16 bits together"):
        circuit_table(m)


def test_the_key_is_the_content_not_the_name(tmp_path: Path) -> None:
    one, other = (cs.multiplier(f"table:{saved(tmp_path / name, EXACT)}") for name in ("a.npy", "b.npy"))
    assert one.key == other.key and one != other and hash(one) != hash(other)
    changed = EXACT.copy()
    changed[3, 3] = 7
    again = cs.multiplier(f"table:{saved(tmp_path / 'a.npy', changed)}")
    assert again.spec == one.spec and again != one and again.key != one.key
    assert table(again)[3, 3] == 7 and table(one)[3, 3] == 9


def with_entry(value: int) -> np.ndarray:
    entries = EXACT.astype(np.int64)
    entries[7, 9] = value
    return entries


@pytest.mark.parametrize(
    ("entries", "options", "text"),
    [
        (with_entry(-3), "", r"entry -3 at \[7\]\[9\] is negative; a table of signed products needs signed=true"),
        (with_entry(65536), "", r"entry 65536 at \[7\]\[9\] does not fit 16 product bits; the largest is 65535"),
        (with_entry(65536), ",signed=true", "entry 65536"),
        (with_entry(-1), ",signed=true", "entry 65025 .* does not fit 16 product bits; the largest is 32767"),
        (with_entry(-40000) // 2, ",signed=true", None),
        (np.minimum(with_entry(-32769), 9), ",signed=true", "entry -32769 .* the smallest is -32768"),
        (EXACT[:255], "", "255 rows and 256 columns; a table has 2.a rows"),
        (EXACT[:, :1], "", "256 rows and 1 columns"),
        (EXACT[0], "", "expected a two-dimensional integer array, got 1-dimensional int64"),
        (EXACT / 1.0, "", "got 2-dimensional float64"),
        (np.zeros((0, 0), dtype=int), "", "0 rows and 0 columns"),
        (np.full((2, 2), 2**64 - 1, dtype=np.uint64), "", "entry 18446744073709551615 at"),
        (np.zeros((1 << 13, 1 << 12), dtype=np.uint8), "", "with a [+] b <= 24"),
    ],
)
def test_impossible_arrays(tmp_path: Path, entries: np.ndarray, options: str, text: str | None) -> None:
    file = saved(tmp_path / "t.npy", entries)
    if text is None:
        assert table(cs.multiplier(f"table:{file}{options}")).min() == -20000
        return
    with pytest.raises(ValueError, match=text) as found:
        cs.multiplier(f"table:{file}{options}")
    assert str(file) in str(found.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("t.csv", b"", "0 bytes is no table, the file is empty"),
        ("t.csv", b"\n \n", "no entries"),
        ("t.csv", b"0,0\n0,one\n", "line 2: 'one' is not a decimal integer"),
        ("t.csv", b"0,0\n0,1.5\n", "line 2: '1.5' is not a decimal integer"),
        ("t.csv", b"0 0\n0\n", "line 2 has 1 entries, the first has 2"),
        ("t.csv", b"0 0\n0 " + b"9" * 30, "is not a decimal integer of at most 18 digits"),
        ("t.csv", b"0 0 0\n0 1 2\n", "2 rows and 3 columns"),
        ("t.txt", b"\xff\xfe0\x00", "not text"),
        ("t.bin", b"\xff" * 1000, "1000 bytes that are neither .npy nor text; raw .* such as 131072 for n = 8"),
        ("t.npy", b"0 0\n0 1\n", "not a readable .npy file"),
        ("t.npy", b"\x93NUMPY\x01\x00", "not a readable .npy file"),
        ("t.npy", b"PK\x03\x04 not a zip", "not a readable .npy file"),
        ("photo.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "neither .npy nor text"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=text):
        cs.multiplier(f"table:{tmp_path / name}")


def test_truncated_pickled_and_missing_files(tmp_path: Path) -> None:
    whole = saved(tmp_path / "t.npy", EXACT).read_bytes()
    (tmp_path / "t.npy").write_bytes(whole[:-1000])
    (tmp_path / "o.npy").write_bytes(b"")
    np.save(tmp_path / "o.npy", np.array([[1, None]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "z.npz", EXACT)
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    for name, text in [
        ("t.npy", "not a readable .npy file"),
        ("o.npy", "expected a two-dimensional integer array, got one of Python objects"),
        ("z.npy", "it has no .npy header"),
        ("missing.npy", "there is no table file"),
        (".", "there is no table file"),
    ]:
        with pytest.raises(ValueError, match=text):
            read_table(tmp_path / name)
