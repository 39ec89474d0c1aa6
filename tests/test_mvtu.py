"""The matrix-vector-threshold unit and what stands around it, against plain integer loops; and the papers' cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from carrysave.hardware.fpga import fpga_cost
from carrysave.hardware.units import UNITS, Unit
from carrysave.hardware.units.conv_layer import ConvLayer
from carrysave.hardware.units.mvtu import Folded, Mvtu, MvtuWithMemories, buffer_brams, reuse
from carrysave.hardware.units.signed_sums import WEIGHT_BITS
from carrysave.hardware.units.thresholds import absorbed
from carrysave.planes import PlaneWord
from carrysave.registry import SpecError
from carrysave.reproductions.thesis_table5_7 import hls_luts


def packed(codes: Any, bits: int) -> int:
    """Codes side by side, the first lowest; negative ones in two's complement."""
    return sum((int(code) & ((1 << bits) - 1)) << (k * bits) for k, code in enumerate(np.ravel(codes)))


def unpacked(word: int, bits: int, count: int) -> list[int]:
    return [word >> (k * bits) & ((1 << bits) - 1) for k in range(count)]


def weight_codes(weights: Any, kind: str) -> list[int]:
    """+1 and -1 as 1 and 0; ternary as (not zero, negative)."""
    return [int(w > 0) if kind == "binary" else int(w != 0) | int(w < 0) << 1 for w in np.ravel(weights)]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class Bench:
    """One stream through a clocked unit: every cycle's inputs may depend on the outputs of the one before."""

    def __init__(self, unit: Unit):
        self.unit, self.values, self.count = unit, dict.fromkeys(unit.ports, 0), 0
        self.outputs = unit.steps(self._cycles())

    def _cycles(self) -> Iterator[Mapping[str, PlaneWord]]:
        while True:
            codes = {port: np.array([self.values[port]], object) for port in self.unit.ports}
            yield {port: PlaneWord.from_ints(codes[port], width) for port, width in self.unit.ports.items()}

    def step(self, **values: int) -> dict[str, int]:
        self.values = dict.fromkeys(self.unit.ports, 0) | values
        self.count += 1
        return {port: int(word.to_ints()[0]) for port, word in next(self.outputs).items()}


def problem(unit: Folded, vectors: int, seed: int) -> tuple[Any, ...]:
    """Random weights, vectors, scales and thresholds, and the activations that they give."""
    generator = np.random.default_rng(seed)
    weights = generator.choice([-1, 1] if unit.weights == "binary" else [-1, 0, 1], (unit.rows, unit.columns))
    x = generator.integers(0, 1 << unit.a, (vectors, unit.columns))
    scales = generator.integers(1, 1 << unit.scale_bits, unit.scales) if unit.scales else np.array([1])
    sums = np.zeros((vectors, unit.rows), dtype=int)
    for v in range(vectors):
        for r in range(unit.rows):
            for c in range(unit.columns):
                sums[v, r] += int(weights[r, c]) * int(x[v, c]) * int(scales[c * len(scales) // unit.columns])
    thresholds = generator.integers(sums.min(), sums.max() + 2, (unit.rows, (1 << unit.a) - 1))
    codes = np.array([[(s >= thresholds[r]).sum() for r, s in enumerate(row)] for row in sums])
    return weights, x, scales, thresholds, codes


def load(bench: Bench, unit: MvtuWithMemories, weights: Any, thresholds: Any, scales: Any) -> None:
    """Fill the memories and the ring of scales."""
    parts = weights.reshape(unit.neurons, unit.pe, unit.synapses, unit.simd)
    for p in range(unit.pe):
        for n in range(unit.neurons):
            word = packed(thresholds[n * unit.pe + p], unit.accumulator)
            bench.step(element=p, at=n, load_thresholds=1, thresholds=word)
            for s in range(unit.synapses):
                word = packed(weight_codes(parts[n, p, s], unit.weights), WEIGHT_BITS[unit.weights])
                bench.step(element=p, at=n * unit.synapses + s, load_weights=1, weights=word)
    for scale in scales if unit.scales else ():
        bench.step(load_scale=1, scale=int(scale))


FOLDED = (
    "mvtu_with_memories",
    "mvtu_with_memories:columns=6,rows=6,simd=2,pe=3,levels=1",
    "mvtu_with_memories:columns=12,rows=2,simd=12,pe=1,weights=ternary,levels=2",
    "mvtu_with_memories:columns=15,rows=4,simd=5,pe=4,a=3,mmv=2,weights=ternary,levels=1",
    "mvtu_with_memories:columns=18,rows=4,simd=2,pe=2,scales=9,scale_bits=5,levels=1",
    "mvtu_with_memories:columns=18,rows=2,simd=3,pe=1,scales=3,scale_bits=4,weights=ternary,mmv=2",
    "mvtu_with_memories:columns=5,rows=3,simd=1,pe=1,a=1",
)


@pytest.mark.parametrize("spec", FOLDED)
@pytest.mark.parametrize("gaps", [False, True])
def test_a_matrix_times_vectors_and_thresholds(spec: str, gaps: bool):
    unit = UNITS.parse(spec)
    weights, x, scales, thresholds, codes = problem(unit, 3 * unit.mmv, 1)
    bench = Bench(unit)
    bench.step(rst=1)
    load(bench, unit, weights, thresholds, scales)
    words = [
        packed(x[v : v + unit.mmv, s : s + unit.simd], unit.a)
        for v in range(0, len(x), unit.mmv)
        for s in range(0, unit.columns, unit.simd)
    ]
    generator, found, fed, started = np.random.default_rng(2), [], 0, bench.count
    while len(found) < 3 * unit.neurons and bench.count < 2000:
        valid = int(fed < len(words) and (not gaps or generator.random() < 0.5))
        out = bench.step(valid=valid, x=words[fed] if valid else 0)
        fed += valid & out["ready"]
        if out["done"]:
            found.append(unpacked(out["y"], unit.a, unit.mmv * unit.pe))
    expected = codes.reshape(3, unit.mmv, unit.neurons, unit.pe).transpose(0, 2, 1, 3).reshape(3 * unit.neurons, -1)
    assert found == expected.tolist()
    assert len(np.unique(codes)) > 1
    if not gaps:
        assert bench.count - started == unit.cycles(len(x)) + unit.control.latency + 2


def test_weights_and_thresholds_at_ports_answer_one_cycle_later():
    unit = UNITS.parse("mvtu:columns=6,rows=4,simd=2,pe=2,levels=1")
    weights, x, _, thresholds, codes = problem(unit, 2, 3)
    parts = weights.reshape(unit.neurons, unit.pe, unit.synapses, unit.simd)
    bench, found, fed = Bench(unit), [], 0
    bench.step(rst=1)
    words = [packed(x[v, s : s + 2], 2) for v in range(2) for s in (0, 2, 4)]
    asked = {"address": 0, "channel": 0}
    while len(found) < codes.size and bench.count < 100:
        n, s = divmod(asked["address"], unit.synapses)
        out = bench.step(
            valid=int(fed < len(words)),
            x=words[fed] if fed < len(words) else 0,
            weights=packed(weight_codes(parts[n, :, s], "binary"), 1),
            thresholds=packed(thresholds[2 * asked["channel"] : 2 * asked["channel"] + 2], unit.accumulator),
        )
        fed += out["ready"] and fed < len(words)
        asked = out
        if out["done"]:
            found += unpacked(out["y"], 2, 2)
    assert found == codes.ravel().tolist()


# ---------------------------------------------------------------- sliding window, pooling, a whole layer


def windows_of(image: Any, kernel: int, stride: int) -> Any:
    """[rows, columns, kernel, kernel, channels]."""
    down, across = ((n - kernel) // stride + 1 for n in image.shape[:2])
    return np.array(
        [
            [image[r * stride : r * stride + kernel, c * stride : c * stride + kernel] for c in range(across)]
            for r in range(down)
        ]
    )


@pytest.mark.parametrize(
    "spec",
    [
        "sliding_window:height=4,width=5,kernel=3",
        "sliding_window:height=6,width=7,kernel=3,stride=2,mmv=3",  # a row of pixels is left over
        "sliding_window:height=5,width=4,kernel=2,stride=2,words=2,mmv=2",
        "sliding_window:height=2,width=3,kernel=1,words=3",
        "sliding_window:height=3,width=3,kernel=3,bits=4",
    ],
)
@pytest.mark.parametrize("gaps", [False, True])
def test_windows_of_two_images(spec: str, gaps: bool):
    unit = UNITS.parse(spec)
    generator = np.random.default_rng(4)
    images = generator.integers(0, 1 << unit.bits, (2, unit.height, unit.width, unit.words))
    cut = np.array([windows_of(image, unit.kernel, unit.stride) for image in images])
    groups = cut.reshape(2, unit.down, unit.across // unit.mmv, unit.mmv, -1)
    expected = np.moveaxis(groups, 3, -1).reshape(-1, unit.mmv).tolist()
    stream, bench, found, fed = images.ravel().tolist(), Bench(unit), [], 0
    bench.step(rst=1)
    while len(found) < len(expected) and bench.count < 3000:
        valid = int(fed < len(stream) and (not gaps or generator.random() < 0.7))
        take = int(not gaps or generator.random() < 0.7)
        out = bench.step(valid=valid, x=stream[fed] if valid else 0, take=take)
        fed += valid & out["ready"]
        if out["shown"] & take:
            found.append(unpacked(out["y"], unit.bits, unit.mmv))
    assert found == expected and fed == len(stream)


def test_pooling_windows():
    unit = UNITS.parse("max_pool:lanes=3,a=3,taps=4")
    generator = np.random.default_rng(5)
    x = generator.integers(0, 8, (5, 4, 3))
    bench, found = Bench(unit), []
    bench.step(rst=1)
    for pixel in x.reshape(-1, 3):
        for _ in range(int(generator.integers(0, 2))):
            found += [out["y"]] if (out := bench.step(valid=0, x=511))["done"] else []
        found += [out["y"]] if (out := bench.step(valid=1, x=packed(pixel, 3)))["done"] else []
    found += [out["y"]] if (out := bench.step())["done"] else []
    assert [unpacked(word, 3, 3) for word in found] == x.max(axis=1).tolist()


LAYERS = (
    "conv_layer:height=3,width=5,kernel=3,channels=4,filters=4,simd=2,pe=2,levels=1",
    "conv_layer:height=5,width=5,kernel=3,stride=2,channels=2,filters=3,simd=2,pe=3,mmv=2,weights=ternary",
    "conv_layer:height=3,width=5,kernel=3,channels=2,filters=2,simd=2,pe=1,scales=9,scale_bits=4,levels=1",
    "conv_layer:height=4,width=4,kernel=3,channels=2,filters=4,simd=2,pe=2,scales=3,scale_bits=4,weights=ternary",
)


@pytest.mark.parametrize("spec", LAYERS)
def test_a_convolution_layer_with_absorbed_scales(spec: str):
    """Pixels in, activations out: equal to NumPy's convolution, scaled, biased and quantized by (4.4)."""
    layer: ConvLayer = UNITS.parse(spec)
    unit, generator = layer.unit, np.random.default_rng(6)
    images = generator.integers(0, 1 << layer.a, (2, layer.height, layer.width, layer.channels))
    weights, _, scales, _, _ = problem(unit, 1, 7)
    column_scales = np.repeat(scales, unit.columns // len(scales))
    cut = np.array([windows_of(image, layer.kernel, layer.stride) for image in images])
    sums = (cut.reshape(-1, unit.columns) * column_scales) @ weights.T
    scale = generator.uniform(0.5, 1.5, layer.filters) / sums.std()
    bias = 0.75 - scale * sums.mean(axis=0)
    fraction = 1
    codes = np.clip(np.floor(2**fraction * (scale * sums + bias) + 0.5), 0, 2**layer.a - 1).astype(int)
    thresholds = absorbed(scale, bias, a=layer.a, fraction=fraction, accumulator=unit.accumulator)
    bench, found, fed = Bench(layer), [], 0
    bench.step(rst=1)
    load(bench, unit, weights, thresholds, scales)  # the layer's ports are the unit's
    stream = [packed(word, layer.a) for word in images.reshape(-1, layer.simd)]
    while len(found) < len(sums) // unit.mmv * unit.neurons and bench.count < 6000:
        valid = int(fed < len(stream))
        out = bench.step(valid=valid, x=stream[fed] if valid else 0)
        fed += valid & out["ready"]
        if out["done"]:
            found.append(unpacked(out["y"], unit.a, unit.mmv * unit.pe))
    expected = codes.reshape(-1, unit.mmv, unit.neurons, unit.pe).transpose(0, 2, 1, 3)
    assert found == expected.reshape(len(found), -1).tolist()
    assert len(np.unique(codes)) >= 3


# ---------------------------------------------------------------- on an FPGA


def test_a_processing_element_is_one_lut_per_bit_of_its_adders():
    cost = fpga_cost(UNITS.parse("add_sub_pe:simd=8,accumulator=12,levels=1"), vectors=100_000)
    assert cost.proof is not None and cost.counts.luts <= 4 * 4 + 2 * 5 + 6 + 12
    assert cost.counts.ffs <= 4 * 5 + 2 * 6 + 7 + 12 and cost.counts.dsps == 0


def test_a_scale_takes_one_dsp_and_nothing_of_the_tree():
    plain, scaled = (
        fpga_cost(UNITS.parse(f"{name}:simd=4,accumulator=16"), vectors=100_000) for name in ("add_sub_pe", "syq_pe")
    )
    assert (plain.counts.dsps, scaled.counts.dsps) == (0, 1)
    assert abs(plain.counts.luts - scaled.counts.luts) <= 1 and scaled.proof is None
    packed_in = fpga_cost(UNITS.parse("syq_pe:simd=4,accumulator=16"), "xc7")
    assert packed_in.counts.dsps == 1 and packed_in.counts.luts <= 4 + 4 + 5  # the tree alone: the DSP accumulates
    # as Vivado HLS counts: four activations negated and chosen, three adders, an accumulator
    by_hand = 4 * (3 + 7 + 3) + 2 * (4 + 7) + (5 + 7) + (10 + 7) + 10
    assert hls_luts(UNITS.parse("add_sub_pe"), accumulates=True) == by_hand
    assert hls_luts(UNITS.parse("add_sub_pe:weights=ternary"), accumulates=False) == 4 * 16 + 22 + 12


# ---------------------------------------------------------------- thresholds, cycles, and what cannot be


def test_absorbed_thresholds_are_the_quantizer_for_every_sum():
    scale, bias, a, fraction = np.array([0.125, 0.3, 1.7]), np.array([0.0, -0.4, 0.25]), 3, 1
    thresholds = absorbed(scale, bias, a=a, fraction=fraction, accumulator=9)
    for s in range(-256, 255):
        for k in range(3):
            value = 2**fraction * (Fraction(float(scale[k])) * s + Fraction(float(bias[k]))) + Fraction(1, 2)
            code = min(max(value.numerator // value.denominator, 0), 7)
            assert (s >= thresholds[k]).sum() == code
    with pytest.raises(ValueError, match="absorbed: a scale of -0.5; negate the weights"):
        absorbed([1.0, -0.5], 0.0, a=2, fraction=1, accumulator=8)


@pytest.mark.parametrize(
    ("rows", "pe", "mmv", "cycles", "mhz", "fps"),
    [(96, 96, 9, 46_656, 159, 3_408), (60, 60, 18, 23_328, 150, 6_430)],
)
def test_cycles_of_alexnets_first_layer(rows: int, pe: int, mmv: int, cycles: int, mhz: int, fps: int):
    """Tables 4.3 and 4.4 print 3,265 and 6,172 frames a second, measured; equation 4.6 gives the ceiling above them."""
    unit = Mvtu(columns=12 * 12 * 3, rows=rows, simd=3, pe=pe, mmv=mmv)
    assert unit.cycles(54 * 54) == cycles == reuse(12, 3, rows, 54, 3 * pe * mmv)
    assert round(mhz * 1e6 / cycles) == fps


def test_buffers_between_layers():
    """Equation 4.7: none where a layer is not folded, half a map where each processing element works twice."""
    assert buffer_brams(64, 28, 1, 1024) == 0
    assert buffer_brams(64, 28, 2, 1024) == -(-64 * 28 * 28 // 2048)
    assert buffer_brams(64, 28, 10**9, 1024) == 49  # the whole map, just


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mvtu:columns=5,simd=2", "mvtu: columns=5, simd=2; simd must divide columns"),
        ("mvtu:rows=5,pe=2", "mvtu: rows=5, pe=2; pe must divide rows"),
        ("mvtu:scales=3", "mvtu: scales=3; 0, or 2 or more that divide the 2 steps"),
        ("mvtu:mmv=0", "mvtu: mmv=0; 1 to 256"),
        ("mvtu_control:latency=17", "latency=17; folds of 1 to 1048576, a latency of 0 to 16"),
        ("add_sub_pe:simd=0", "add_sub_pe: simd=0, a=2, levels=0; simd is 1 to 1024"),
        ("add_sub_pe:accumulator=4", "add_sub_pe: accumulator=4; one sum takes 5 bits"),
        ("syq_pe:accumulator=40,scale_bits=18", "syq_pe: scale_bits=18; 1 to 17"),
        ("thresholds:a=9", "thresholds: a=9, accumulator=8; a is 1 to 8"),
        ("ring_counter:count=1", "ring_counter: count=1, width=8, dwell=12; 2 to 1024 scales"),
        ("sliding_window:kernel=4", "sliding_window: windows of kernel=4, stride=1 in 3 x 3 pixels"),
        ("sliding_window:stride=3", "sliding_window: windows of kernel=2, stride=3 .* no pixel is left out"),
        ("sliding_window:mmv=3", "sliding_window: mmv=3; it divides the 2 windows of a row"),
        ("sliding_window:words=0", "sliding_window: words=0, width=3; a row has two words or more"),
        ("max_pool:taps=1", "max_pool: lanes=2, a=2, taps=1; 1 to 1024 lanes"),
        ("conv_layer:channels=3,simd=2", "conv_layer: channels=3, simd=2; simd must divide the channels"),
    ],
)
def test_units_that_cannot_be(spec: str, message: str):
    with pytest.raises(SpecError, match=message):
        UNITS.parse(spec)
