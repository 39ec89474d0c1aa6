"""Calibration: histograms that merge exactly, operands counted by brute force, files, and bad values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import carrysave as cs
from carrysave.histograms import BINS, Histogram, merged
from carrysave.recipes import Arithmetic

floats = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


@settings(max_examples=100)
@given(st.lists(st.lists(floats, min_size=1, max_size=20), min_size=1, max_size=6), st.randoms())
def test_histograms_merge_exactly_in_any_order(batches: list[list[float]], random: object) -> None:
    whole = Histogram.of(np.concatenate([np.array(b) for b in batches]))
    random.shuffle(batches)  # type: ignore[attr-defined]
    joined = merged([Histogram.of(np.array(b)) for b in batches])
    assert (joined.exponent, joined.first, joined.low, joined.high) == (
        whole.exponent,
        whole.first,
        whole.low,
        whole.high,
    )
    assert np.array_equal(joined.counts, whole.counts) and whole.counts.size <= BINS
    assert whole.counts.sum() == sum(len(b) for b in batches)


def test_histograms_are_fine() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    histogram = Histogram.of(values)
    assert BINS / 2 <= histogram.counts.size <= BINS
    mean = (histogram.centres * histogram.counts).sum() / histogram.counts.sum()
    assert abs(mean - values.mean()) < histogram.width / 10


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")  # torch's own layer
@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 1}, {"padding": "same", "kernel_size": 2}, {"stride": 2, "dilation": 2, "padding": (1, 2)},
     {"groups": 2, "padding": 1, "padding_mode": "reflect"}, {"stride": 3, "kernel_size": 1}],
    ids=str,
)  # fmt: skip
def test_operands_are_those_that_meet_in_the_multipliers(options: dict) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(**{"in_channels": 2, "out_channels": 4, "kernel_size": 3, **options})
    # values on a coarse grid, so that a histogram's bin never holds two codes
    x = torch.randint(0, 16, (3, 2, 6, 7)).float()
    x[0, 0, 0, :2] = torch.tensor([0.0, 15.0])
    arithmetic = Arithmetic("affine:bits=4", "affine:bits=4", "exact:n=4")
    calibration = cs.calibrate(layer, x)
    operands = calibration.operands("", arithmetic)
    # brute force: F.unfold the codes as the layer sees them, padding as NaN, and count
    activation, weight = calibration.quantizers("", arithmetic)
    expected = np.zeros(16)
    seen = np.zeros(16)
    for o in range(4):
        for c in range(layer.weight.shape[1]):
            for i, j in np.ndindex(*layer.kernel_size):
                one = nn.Conv2d(**{"in_channels": 2, "out_channels": 4, "kernel_size": 3, **options, "bias": False})
                one.weight.data.zero_()
                one.weight.data[o, c, i, j] = 1.0  # picks the operands that meet weight [o, c, i, j]
                picked = one(x)[:, o].detach()
                codes = activation.codes(picked).numpy()
                expected += np.bincount(codes.reshape(-1), minlength=16)
                seen[int(weight.codes(layer.weight.detach())[o, c, i, j])] += picked.numel()
    assert np.array_equal(operands.activation, expected)
    assert np.allclose(operands.weight, seen)
    assert calibration.macs[""] * 3 == expected.sum()


def test_operands_of_all_weigh_layers_by_their_products() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    calibration = cs.calibrate(model, torch.rand(5, 4))
    assert calibration.macs == {"0": 32, "2": 16} and calibration.samples == 5
    every = calibration.operands_of_all(Arithmetic())
    assert every.activation.shape == every.weight.shape == (256,)
    assert every.activation.sum() == pytest.approx(5 * 48) and every.weight.sum() == pytest.approx(5 * 48)
    magnitudes = calibration.operands("0", Arithmetic(weight="sign_magnitude:bits=8"))
    assert magnitudes.weight[128:].sum() == 0 and magnitudes.weight[127] > 0
    signed = calibration.operands("0", Arithmetic("fixed", "fixed", "exact:signed=true"))
    assert signed.weight[128:].sum() > 0  # two's complement patterns of negative weights
    with pytest.raises(ValueError, match="too long; use a multiplier of up to 20 bits"):
        calibration.operands("0", Arithmetic(multiplier="exact:n=32"))


def test_batches_may_come_in_any_size() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    x = torch.rand(12, 1, 4, 4)
    whole = cs.calibrate(model, x, samples=12)
    parts = cs.calibrate(model, [(x[:5], None), (x[5:6], None), (x[6:], None)], samples=12)
    few = cs.calibrate(model, [x[:5], x[5:]], samples=7)
    for name in whole.layers:
        a, b = whole[name].input, parts[name].input
        assert a is not None and b is not None and np.array_equal(a.counts, b.counts)
        assert whole.macs == parts.macs == few.macs
    assert few.samples == 7 and model.training
    again = cs.calibrate(model, x, samples=6, seed=1)
    other = cs.calibrate(model, x, samples=6, seed=2)
    assert again["3"].input is not None and other["3"].input is not None
    assert not np.array_equal(again["3"].input.counts, other["3"].input.counts)


def test_files_round_trip_and_damage_is_reported(tmp_path: Path) -> None:
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return torch.einsum("bcij,bcij->b", y @ y.mT, y)

    model, x = Model(), torch.rand(4, 1, 5, 5)
    calibration = cs.calibrate(model, x)
    path = tmp_path / "calibration.npz"
    calibration.save(path)
    loaded = cs.Calibration.load(path)
    assert loaded.layers == calibration.layers == ["conv", "matmul0"] and loaded.macs == calibration.macs
    assert torch.equal(cs.emulate(model, loaded)(x), cs.emulate(model, calibration)(x))
    assert loaded.records["einsum0"].kind == "einsum"
    for name in loaded.layers:
        a, b = loaded.operands(name, Arithmetic()), calibration.operands(name, Arithmetic())
        assert np.array_equal(a.activation, b.activation) and np.array_equal(a.weight, b.weight)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"not an archive"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a calibration file, or damaged .*; run calibrate again"):
            cs.Calibration.load(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match="not a calibration file"):
        cs.Calibration.load(path)
    with pytest.raises(FileNotFoundError):
        cs.Calibration.load(tmp_path / "absent.npz")


def test_bad_values_and_bad_data_are_reported() -> None:
    second = nn.Linear(2, 2)
    model = nn.Sequential(nn.Linear(2, 2), second)
    with pytest.raises(ValueError, match=r"layer '0': an activation is NaN or infinite \(1 of 4 values\)"):
        cs.calibrate(model, torch.tensor([[0.0, 1.0], [float("inf"), 2.0]]))
    with torch.no_grad():
        second.weight[0, 1] = float("nan")
    with pytest.raises(ValueError, match=r"layer '1': a weight is NaN or infinite \(1 of 4 values\)"):
        cs.calibrate(model, torch.rand(3, 2))
    assert not model[0]._forward_hooks and model.training  # nothing is left behind
    with pytest.raises(ValueError, match="calibrate: samples=0"):
        cs.calibrate(model, torch.rand(3, 2), samples=0)
    with pytest.raises(ValueError, match="calibrate: the data gave no samples"):
        cs.calibrate(model, [])
    with pytest.raises(ValueError, match="batches are tensors or tuples that start with one, not ndarray"):
        cs.calibrate(model, [np.zeros((2, 2))])
    with pytest.raises(KeyError, match="layer 'x' was not seen during calibration; seen: 0"):
        cs.calibrate(nn.Sequential(nn.Linear(2, 2)), torch.rand(3, 2))["x"]
