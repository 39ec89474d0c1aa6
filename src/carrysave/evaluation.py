"""Accuracy with its interval, and two networks compared on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from carrysave.data import Batches, batches_of
from carrysave.running import ModelError, logits

_Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """`correct` of `total` images; `predictions` and `labels` (int64, (total,)) where they are known."""

    correct: int
    total: int
    predictions: np.ndarray | None = field(default=None, compare=False, repr=False)
    labels: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.total or self.total < 1:
            raise ValueError(f"Accuracy: {self.correct} correct of {self.total}: expected 0 <= correct <= total > 0")

    @property
    def percent(self) -> float:
        return 100 * self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval in percent (E. B. Wilson, JASA 22, 1927); stays within 0 and 100."""
        n, p, z2 = self.total, self.correct / self.total, _Z95**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.2f} % ({low:.2f}-{high:.2f})"


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test (Psychometrika 12, 1947): how likely so uneven a split of the images that
    only one network has right is, where neither is better.
    """
    changed, ways, tail = only_first + only_second, 1, 1
    for k in range(min(only_first, only_second)):
        ways = ways * (changed - k) // (k + 1)  # k + 1 of `changed`, as whole numbers: no rounding, no overflow
        tail += ways
    return min(1.0, 2 * tail / 2**changed)


@dataclass(frozen=True)
class Comparison:
    """The same images under two networks: how many both, only the first, only the second, and neither had right."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def difference(self) -> float:
        """Accuracy of the first minus accuracy of the second, in points."""
        total = self.both + self.only_first + self.only_second + self.neither
        return 100 * (self.only_first - self.only_second) / total

    @property
    def p_value(self) -> float:
        """`mcnemar` of the discordant images."""
        return mcnemar(self.only_first, self.only_second)

    def __str__(self) -> str:
        return (
            f"{self.difference:+.2f} points (only the first right {self.only_first}, "
            f"only the second {self.only_second}, p = {self.p_value:.2g})"
        )


def evaluate(model: nn.Module, data: Batches, batch: int = 256) -> Accuracy:
    """The share of images whose largest output (N, classes) is their label's, with all predictions.

    `data` is a Dataset, cut into batches of `batch`, or an iterable of (images, labels) batches. The model computes in
    evaluation mode and without gradients, and is left in the mode it was in. ValueError for no data, for a model that
    fails or gives outputs of another shape, for labels beyond its classes, and for a NaN or infinite output, with the
    image and the first layer that gave one.
    """
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    predictions, truth, seen = [], [], 0
    try:
        with torch.no_grad():
            for images, labels in batches_of(data, batch):
                outputs = logits(model, images.to(where), "evaluate")
                _check(outputs, images, labels, model, seen)
                predictions.append(outputs.argmax(1).cpu())
                truth.append(labels.cpu())
                seen += len(labels)
    finally:
        model.train(was_training)
    if not seen:
        raise ValueError("evaluate: the data gave no batch; a generator is used up by one pass, pass a list")
    guessed, labels = torch.cat(predictions).numpy(), torch.cat(truth).numpy()
    return Accuracy(int((guessed == labels).sum()), seen, guessed, labels)


def compare(first: Accuracy, second: Accuracy) -> Comparison:
    """Paired counts of two evaluations of the same images. ValueError without predictions, or for other images."""
    for which, accuracy in (("first", first), ("second", second)):
        if accuracy.predictions is None or accuracy.labels is None:
            raise ValueError(f"compare: the {which} accuracy holds no predictions; take it from evaluate()")
    assert first.labels is not None and second.labels is not None  # said above, for the type checker
    if not np.array_equal(first.labels, second.labels):
        raise ValueError(
            f"compare: the labels differ ({first.total} and {second.total} images); "
            "a paired comparison needs the same images in the same order"
        )
    a, b = first.predictions == first.labels, second.predictions == second.labels
    return Comparison(int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum()))


def _check(outputs: Tensor, images: Tensor, labels: Tensor, model: nn.Module, seen: int) -> None:
    if outputs.ndim != 2 or len(outputs) != len(labels):
        raise ModelError(
            f"evaluate: expected outputs of shape ({len(labels)}, classes), got {tuple(outputs.shape)} "
            f"for images of shape {tuple(images.shape)}"
        )
    if len(labels) and not (0 <= int(labels.min()) and int(labels.max()) < outputs.shape[1]):
        bad = int(((labels < 0) | (labels >= outputs.shape[1])).nonzero()[0])
        raise ModelError(
            f"evaluate: image {seen + bad} has label {int(labels[bad])}, but {type(model).__name__} has "
            f"{outputs.shape[1]} classes; labels run from 0 to {outputs.shape[1] - 1}"
        )
    finite = torch.isfinite(outputs).all(1)
    if not finite.all():
        bad = int((~finite).nonzero()[0])
        value = outputs[bad][~torch.isfinite(outputs[bad])][0].item()
        raise ModelError(
            f"evaluate: output {value} for image {seen + bad}; {_first_bad_layer(model, images.to(outputs.device))}"
        )


def _first_bad_layer(model: nn.Module, images: Tensor) -> str:
    """Run once more, asking each innermost layer, in the order they compute in."""
    found: list[str] = []

    def watch(name: str):
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not output.isfinite().all():
                bad = [key for key, weight in module.named_parameters() if not weight.isfinite().all()]
                why = f", for its {' and '.join(bad)} holds NaN or infinity" if bad else ""
                found.append(f"layer {name!r} gave one first{why}")

        return hook

    handles = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else "no layer gave one, but what is computed between them"
