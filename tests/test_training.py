"""Training: the schedule and the step against torch, stopping and going on, and what a person reads when it fails."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from carrysave import training
from carrysave.data import Dataset
from carrysave.training import CheckpointError, RandomShifts, TrainingError, load_weights, save_weights, train


def small_data(n: int = 96) -> Dataset:
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 3, (n,), generator=generator)
    images = torch.rand(n, 1, 6, 6, generator=generator) * 0.3
    images[torch.arange(n), 0, labels] += 0.7  # the class is the bright row
    return Dataset(images, labels, "rows")


def small_model() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 3)]
        return nn.Sequential(*layers)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Fails:
    """An augmentation that does as `inner` for some batches and then fails: as Ctrl-C does, or by giving NaN."""

    def __init__(self, inner: RandomShifts, batches: int, with_nan: bool = False) -> None:
        self.inner, self.left, self.with_nan = inner, batches, with_nan

    def __repr__(self) -> str:
        return repr(self.inner)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left >= 0:
            return self.inner(images)
        if self.with_nan:
            return images * math.nan
        raise KeyboardInterrupt


def test_it_learns_and_the_same_seed_gives_the_same_weights():
    models = [small_model() for _ in range(3)]
    histories = [
        train(model, small_data(), 6, seed, 0.05, batch=16, progress=False)
        for model, seed in zip(models, (0, 0, 1), strict=True)
    ]
    assert histories[0] == histories[1] != histories[2]
    assert same(weights(models[0]), weights(models[1])) and not same(weights(models[0]), weights(models[2]))
    assert histories[0][-1].accuracy > 90 > 80 > histories[0][0].accuracy
    assert [epoch.number for epoch in histories[0]] == [1, 2, 3, 4, 5, 6]


def test_the_callers_random_state_and_mode_stay():
    model = small_model().eval()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    train(model, small_data(), 1, 0, 0.05, progress=False)
    assert torch.equal(torch.get_rng_state(), before) and not model.training


@pytest.mark.parametrize("batches_until_stop", [0, 3, 6, 13])
def test_a_stopped_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, batches_until_stop):
    data, shifts = small_data(), RandomShifts(1)
    whole = small_model()
    expected = train(whole, data, 3, 0, 0.05, batch=16, augment=shifts, progress=False)

    checkpoint = tmp_path / "run.safetensors"
    stopped = Fails(shifts, batches_until_stop)
    with pytest.raises(KeyboardInterrupt):
        train(small_model(), data, 3, 0, 0.05, batch=16, augment=stopped, checkpoint=checkpoint, progress=False)
    assert checkpoint.exists() == (batches_until_stop >= 6)  # six batches an epoch
    torch.manual_seed(1234)  # another process has another random state
    again = small_model()
    history = train(again, data, 3, 0, 0.05, batch=16, augment=shifts, checkpoint=checkpoint, progress=False)
    assert history == expected and same(weights(whole), weights(again))
    assert [path.name for path in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_finished_training_is_read_and_not_repeated(tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    first = small_model()
    history = train(first, small_data(), 2, 0, 0.05, checkpoint=checkpoint, progress=False)
    again = small_model()
    content = checkpoint.read_bytes()
    assert train(again, small_data(), 2, 0, 0.05, checkpoint=checkpoint, progress=False) == history
    assert same(weights(first), weights(again)) and checkpoint.read_bytes() == content


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    train(small_model(), small_data(), 1, 0, 0.05, checkpoint=checkpoint, progress=False)
    content = checkpoint.read_bytes()
    for settings, message in (
        ({"learning_rate": 0.1}, "made with learning_rate=0.05, now learning_rate=0.1; use the same settings"),
        ({"seed": 1}, "made with seed=0, now seed=1"),
        ({"data": small_data(50)}, "made with data="),
        ({"augment": RandomShifts(1)}, "made with augment=none, now augment="),
    ):
        arguments = {"data": small_data(), "epochs": 1, "seed": 0, "learning_rate": 0.05, **settings}
        with pytest.raises(CheckpointError, match=message):
            train(small_model(), **arguments, checkpoint=checkpoint, progress=False)
    with pytest.raises(CheckpointError, match="does not fit this Linear"):
        train(nn.Linear(2, 2), small_data(), 1, 0, 0.05, checkpoint=checkpoint, progress=False)
    assert checkpoint.read_bytes() == content
    checkpoint.write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="no safetensors file, or damaged"):
        train(small_model(), small_data(), 1, 0, 0.05, checkpoint=checkpoint, progress=False)


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_epoch(tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    poison = Fails(RandomShifts(1), 7, with_nan=True)
    data = small_data()
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 2, batch 2, at learning rate .*highest 0.05"):
        train(small_model(), data, 2, 0, 0.05, batch=16, augment=poison, checkpoint=checkpoint, progress=False)
    model = small_model()
    history = train(model, data, 2, 0, 0.05, batch=16, augment=RandomShifts(1), checkpoint=checkpoint, progress=False)
    whole = small_model()
    assert train(whole, data, 2, 0, 0.05, batch=16, augment=RandomShifts(1), progress=False) == history
    assert same(weights(model), weights(whole))


def test_settings_that_cannot_be_are_refused():
    for epochs, rate in ((0, 0.1), (1, 0.0), (1, math.nan)):
        with pytest.raises(ValueError, match="must be at least 1, the learning rate above 0"):
            train(small_model(), small_data(), epochs, 0, rate, progress=False)


def test_a_data_loader_trains_as_the_dataset_does_in_order():
    data = small_data()
    batches = list(data.batches(16))
    model = small_model()
    history = train(model, batches, 2, 0, 0.05, progress=False)
    again = small_model()
    assert train(again, batches, 2, 0, 0.05, progress=False) == history and same(weights(model), weights(again))


def test_one_step_is_nesterovs_and_the_schedule_its_formula():
    """One full batch: w1 = w0 - lr * (1 + momentum) * (gradient + decay * w0), at the schedule's first rate."""
    data = small_data(8)
    linear = nn.Linear(36, 3)
    model = nn.Sequential(nn.Flatten(), linear)
    start = linear.weight.detach().clone()
    nn.functional.cross_entropy(model(data.images), data.labels).backward()
    gradient = linear.weight.grad
    assert gradient is not None
    train(model, data, 1, 0, 0.5, batch=8, weight_decay=0.01, progress=False)
    expected = start - 0.1 * 0.5 * 1.9 * (gradient + 0.01 * start)
    assert torch.allclose(linear.weight, expected, atol=1e-6)
    points = [training._schedule(done) for done in (0.0, 0.15, 0.575, 1.0)]
    assert points == pytest.approx([0.1, 1.0, 0.5, 0.0], abs=1e-12)


def test_shifts_move_whole_images_by_every_amount():
    """Against a slow loop: each shifted image is the padded image cut at one of the (2p+1)^2 places."""
    torch.manual_seed(0)
    images = torch.rand(300, 2, 5, 4)
    moved, seen = RandomShifts(1)(images), set()
    for image, result in zip(images, moved, strict=True):
        padded = nn.functional.pad(image, [1, 1, 1, 1])
        places = [(y, x) for y in range(3) for x in range(3) if torch.equal(padded[:, y : y + 5, x : x + 4], result)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9
    assert torch.equal(RandomShifts(0)(images), images)


def test_off_a_terminal_each_epoch_is_a_line_of_json(capsys):
    history = train(small_model(), small_data(), 2, 0, 0.05)
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == "" and [line["number"] for line in lines] == [1, 2]
    assert lines[1] == {"event": "epoch", "of": 2, **asdict(history[1])}


def test_weights_survive_a_file(tmp_path):
    model, other = small_model(), small_model()
    train(model, small_data(), 1, 0, 0.05, progress=False)
    save_weights(model, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert same(weights(model), weights(other))
    with pytest.raises(CheckpointError, match="holds weights, but no training state"):
        train(other, small_data(), 1, 0, 0.05, checkpoint=tmp_path / "weights.safetensors", progress=False)


def test_on_a_terminal_a_bar_names_loss_and_accuracy(capsys, monkeypatch):
    monkeypatch.setattr(training.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    history = train(small_model(), small_data(), 1, 0, 0.05)
    captured = capsys.readouterr()
    assert captured.out == "" and f"training, loss {history[0].loss:.4f}, {history[0].accuracy:.2f} %" in captured.err
