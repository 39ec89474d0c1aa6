"""LeNet: its shapes, its training on digits, and the cache of its weights."""

from __future__ import annotations

import pytest
import torch

from carrysave import networks
from carrysave.evaluation import evaluate
from carrysave.networks import LeNet
from carrysave.training import CheckpointError


def test_the_shapes_of_the_precision_study():
    """Its 1650 KB of float32 parameters are 1684 by these shapes: 431,080 of them."""
    model = LeNet()
    assert [tuple(p.shape) for p in model.parameters() if p.ndim > 1] == [
        (20, 1, 5, 5),
        (50, 20, 5, 5),
        (500, 800),
        (10, 500),
    ]
    assert sum(p.numel() for p in model.parameters()) == 431_080
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert LeNet(3, 16, 7)(torch.zeros(1, 3, 16, 16)).shape == (1, 7)


@pytest.mark.parametrize("size", [12, 15, 18, 30])
def test_a_size_that_drops_pixels_is_refused(size):
    with pytest.raises(ValueError, match=f"size={size}: .* a multiple of 4, >= 16"):
        LeNet(size=size)


@pytest.fixture
def one_thread():
    """Two threads that wait for each other are many times slower on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_lenet_learns_digits_once(tmp_path, monkeypatch, capsys, one_thread):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    state = torch.get_rng_state()
    model, train, test = networks.lenet("digits")
    accuracy = evaluate(model, test)
    assert accuracy.percent > 98 and not model.training and len(train) == 1000
    assert torch.equal(torch.get_rng_state(), state)
    files = list((tmp_path / "networks").iterdir())
    assert [path.suffix for path in files] == [".safetensors"]  # and no checkpoint is left

    capsys.readouterr()
    again = networks.lenet("digits")[0]
    assert capsys.readouterr().err == "" and evaluate(again, test) == accuracy

    files[0].write_bytes(files[0].read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged .* delete it"):
        networks.lenet("digits")
