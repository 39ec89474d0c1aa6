"""Training, plain: stochastic gradient descent with a warm-up and a cosine, seeded and resumable.

All randomness of an epoch (order, augmentation, dropout) is a function of the seed and the epoch's number. A stopped
training that goes on from its checkpoint therefore ends with exactly the weights of one that was never stopped.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from carrysave.data import Batches, Dataset, batches_of
from carrysave.paths import write_atomically

WARM_UP = 0.15  # of all steps: the rate rises linearly, then falls as a cosine to zero
MOMENTUM = 0.9


class TrainingError(RuntimeError):
    """The loss is no number any more."""


class CheckpointError(ValueError):
    """A checkpoint or weight file that is damaged, or belongs to something else."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data gave: mean loss and accuracy (percent) on the batches as they were trained on."""

    number: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class RandomShifts:
    """Augmentation: each image moved by up to `pixels` in both directions, zeros coming in."""

    pixels: int

    def __call__(self, x_NCHW: Tensor) -> Tensor:
        n, _, height, width = x_NCHW.shape
        padded = nn.functional.pad(x_NCHW, [self.pixels] * 4)
        dy, dx = torch.randint(0, 2 * self.pixels + 1, (2, n, 1, 1, 1)).to(x_NCHW.device)
        device = x_NCHW.device
        rows = (dy + torch.arange(height, device=device).view(1, 1, -1, 1)).expand(n, x_NCHW.shape[1], height, 1)
        columns = (dx + torch.arange(width, device=device).view(1, 1, 1, -1)).expand(n, x_NCHW.shape[1], 1, width)
        image = torch.arange(n, device=device).view(-1, 1, 1, 1)
        channel = torch.arange(x_NCHW.shape[1], device=device).view(1, -1, 1, 1)
        return padded[image, channel, rows, columns]


@dataclass(frozen=True)
class RandomFlips:
    """Augmentation: `then`, of images each mirrored left to right or not, as a coin falls."""

    then: Callable[[Tensor], Tensor]

    def __call__(self, x_NCHW: Tensor) -> Tensor:
        mirrored = torch.randint(0, 2, (len(x_NCHW), 1, 1, 1)).bool().to(x_NCHW.device)
        return self.then(torch.where(mirrored, x_NCHW.flip(3), x_NCHW))


def train(
    model: nn.Module,
    data: Batches,
    epochs: int,
    seed: int,
    learning_rate: float,
    *,
    batch: int = 64,
    weight_decay: float = 5e-4,
    augment: Callable[[Tensor], Tensor] | None = None,
    checkpoint: Path | str | None = None,
    progress: bool = True,
) -> tuple[Epoch, ...]:
    """Train `model` in place on `data` with cross entropy; one `Epoch` for each pass.

    `data` is a Dataset (shuffled here, in batches of `batch`) or anything with a length that yields (images, labels)
    batches each time it is iterated, such as a torch DataLoader. `learning_rate` is the highest of the schedule.
    With `checkpoint` the state is written there after each epoch, and a file found there is gone on from.

    Raises TrainingError when the loss is NaN or infinite (the checkpoint keeps the last good epoch) and CheckpointError
    when `checkpoint` is damaged or was made with other settings, data or layers.
    """
    if epochs < 1 or batch < 1 or not learning_rate > 0:
        raise ValueError(
            f"train: epochs={epochs}, batch={batch}, learning_rate={learning_rate}: "
            "epochs and batch must be at least 1, the learning rate above 0"
        )
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(
        parameters, lr=learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=weight_decay
    )
    settings = {
        "epochs": epochs,
        "seed": seed,
        "learning_rate": learning_rate,
        "batch": batch,
        "weight_decay": weight_decay,
        "augment": "none" if augment is None else getattr(augment, "__qualname__", repr(augment)),
        "data": getattr(data, "content_hash", type(data).__qualname__),
    }
    run = _Run(model, dict(zip(names, parameters, strict=True)), optimizer, settings)
    path = Path(checkpoint) if checkpoint is not None else None
    history = run.restore(path) if path is not None and path.exists() else []

    was_training = model.training
    device = parameters[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), _reporter(epochs, progress) as report:
        for epoch in range(len(history), epochs):
            torch.manual_seed(_epoch_seed(seed, epoch))
            model.train()
            history.append(_one_epoch(run, data, epoch, augment))
            if path is not None:
                run.store(path, history)
            report(history[-1])
    model.train(was_training)
    return tuple(history)


def save_weights(model: nn.Module, path: Path | str) -> None:
    """Write the parameters and buffers of `model` as safetensors, whole or not at all."""
    write_atomically(path, save(_copies(model.state_dict())))


def load_weights(model: nn.Module, path: Path | str) -> None:
    """Fill `model` from a file of `save_weights`. CheckpointError if it is damaged or made for other layers."""
    _, tensors = _read(Path(path))
    _fill(model, tensors, Path(path))


@dataclass(frozen=True)
class _Run:
    """The state that training changes, and its two ways to and from a file."""

    model: nn.Module
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.SGD
    settings: dict[str, Any]

    def store(self, path: Path, history: list[Epoch]) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.parameters.items():
            buffer = self.optimizer.state[parameter].get("momentum_buffer")
            if buffer is not None:  # none for a parameter that took no part in the loss
                tensors[f"momentum.{name}"] = buffer
        about = {"settings": self.settings, "history": [asdict(epoch) for epoch in history]}
        write_atomically(path, save(_copies(tensors), metadata={"training": json.dumps(about)}))

    def restore(self, path: Path) -> list[Epoch]:
        about, tensors = _read(path)
        if "training" not in about:
            raise CheckpointError(f"{path}: holds weights, but no training state; name another checkpoint")
        state = json.loads(about["training"])
        for name, value in self.settings.items():
            if state["settings"].get(name) != value:
                raise CheckpointError(
                    f"{path}: made with {name}={state['settings'].get(name)}, now {name}={value}; "
                    "use the same settings to go on, or delete the file to start anew"
                )
        prefix = "model."
        _fill(self.model, {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}, path)
        for name, parameter in self.parameters.items():
            if f"momentum.{name}" in tensors:
                self.optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{name}"].to(parameter.device)
        return [Epoch(**epoch) for epoch in state["history"]]


def _one_epoch(run: _Run, data: Batches, epoch: int, augment: Callable[[Tensor], Tensor] | None) -> Epoch:
    settings, device = run.settings, next(iter(run.parameters.values())).device
    size = settings["batch"]
    steps = -(-len(data) // size) if isinstance(data, Dataset) else len(cast(Sized, data))
    total, right, seen = 0.0, 0, 0
    for step, (images, labels) in enumerate(batches_of(data, size, _epoch_seed(settings["seed"], epoch))):
        done = (epoch * steps + step) / (settings["epochs"] * steps)
        for group in run.optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * _schedule(done)
        x, y = images.to(device), labels.to(device)
        logits = run.model(x if augment is None else augment(x))
        loss = nn.functional.cross_entropy(logits, y)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"training: the loss is {value} in epoch {epoch + 1}, batch {step + 1}, at learning rate "
                f"{settings['learning_rate'] * _schedule(done):g} (highest {settings['learning_rate']:g}); "
                "lower the learning rate, or look for NaN in the weights and the data"
            )
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        total, seen = total + value * len(y), seen + len(y)
        right += int((logits.argmax(1) == y).sum())
    return Epoch(epoch + 1, total / seen, 100 * right / seen)


def _schedule(done: float) -> float:
    """The share of the highest learning rate after the share `done` of all steps."""
    if done < WARM_UP:
        return 0.1 + 0.9 * done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _epoch_seed(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What safetensors takes: nothing shared, and contiguous, which weights in channels-last order are not."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: no safetensors file, or damaged ({error}); delete it") from error


def _fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit this {type(model).__name__}: {error}") from error


@contextmanager
def _reporter(epochs: int, progress: bool) -> Iterator[Callable[[Epoch], None]]:
    """A bar where standard error is a terminal, a line of JSON per epoch elsewhere, nothing without `progress`."""
    if not progress:
        yield lambda epoch: None
    elif not sys.stderr.isatty():
        yield lambda epoch: print(json.dumps({"event": "epoch", "of": epochs, **asdict(epoch)}), file=sys.stderr)
    else:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("training", total=epochs)

            def show(epoch: Epoch) -> None:
                text = f"training, loss {epoch.loss:.4f}, {epoch.accuracy:.2f} %"
                bar.update(task, completed=epoch.number, description=text)

            yield show
