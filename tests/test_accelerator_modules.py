"""HEAM's accelerator modules: whole matrix products and convolutions streamed through them, against plain integers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

from carrysave.hardware.units import UNITS
from carrysave.hardware.units.assembly import Assembly
from carrysave.hardware.units.base import Unit
from carrysave.multipliers import MULTIPLIERS
from carrysave.planes import PlaneWord
from carrysave.tables import multiply


def products(spec: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The multiplier's products, one by one, from its definition alone."""
    m = MULTIPLIERS.parse(spec.replace(";", ","))
    wide_a, wide_b = (np.ascontiguousarray(x).reshape(-1) for x in np.broadcast_arrays(a, b))
    return np.asarray(multiply(m, wide_a, wide_b)).reshape(np.broadcast_shapes(a.shape, b.shape)).astype(np.int64)


def silent(unit: Unit, cycles: int) -> dict[str, np.ndarray]:
    return {port: np.zeros((cycles, 1), np.int64) for port in unit.inputs}


# ---------------------------------------------------------------- systolic arrays


def weights_into(streams: dict[str, np.ndarray], weights: np.ndarray, first: int) -> None:
    """One row of weights per cycle, the last row first."""
    for cycle, row in enumerate(reversed(weights)):
        streams["load"][first + cycle] = 1
        for j, weight in enumerate(row):
            streams[f"w{j}"][first + cycle] = weight


@pytest.mark.parametrize(
    ("multiplier", "rows", "columns", "vectors"),
    [("exact:n=3", 2, 2, 7), ("compressed:heam", 2, 3, 5), ("exact:n=3;tree=wallace", 4, 3, 1)],
)
def test_matrices_stream_through_stationary_weights_without_a_gap(multiplier, rows, columns, vectors):
    unit = UNITS.parse(f"systolic_array:multiplier={multiplier},rows={rows},columns={columns}")
    top = 1 << unit.inputs["x0"]
    generator = np.random.default_rng(rows)
    between = max(vectors, 2 * rows)  # a matrix's swap to the next one's
    matrices = generator.integers(0, top, (3, rows, columns))
    factors = generator.integers(0, top, (3, vectors, rows))
    streams = silent(unit, rows + 3 * between + 2 * rows + columns + 4)
    for k in range(3):
        swap = rows + k * between
        weights_into(streams, matrices[k], swap - rows)
        streams["swap"][swap] = 1
        for n in range(vectors):
            for i in range(rows):
                streams[f"x{i}"][swap + n] = factors[k, n, i]
    out = unit.run(**streams)
    for k in range(3):
        expected = products(multiplier, factors[k][:, :, None], matrices[k][None]).sum(axis=1)
        first = rows + k * between + rows + 2
        for j in range(columns):
            assert out[f"y{j}"][first + j : first + j + vectors, 0].tolist() == expected[:, j].tolist()


@pytest.mark.parametrize(("multiplier", "rows", "columns"), [("exact:n=3", 3, 4), ("compressed:heam", 2, 2)])
def test_matrix_products_whose_sums_stay(multiplier, rows, columns):
    unit = UNITS.parse(f"output_stationary_array:multiplier={multiplier},rows={rows},columns={columns},sum_bits=24")
    generator, terms = np.random.default_rng(columns), rows + columns
    left = generator.integers(0, 1 << unit.inputs["x0"], (3, rows, terms))
    right = generator.integers(0, 1 << unit.inputs["y0"], (3, terms, columns))
    streams = silent(unit, 4 * terms + rows + columns + 3)
    for k in range(4):
        streams["start"][k * terms] = 1
    for k, n in np.ndindex(3, terms):
        for i in range(rows):
            streams[f"x{i}"][k * terms + n] = left[k, i, n]
        for j in range(columns):
            streams[f"y{j}"][k * terms + n] = right[k, n, j]
    out = unit.run(**streams)
    for k in range(3):
        expected = products(multiplier, left[k][:, :, None], right[k][None]).sum(axis=1)
        shown = (k + 1) * terms + rows + columns + 2
        for i, j in np.ndindex(rows, columns):
            assert out[f"r{i}_{j}"][shown, 0] == expected[i, j]


# ---------------------------------------------------------------- systolic cube


@pytest.mark.parametrize(
    ("spec", "slices"),
    [
        ("systolic_cube:multiplier=compressed:heam,planes=1,rows=2,columns=2,kernel=2", 2),
        ("systolic_cube:multiplier=exact:n=2,planes=2,rows=4,columns=3", 2),
        ("systolic_cube:multiplier=exact:n=2,planes=1,rows=3,columns=2,kernel=4", 1),
    ],
)
def test_a_cube_convolves_volumes_one_after_the_other(spec: str, slices: int):
    unit = UNITS.parse(spec)
    planes, rows, columns, kernel = unit.planes, unit.rows, unit.columns, unit.kernel
    generator, terms, top = np.random.default_rng(0), slices * kernel**2, 1 << unit.inputs["w0"]
    weights = generator.integers(0, top, (2, planes, slices, kernel, kernel))  # [volume, plane, slice, column, row]
    image = generator.integers(0, top, (2, slices, rows + kernel - 1, columns + kernel - 1))
    streams = silent(unit, 3 * terms + planes + rows + 3 * columns + 8)
    for at in range(3 * terms):
        slice_, column, row = at % terms // kernel**2, at // kernel % kernel, at % kernel
        streams["start"][at], streams["turn"][at], streams["fresh"][at] = at % terms == 0, row == 0, column == 0
        if at >= 2 * terms:
            continue
        volume = at // terms
        for p in range(planes):
            streams[f"w{p}"][at] = weights[volume, p, slice_, column, row]
        for c in range(columns):
            streams[f"head{c}"][at + c] = image[volume, slice_, row, c + column]
            if row + kernel < rows + kernel - 1:
                streams[f"tail{c}"][at + c + kernel] = image[volume, slice_, row + kernel, c + column]
    out = unit.run(**streams)
    for p, r in np.ndindex(planes, rows):
        found = out[f"y{p}_{r}"][np.flatnonzero(out[f"valid{p}_{r}"]), 0].tolist()
        expected = []
        for volume, c in np.ndindex(2, columns):
            window = image[volume, :, r : r + kernel, c : c + kernel].transpose(0, 2, 1)
            expected.append(int(products(unit.multiplier, window, weights[volume, p]).sum()))
        assert found[columns : 3 * columns] == expected  # a first start hands out what was there before


# ---------------------------------------------------------------- TASU


def steps_of(unit, weights: np.ndarray, images: np.ndarray, gaps: float) -> Iterator[dict[str, int]]:
    """A reset, all weights, and the images pixel by pixel, with other values where none is valid."""
    generator, idle = np.random.default_rng(7), dict.fromkeys(unit.ports, 0)
    yield {**idle, "rst": 1}
    for c in range(unit.channels):
        flat = weights[:, c].reshape(unit.filters, -1)
        for k in reversed(range(flat.shape[1])):
            yield {**idle, f"load{c}": 1, **{f"weight{f}": int(flat[f, k]) for f in range(unit.filters)}}
    count, channels, height, width = images.shape
    for k, y, x in np.ndindex(count, height, width):
        while generator.random() < gaps:
            yield {**idle, **{f"x{c}": int(generator.integers(0, 4)) for c in range(channels)}, "row": 1}
        pixel = {f"x{c}": int(images[k, c, y, x]) for c in range(channels)}
        yield {**idle, **pixel, "valid": 1, "row": int(x == 0), "image": int(x == y == 0)}
    yield from [idle] * 10


@pytest.mark.parametrize(
    ("spec", "size", "gaps"),
    [
        ("tasu:multiplier=compressed:heam,kernel=2,stride=1,channels=1,filters=1", (3, 4), 0.0),
        ("tasu:multiplier=exact:n=2,kernel=2,stride=1,channels=2,filters=2", (3, 4), 0.2),
        ("tasu:multiplier=exact:n=2,kernel=4,stride=2,channels=1,filters=1", (6, 8), 0.1),
        ("tasu:multiplier=exact:n=2,kernel=3,stride=1,channels=1,filters=1", (4, 4), 0.0),
    ],
)
def test_a_convolution_from_a_stream_of_pixels(spec: str, size: tuple[int, int], gaps: float):
    unit = UNITS.parse(spec)
    kernel, stride, phases = unit.kernel, unit.stride, unit.kernel // unit.stride
    generator, top = np.random.default_rng(1), 1 << unit.inputs["x0"]
    weights = generator.integers(0, top, (unit.filters, unit.channels, kernel, kernel))
    images = generator.integers(0, top, (2, unit.channels, *size))
    down, across = ((length - kernel) // stride + 1 for length in size)
    waiting = deque([[0] * (unit.filters * phases)] * across)  # the memory outside, an entry per window side by side
    found = []

    def words() -> Iterator[dict[str, PlaneWord]]:
        for values in steps_of(unit, weights, images, gaps):
            head = iter(waiting[0])
            before = {f"before{f}_{j}": next(head) for f in range(unit.filters) for j in range(phases)}
            values = {**values, **before}
            yield {port: PlaneWord.from_ints(np.array([values[port]]), width) for port, width in unit.ports.items()}

    for t, out in enumerate(unit.steps(words(), seed=3)):
        now = {port: int(word.to_ints()[0]) for port, word in out.items()}
        if t <= unit.settling:
            continue
        if now["read"]:
            waiting.popleft()
        if now["write"]:
            waiting.append([now[f"window{f}_{j}"] for f in range(unit.filters) for j in range(phases)])
        found += [[now[f"window{f}_{j}"] for f in range(unit.filters)] for j in range(phases) if now["done"] >> j & 1]
    expected = []
    for k, v, u in np.ndindex(2, down, across):
        window = images[k, :, v * stride : v * stride + kernel, u * stride : u * stride + kernel]
        expected.append([int(products(unit.multiplier, window, weights[f]).sum()) for f in range(unit.filters)])
    assert found == expected


# ---------------------------------------------------------------- sizes and what cannot be


def counted(unit: Unit, name: str) -> int:
    """How often a unit of that name stands in an assembly, at any depth."""
    if not isinstance(unit, Assembly):
        return int(unit.name == name)
    return sum(n * counted(part, name) for part, n in unit.counts.items())


@pytest.mark.parametrize(
    ("spec", "element", "multipliers"),
    [
        ("systolic_array", "systolic_pe", 256),
        ("output_stationary_array", "accumulating_pe", 256),
        ("systolic_cube", "cube_pe", 64),
        ("tasu", "window_mac", 432),
    ],
)
def test_multipliers_of_table_3(spec: str, element: str, multipliers: int):
    assert counted(UNITS.parse(spec), element) == multipliers


def test_sums_have_the_bits_that_the_largest_products_need():
    array, cube, tasu = (UNITS.parse(spec) for spec in ("systolic_array", "systolic_cube", "tasu"))
    widths = (array.pe.sum_bits, cube.pe.sum_bits, tasu.filter.block.mac.sum_bits, tasu.filter.sum.sum_bits)
    for terms, width in zip((16, 27, 12, 432), widths, strict=True):
        assert 1 << width - 1 <= terms * (2**16 - 1) < 1 << width


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("systolic_array:multiplier=exact:signed=true", "multiplier=exact:signed=true is signed"),
        ("systolic_array:rows=1", "1 rows, 16 columns; each is 2 to 64"),
        ("systolic_array:sum_bits=9", "systolic_pe: sum_bits=9"),
        ("systolic_pe:sum_bits=15", "systolic_pe: sum_bits=15; a product of exact has 16"),
        ("output_stationary_array:columns=65", "16 rows, 65 columns"),
        ("output_stationary_array:sum_bits=8", "accumulating_pe: sum_bits=8; a product of exact has 16"),
        ("systolic_cube:rows=5", "rows=5, kernel=3; a kernel has 2 to 16 rows, and at most one row"),
        ("systolic_cube:planes=17", "planes=17, columns=4"),
        ("cube_pe:sum_bits=4", "cube_pe: sum_bits=4"),
        ("tasu:stride=5", "window_block: kernel=12, stride=5; a kernel of 2 to 32 taps"),
        ("tasu:filters=0", "tasu: filters=0; 1 to 64"),
        ("tasu:channels=17", "channels=17"),
        ("window_mac:sum_bits=12", "window_mac: sum_bits=12"),
        ("tap_row:n=0", "n=0 bits of a weight"),
        ("row_pick:phases=1", "phases=1; 1 to 64 bits, 2 to 8 windows"),
        ("delay:0", "delay: n=0 bits"),
    ],
)
def test_modules_that_cannot_be(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.parse(spec)
