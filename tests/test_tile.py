"""The tile accelerator of the precision study: whole layers through it, against slow loops in plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from carrysave.hardware.units import UNITS
from carrysave.hardware.units.nonlinearity import segments
from carrysave.hardware.units.precisions import parse_precision
from carrysave.hardware.units.tile import Tile
from carrysave.planes import PlaneWord
from carrysave.tables import multiply

GENERATOR = np.random.default_rng(0)
LANES = 5  # layers of their own, side by side


def signed(codes: np.ndarray, bits: int) -> np.ndarray:
    return np.where(codes >> bits - 1 & 1, codes - (1 << bits), codes)


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Rows of words, [..., words], as Python integers, word 0 lowest."""
    flat = codes.reshape(-1, codes.shape[-1]).tolist()
    rows = [sum(int(v) % (1 << bits) << bits * k for k, v in enumerate(row)) for row in flat]
    return np.array(rows, dtype=object).reshape(codes.shape[:-1])


class Driver:
    """A tile with a clock, filled and read as a host would; [LANES] layers at once."""

    def __init__(self, tile: Tile, seed: int = 1):
        self.tile, self.widths, self.out = tile, tile.ports, {}
        self.sent: list[dict] = []
        self.idle = dict.fromkeys(self.widths, 0)
        self.steps = tile.steps(iter(self.next_cycle, None), seed)
        self.cycle(rst=1)

    def next_cycle(self) -> dict[str, PlaneWord]:
        values = self.sent.pop()
        return {
            port: PlaneWord.from_ints(np.broadcast_to(np.array(values[port], dtype=object), LANES), width)
            for port, width in self.widths.items()
        }

    def cycle(self, **values) -> dict[str, np.ndarray]:
        self.sent.append({**self.idle, **values})
        self.out = {port: word.to_ints() for port, word in next(self.steps).items()}
        return self.out

    def fill(self, **rows: np.ndarray) -> None:
        """Rows [count, LANES] into the buffers input and weight, from row 0 on."""
        for k in range(max(len(given) for given in rows.values())):
            values: dict = {}
            for name in (name for name, given in rows.items() if k < len(given)):
                values |= {f"{name}_write": 1, f"{name}_at": k, f"{name}_data": rows[name][k]}
            self.cycle(**values)

    def run(self, **parameters: int) -> int:
        """Start, and wait until all is written; the cycles from the start to the first in which it is."""
        self.cycle(start=1, **parameters)
        for waited in range(1, 200):
            if all(self.cycle()["done"]):
                return waited
        raise AssertionError("the tile does not come to an end")

    def read(self, at: int, count: int, words: int, bits: int) -> np.ndarray:
        """Words [LANES, count * words] of the output buffer."""
        rows = [self.cycle(output_read=at + min(k, count - 1))["output"] for k in range(count + 1)][1:]
        found = [[[int(v) >> bits * k & (1 << bits) - 1 for k in range(words)] for v in row] for row in rows]
        return np.concatenate(found, axis=1)


def layer(driver: Driver, x: np.ndarray, w: np.ndarray, **parameters: int) -> np.ndarray:
    """Codes of a fully connected layer: x [LANES, inputs], w [LANES, neurons, inputs] -> [LANES, neurons]."""
    tile, of = driver.tile, driver.tile.of
    s, n = tile.synapses, tile.neurons
    blocks, groups = x.shape[1] // s, w.shape[1] // n
    words = packed(x.reshape(LANES, blocks, s).swapaxes(0, 1), of.word_bits)
    rows = w.reshape(LANES, groups, n, blocks, s).transpose(1, 3, 0, 2, 4).reshape(groups * blocks, LANES, n * s)
    driver.fill(input=words, weight=packed(rows, of.weight_bits))
    cycles = driver.run(synapse_last=blocks - 1, neuron_last=groups - 1, **parameters)
    assert cycles == groups * blocks + 4 + tile.before_sum
    return driver.read(0, groups, n, of.word_bits)


def rounded(total: int, fraction: int, bits: int) -> int:
    """To nearest, halves up, clipped."""
    value = math.floor(Fraction(total, 1 << fraction) + Fraction(1, 2))
    return max(-(1 << bits - 1), min(value, (1 << bits - 1) - 1))


def slow_layer(x: np.ndarray, product: Callable[[int, int, int], int], neurons: int, fraction: int, bits: int) -> list:
    """One integer at a time; product(lane, neuron, input)."""
    return [
        [
            max(0, rounded(sum(product(lane, i, k) for k in range(x.shape[1])), fraction, bits)) % (1 << bits)
            for i in range(neurons)
        ]
        for lane in range(LANES)
    ]


def codes(bits: int, *shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 1 << bits, (LANES, *shape))


INPUTS, NEURONS = 6, 4  # three blocks of two synapses, two of two neurons


@pytest.mark.parametrize(("bits", "neurons"), [(4, 2), (8, 2), (16, 2), (32, 1)])
def test_a_fixed_point_layer(bits: int, neurons: int):
    tile = UNITS.parse(f"tile:precision=fixed{bits},neurons={neurons},synapses=2,blocks=4,depth=8")
    x, w = codes(bits, INPUTS), codes(bits, 2 * neurons, INPUTS)
    x[0], w[0] = 1 << bits - 1, 1 << bits - 1  # the most negative ones
    a, b = signed(x, bits).tolist(), signed(w, bits).tolist()
    want = slow_layer(x, lambda lane, i, k: a[lane][k] * b[lane][i][k], 2 * neurons, bits - 1, bits)
    got = layer(Driver(tile), x, w)
    assert got.tolist() == want
    assert 0 < np.count_nonzero(got) < got.size and tile.sum_bits == 2 * bits + 3


@pytest.mark.parametrize("spec", ["drum:k=4;n=8;signed=true", "mitchell_w:w=4;n=8;signed=true"])
def test_a_layer_of_any_signed_multiplier(spec: str):
    tile = UNITS.parse(f"tile:precision={spec},neurons=2,synapses=2,blocks=4,depth=8")
    x, w = codes(8, INPUTS), codes(8, NEURONS, INPUTS)
    m = tile.of.multiplier
    p = multiply(m, np.broadcast_to(signed(x, 8)[:, None], w.shape).ravel(), signed(w, 8).ravel()).reshape(w.shape)
    want = slow_layer(x, lambda lane, i, k: int(p[lane, i, k]), NEURONS, 7, 8)
    assert layer(Driver(tile), x, w).tolist() == want
    assert UNITS.parse(tile.spec) == tile


def test_a_layer_of_powers_of_two():
    tile = UNITS.parse("tile:precision=power_of_two6x16,neurons=2,synapses=2,blocks=4,depth=8")
    x, w = codes(16, INPUTS), codes(6, NEURONS, INPUTS)
    w[1] = w[1] & 32 | 24 + w[1] % 8  # some of the zero code, sums that are clipped
    a = signed(x, 16).tolist()

    def weight(code: int) -> int:
        power = code % 32
        return 0 if power == 31 else (-1 if code >= 32 else 1) << power

    want = slow_layer(x, lambda lane, i, k: a[lane][k] * weight(int(w[lane, i, k])), NEURONS, 30, 16)
    got = layer(Driver(tile), x, w)
    assert got.tolist() == want and np.count_nonzero(w % 32 == 31) and np.count_nonzero(got) > 3


def test_a_binary_layer_has_a_stage_less():
    tile = UNITS.parse("tile:precision=binary16,neurons=2,synapses=2,blocks=4,depth=8")
    x, w = codes(16, INPUTS), codes(1, NEURONS, INPUTS)
    x[0], w[0] = 1 << 15, 0  # every term is -(-2^15)
    a = signed(x, 16).tolist()
    want = slow_layer(x, lambda lane, i, k: a[lane][k] if w[lane, i, k] else -a[lane][k], NEURONS, 0, 16)
    assert layer(Driver(tile), x, w).tolist() == want
    assert (tile.before_sum, tile.sum_bits) == (0, 20)


def floats(bits: int, *shape: int) -> np.ndarray:
    """Patterns of numbers whose sums round and cancel; in the first layer the products are subnormal."""
    near = GENERATOR.standard_normal((LANES, *shape)).astype(np.float32)
    near[0] *= np.float32(2.0) ** GENERATOR.integers(-69, -63, near[0].shape).astype(np.float32)
    patterns = near.view(np.uint32).astype(np.int64)
    return patterns >> 32 - bits


def as_float(patterns: np.ndarray, bits: int) -> np.ndarray:
    return (patterns << 32 - bits).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize(("name", "bits"), [("float32", 32), ("bfloat16", 16)])
def test_a_floating_point_layer_is_numpys_in_the_same_order(name: str, bits: int):
    tile = UNITS.parse(f"tile:precision={name},neurons=1,synapses=4,depth=8")
    x, w = floats(bits, 8), floats(bits, 2, 8)
    a, b = as_float(x, bits), as_float(w, bits)
    total = np.zeros((LANES, 2), np.float32)
    with np.errstate(all="ignore"):
        for k in range(0, 8, 4):
            p = [a[:, None, k + j] * b[:, :, k + j] for j in range(4)]
            total = ((p[0] + p[1]) + (p[2] + p[3])) + total
    want = total.view(np.uint32).astype(np.int64)
    if bits == 16:  # to nearest even by integers
        low = want & 0xFFFF
        want = (want >> 16) + ((low > 0x8000) | ((low == 0x8000) & (want >> 16 & 1 == 1)))
    driver = Driver(tile)
    assert np.array_equal(layer(driver, x, w, linear=1), want)
    driver.run(synapse_last=1, neuron_last=1)
    assert np.array_equal(driver.read(0, 2, 1, bits), np.where(total < 0, 0, want))
    assert np.isfinite(total).all() and 0 < np.count_nonzero(total < 0) < total.size
    assert tile.before_sum == 3


# ---------------------------------------------------------------- control


def test_sums_that_go_on_in_a_second_run_and_runs_without_a_gap():
    """Six blocks of synapses through buffers of four rows: the second run starts as soon as the first is `ready`."""
    tile = UNITS.parse("tile:precision=fixed4,neurons=2,synapses=2,blocks=8,depth=4")
    x, w = codes(4, 12), codes(4, 2, 12)
    driver, rows = Driver(tile), packed(x.reshape(LANES, 6, 2).swapaxes(0, 1), 4)
    weights = packed(w.reshape(LANES, 2, 6, 2).transpose(2, 0, 1, 3).reshape(6, LANES, 4), 4)
    driver.fill(input=rows[:4], weight=weights[:4])
    driver.cycle(start=1, synapse_last=2, hold=1)
    ready = []
    for k in range(3):  # rows 0, 1, 2 are read; rows 4 and 5 come to the places of 0 and 1
        new = {"input_write": 1, "input_at": k - 1, "input_data": rows[k + 3], "weight_write": 1, "weight_at": k - 1}
        last = {"start": 1, "synapse_last": 2, "input_base": 3, "weight_base": 3, "output_base": 2, "resume": 1}
        asked = {**(new | {"weight_data": weights[k + 3]} if k else {}), **(last | {"linear": 1} if k == 2 else {})}
        ready.append(int(driver.cycle(**asked)["ready"].all()))
    assert ready == [0, 0, 1]
    waited = next(k for k in range(1, 30) if driver.cycle()["done"].all())
    assert waited == 3 + 4 + tile.before_sum  # three rows
    got = driver.read(2, 1, 2, 4)
    a, b = signed(x, 4).tolist(), signed(w, 4).tolist()
    want = [
        [rounded(sum(a[lane][k] * b[lane][i][k] for k in range(12)), 3, 4) % 16 for i in range(2)]
        for lane in range(LANES)
    ]
    assert got.tolist() == want
    assert not driver.read(0, 1, 2, 4).any()  # what was held was not written


def test_nothing_moves_a_sum_between_runs():
    tile = UNITS.parse("tile:precision=fixed4,neurons=1,synapses=2,blocks=2,depth=4")
    driver, x, w = Driver(tile), codes(4, 4), codes(4, 1, 4)
    rows, weights = (packed(words.reshape(LANES, 2, 2).swapaxes(0, 1), 4) for words in (x, w))
    driver.fill(input=rows, weight=weights)
    driver.run(hold=1)
    for _ in range(7):
        driver.cycle(input_base=1, weight_base=1)
    driver.run(resume=1, input_base=1, weight_base=1, linear=1)
    a, b = signed(x, 4).tolist(), signed(w, 4).tolist()
    want = [[rounded(sum(a[lane][k] * b[lane][0][k] for k in range(4)), 3, 4) % 16] for lane in range(LANES)]
    assert driver.read(0, 1, 1, 4).tolist() == want


def test_a_radix_point_for_each_layer():
    tile = UNITS.parse("tile:precision=fixed8,neurons=1,synapses=2,blocks=2,depth=4,fraction=3,radix_bits=3")
    x, w = codes(8, 4), codes(8, 1, 4)
    a, b = signed(x, 8).tolist(), signed(w, 8).tolist()
    for radix in (0, 1, 6, 7):
        want = slow_layer(x, lambda lane, i, k: a[lane][k] * b[lane][i][k], 1, 3 + radix, 8)
        assert layer(Driver(tile), x, w, radix=radix).tolist() == want


# ---------------------------------------------------------------- nonlinearity


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
@pytest.mark.parametrize(("bits", "point"), [(8, 4), (8, 6), (12, 8), (6, 2)])
def test_straight_lines_between_the_values_at_the_ends_of_segments(function: str, bits: int, point: int):
    spec = f"nonlinearity:precision=fixed{bits},sum_bits={bits},fraction=0,function={function},data_fraction={point}"
    unit, word = UNITS.parse(spec), np.arange(1 << bits)
    got = signed(unit.run(sum=word[None].repeat(2, 0), linear=np.zeros((2, word.size), int))["y"][1], bits)
    of, reach = (math.tanh, 4) if function == "tanh" else (lambda u: 1 / (1 + math.exp(-u)), 8)
    limit, step = (1 << bits - 1) - 1, 2 * reach / 16

    def slow(code: int) -> int:
        u = min(max(Fraction(code, 1 << point), -reach), Fraction(reach) - Fraction(1, 1 << point))
        segment = math.floor(u / Fraction(step))
        ends = [min(round(of(k * step) * (1 << point)), limit) for k in (segment, segment + 1)]
        return math.floor(ends[0] + (ends[1] - ends[0]) * (u / Fraction(step) - segment) + Fraction(1, 2))

    values = signed(word, bits)
    assert got.tolist() == [slow(v) for v in values.tolist()]
    true = np.array([of(v / (1 << point)) for v in values.tolist()]) * (1 << point)
    bend = {"tanh": 0.77, "sigmoid": 0.0963}[function]  # the largest second derivative
    bound = bend * step**2 / 8 * (1 << point) + 2
    assert np.abs(got - true).max() <= max(bound, 1 + (1 << point) - limit)


def test_halves_are_rounded_up_and_sums_clipped():
    unit = UNITS.parse("nonlinearity:precision=fixed4,sum_bits=8,fraction=2")
    total = np.arange(256)
    for linear in (0, 1):
        got = unit.run(sum=total[None].repeat(2, 0), linear=np.full((2, 256), linear))["y"][1]
        want = [rounded(int(v), 2, 4) for v in signed(total, 8)]
        assert signed(got, 4).tolist() == [v if linear else max(v, 0) for v in want]


def test_a_segments_table_by_hand():
    starts, rises, low = segments("tanh", 4, 8)
    assert (starts[0], rises[0], low) == (0, round(16 * math.tanh(0.5)), 3)
    assert starts[8] == -16 and sum(rises) == 32


# ---------------------------------------------------------------- words and what cannot be


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("float32", (32, 32, 32, 0)),
        ("bfloat16", (16, 16, 32, 0)),
        ("fixed8", (8, 8, 16, 7)),
        ("power_of_two6x16", (16, 6, 47, 30)),
        ("binary16", (16, 1, 17, 0)),
        ("drum:k=4;n=12;signed=true", (12, 12, 24, 11)),
    ],
)
def test_precisions(text: str, bits: tuple[int, ...]):
    of = parse_precision(text)
    assert (of.word_bits, of.weight_bits, of.product_bits, of.weight_fraction) == bits


def test_a_binary_weight_block_alone():
    unit = UNITS.parse("weight_block:precision=binary4")
    x, w = np.arange(32) % 16, np.arange(32) // 16
    got = signed(unit.run(x=x[None].repeat(2, 0), w=w[None].repeat(2, 0))["product"][1], 5)
    assert np.array_equal(got, np.where(w == 1, signed(x, 4), -signed(x, 4)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("weight_block:precision=fixed40", "precision 'fixed40': 40 bits; expected 2 to 32"),
        ("weight_block:precision=half", "precision 'half': expected float32, bfloat16, fixed16"),
        ("weight_block:precision=drum:k=4", "words and weights have signs; give the multiplier signed=true"),
        ("tile:synapses=12", "synapses=12; expected a power of two from 2 to 256"),
        ("tile:depth=48", "depth=48; expected a power of two"),
        ("nfu:neurons=0", "neurons=0, blocks=64; expected 1 to 256"),
        ("tile:precision=float32,function=tanh", "sums of floating point have 32 bits, no radix point, and relu alone"),
        ("tile:precision=fixed4,function=tanh,data_fraction=4", "tanh with data_fraction=4; expected 2 to 3"),
        ("nonlinearity:fraction=50", "sum_bits=42, fraction=50, radix_bits=0; expected sums of 2 to 128 bits"),
        ("adder_tree:bits=50", "bits=50, sum_bits=42; expected 2 <= bits <= sum_bits"),
        ("tile_control:before_sum=20", "before_sum=20, radix_bits=0; expected 0 to 16 and 0 to 6"),
    ],
)
def test_what_cannot_be(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.parse(spec)
