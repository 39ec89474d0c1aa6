"""The IDX format: a magic number, the dimensions, the bytes. Plain or gzip, told by content and not by name.

Source: Y. LeCun, "THE IDX FILE FORMAT", on the MNIST page. Big endian; byte 2 of the magic is the element type
(8 = unsigned byte, the only one these data sets use), byte 3 the number of dimensions.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

_LIMIT = 1 << 31  # no file of this package comes near; a damaged header can ask for anything


class IdxError(ValueError):
    """A file that is not the IDX file it should be."""


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array in `path`, with `ndim` dimensions. IdxError if the file is damaged or of another kind."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            shape = _shape(path, file.read(4 + 4 * ndim), ndim)
            expected = math.prod(shape)
            body = file.read(expected + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise IdxError(f"{path}: damaged or truncated gzip file ({error}); delete it and fetch it again") from error
    if len(body) != expected:
        came = f"only {len(body)} follow" if len(body) < expected else "more follow"
        raise IdxError(
            f"{path}: its header says {' x '.join(map(str, shape))} = {expected} bytes, but {came}; "
            "the file is truncated or damaged: delete it and fetch it again"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, ndim: int) -> tuple[int, ...]:
    expected = 0x0800 + ndim
    magic = int.from_bytes(header[:4], "big")
    if len(header) >= 4 and magic != expected:
        raise IdxError(
            f"{path}: not an IDX file of unsigned bytes with {ndim} dimension{'s' if ndim > 1 else ''}: "
            f"it must begin with magic number {expected}, it begins with {magic}"
        )
    if len(header) < 4 + 4 * ndim:
        raise IdxError(f"{path}: ends after {len(header)} bytes, its header alone has {4 + 4 * ndim}: truncated")
    shape = tuple(int.from_bytes(header[4 + 4 * i : 8 + 4 * i], "big") for i in range(ndim))
    if math.prod(shape) > _LIMIT:
        raise IdxError(f"{path}: its header asks for {' x '.join(map(str, shape))} bytes, more than {_LIMIT}: damaged")
    return shape
