"""Tables of products in files: .npy, ApproxFlow's text form, raw little-endian uint16. Parsed, never executed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MAX_OPERAND_BITS = 24  # of both operands together
_MAX_BYTES = 1 << 28
_NPY = b"\x93NUMPY"
_TEXT_SUFFIXES = (".csv", ".txt", ".tsv")
_RAW_BITS = 8  # products of wider operands do not fit uint16
_TEXT_BYTES = b"0123456789+-,; \t\r\n"


def read_table(path: Path | str, signed: bool = False) -> np.ndarray:
    """The table of products in a file: int64 [2^a, 2^b], a line or row for each first operand.

    Forms: a two-dimensional integer array in .npy; text (.txt, .csv, .tsv) with a line for each first operand and
    decimal integers between spaces, tabs, commas or semicolons; raw little-endian uint16, 2^n x 2^n for n <= 8. A file
    without such a suffix is recognised by its content.

    Args:
        signed: rows and columns are two's complement patterns of the operands, and so are entries: negative
            ones may be given as they are, or as patterns of a + b bits.

    Raises:
        ValueError: naming the file, for a wrong size or shape, entries that are no integers, negative, or larger
            than a + b bits.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no table file {file}")
    size = file.stat().st_size
    if not 0 < size <= _MAX_BYTES:
        raise ValueError(f"{file}: {size} bytes is no table" + (", the file is empty" if size == 0 else ""))
    try:
        entries = _read(file)
        bits = _operand_bits(entries)
        return _checked(entries, sum(bits), signed)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def truth_tables(entries: np.ndarray, order: Sequence[int], bits: int) -> list[int]:
    """Bit k of every entry as one integer, for k < bits: the truth table of output k.

    Args:
        entries: [2^a, 2^b], by bit pattern.
        order: the index bits a[a-1], ..., a[0], b[b-1], ..., b[0], numbered from 0, in the order in which a
            decision chooses halves of a truth table; the first chooses between its upper and lower half.
    """
    inputs = len(order)
    flat = entries.reshape((2,) * inputs).transpose(tuple(order)).reshape(-1)
    planes = [(flat >> k & 1).astype(np.uint8) for k in range(bits)]
    return [int.from_bytes(np.packbits(plane, bitorder="little").tobytes(), "little") for plane in planes]


def _read(file: Path) -> np.ndarray:
    suffix = file.suffix.lower()
    data = file.read_bytes()
    if suffix == ".npy" or data.startswith(_NPY):
        return _read_npy(file, data[: len(_NPY)])
    if suffix in _TEXT_SUFFIXES or not data.translate(None, _TEXT_BYTES):
        return _read_text(data)
    return _read_raw(data)


def _read_npy(file: Path, head: bytes) -> np.ndarray:
    if head != _NPY:
        raise ValueError("not a readable .npy file: it has no .npy header")
    try:
        # mapped, so that a header that promises more than the file holds allocates nothing
        entries = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        if "Python objects" in str(error):
            raise ValueError("expected a two-dimensional integer array, got one of Python objects") from None
        raise ValueError(f"not a readable .npy file: {error}") from None
    if entries.dtype.kind not in "iu" or entries.ndim != 2:
        raise ValueError(f"expected a two-dimensional integer array, got {entries.ndim}-dimensional {entries.dtype}")
    return np.array(entries)


def _read_text(data: bytes) -> np.ndarray:
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"not text: {error}") from None
    rows: list[list[int]] = []
    for number, line in enumerate(lines, start=1):
        words = [word for word in re.split(r"[\s,;]+", line) if word]
        if not words:
            continue
        bad = next((word for word in words if not re.fullmatch(r"[+-]?[0-9]{1,18}", word)), None)
        if bad is not None:
            raise ValueError(f"line {number}: {bad[:40]!r} is not a decimal integer of at most 18 digits")
        if rows and len(words) != len(rows[0]):
            raise ValueError(f"line {number} has {len(words)} entries, the first has {len(rows[0])}")
        rows.append([int(word) for word in words])
    if not rows:
        raise ValueError("no entries: a table has a line for every first operand")
    return np.array(rows, dtype=np.int64)


def _read_raw(data: bytes) -> np.ndarray:
    sizes = {1 << (2 * n + 1): n for n in range(1, _RAW_BITS + 1)}
    if len(data) not in sizes:
        raise ValueError(
            f"{len(data)} bytes that are neither .npy nor text; raw little-endian uint16 tables have 2^(2n+1) bytes for"
            f" n <= {_RAW_BITS}, such as {1 << (2 * _RAW_BITS + 1)} for n = {_RAW_BITS}"
        )
    count = 1 << sizes[len(data)]
    return np.frombuffer(data, dtype="<u2").reshape(count, count)


def _operand_bits(entries: np.ndarray) -> tuple[int, int]:
    """(a, b) of a table of 2^a x 2^b entries."""
    bits = tuple(int(count).bit_length() - 1 for count in entries.shape)
    if any(count < 2 or count & (count - 1) for count in entries.shape) or sum(bits) > MAX_OPERAND_BITS:
        raise ValueError(
            f"{entries.shape[0]} rows and {entries.shape[1]} columns; a table has 2^a rows, one for each first operand,"
            f" and 2^b columns, with a + b <= {MAX_OPERAND_BITS}"
        )
    return bits[0], bits[1]


def _checked(entries: np.ndarray, product_bits: int, signed: bool) -> np.ndarray:
    low, high = int(entries.min()), int(entries.max())
    half, full = 1 << (product_bits - 1), 1 << product_bits
    if low < 0 and not signed:
        where = _place(entries, low)
        raise ValueError(f"entry {low} at {where} is negative; a table of signed products needs signed=true")
    if high >= full or (low < 0 and high >= half):
        limit = full - 1 if low >= 0 else half - 1
        raise ValueError(
            f"entry {high} at {_place(entries, high)} does not fit {product_bits} product bits; the largest is {limit}"
        )
    if low < -half:
        raise ValueError(
            f"entry {low} at {_place(entries, low)} does not fit {product_bits} product bits; the smallest is {-half}"
        )
    values = entries.astype(np.int64)
    return np.where(values >= half, values - full, values) if signed else values


def _place(entries: np.ndarray, value: int) -> str:
    row, column = np.argwhere(entries == value)[0]
    return f"[{row}][{column}]"
