"""The networks of the HEAM paper's accuracies, as trained here, and their accuracy with a multiplier."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from carrysave import networks, records
from carrysave.calibration import Calibration, calibrate
from carrysave.data import Dataset
from carrysave.emulation import emulate
from carrysave.evaluation import Accuracy, evaluate
from carrysave.exploration import default_store
from carrysave.methods.heam import distribution_of
from carrysave.multipliers import Multiplier
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.reproductions.base import Setting
from carrysave.store import Store
from carrysave.tables import table
from carrysave.trials import Event, Runner, forward_hash, model_hash

SAMPLES, SEED = 512, 0  # of the calibration; all of the data where they are fewer


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that multipliers are tried in.

    Attributes:
        title: the network and its data, as a figure names them.
        tests: what it is tested on, by the name that a figure gives it.
    """

    title: str
    model: nn.Module
    calibration: Calibration
    tests: dict[str, Dataset]

    @property
    def work(self) -> str:
        """Multiply-accumulates of one image, or of a graph as a whole."""
        if isinstance(self.model, networks.GCN):
            return f"{sum(r.macs / r.calls for r in self.calibration.records.values()) / 1e6:.0f} million MACs a graph"
        return f"{sum(self.calibration.macs.values()) / 1e6:.2f} million MACs an image"


@dataclass(frozen=True)
class Question:
    """A network and data set by their names in `networks`, and what figures call the two."""

    network: str
    dataset: str
    network_title: str
    data_title: str


LENET_MNIST = Question("lenet", "mnist", "LeNet", "MNIST")
LENET_FASHION = Question("lenet", "fashion_mnist", "LeNet", "Fashion-MNIST")
ALEXNET = Question("alexnet", "cifar10", "AlexNet", "CIFAR-10 (JPEG q75)")
GCN = Question("gcn", "cora", "GCN", "CORA")
QUESTIONS = (LENET_MNIST, LENET_FASHION, ALEXNET, GCN)
ALL_NODES = "CORA, all nodes"


def subjects(questions: Iterable[Question], setting: Setting) -> list[Subject]:
    """The trained and calibrated networks, in order; progress as they come."""
    asked = list(questions)
    made = []
    for done, question in enumerate(asked):
        setting.progress(Event("network", question.network, done, len(asked)))
        made.append(subject(question, setting))
    setting.progress(Event("network", asked[-1].network, len(asked), len(asked)))
    return made


def subject(question: Question, setting: Setting) -> Subject:
    """One network: its weights come with the package, or from the cache, or are trained now."""
    model, train, test = networks.load(question.network, question.dataset, setting.data_root)
    tests = {question.data_title: test}
    if isinstance(model, networks.GCN):
        tests[ALL_NODES] = Dataset(model.adjacency, model.labels, ALL_NODES)
    calibration = calibrate(model, train, samples=SAMPLES, seed=SEED)
    return Subject(f"{question.network_title}, {question.data_title}", model, calibration, tests)


class Accuracies:
    """Accuracies as trials of the store: one that was computed before, by any reproduction, is looked up."""

    def __init__(self, setting: Setting, total: int) -> None:
        self.setting, self.total, self.done = setting, total, 0
        self.store = Store(default_store())
        self.runner = Runner(self.store)
        self._keys: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> Accuracies:
        self.setting.progress(Event("accuracy", "", 0, self.total))
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()

    def of(self, subject: Subject, test: str, m: Multiplier | None) -> Accuracy:
        """With multiplier `m` in all layers, in its usual formats; None for the float network."""
        recipe = None if m is None else Recipe([Rule("*", Arithmetic.natural(m))])
        inputs: dict[str, Any] = {**self._key(subject), "data": subject.tests[test].content_hash}
        if recipe is not None:
            inputs["recipe"] = records.recipe_inputs(recipe)

        def compute() -> tuple[dict[str, Any], bytes]:
            net: Any = subject.model if recipe is None else emulate(subject.model, subject.calibration, recipe)
            accuracy = evaluate(net, subject.tests[test], batch=_batch(subject))
            return {"correct": accuracy.correct, "total": accuracy.total}, b""

        name = "float" if m is None else m.spec
        before = len(self.runner.ran)
        stored = self.runner.run("table accuracy", f"{subject.title}: {name}", inputs, compute)
        self.done += 1
        kept = self.runner.ran[before].kept
        event = Event("accuracy", f"{test}: {name}", self.done, self.total, stored.seconds, kept)
        self.setting.progress(event)
        return Accuracy(stored.result["correct"], stored.result["total"])

    def _key(self, subject: Subject) -> dict[str, Any]:
        if id(subject) not in self._keys:
            test = next(iter(subject.tests.values()))
            digest = hashlib.sha256(records.calibration_to_bytes(subject.calibration)).hexdigest()
            weights, forward = model_hash(subject.model), forward_hash(subject.model, test)
            self._keys[id(subject)] = {"weights": weights, "forward": forward, "calibration": digest}
        return self._keys[id(subject)]


@dataclass(frozen=True)
class Error:
    """Of a multiplier under a network's operands: mean squared (equation 3), and mean with its sign."""

    square: float
    mean: float


def error_of(subject: Subject, m: Multiplier) -> Error:
    """Of an 8-bit unsigned multiplier; each layer's operands as a product of marginals, layers by their MACs."""
    values = np.arange(1 << m.a_bits, dtype=np.float64)
    difference = table(m) - values[:, None] * values[None, :]
    joint = distribution_of(subject.calibration).joint()
    return Error(float((joint * difference**2).sum()), float((joint * difference).sum()))


def _batch(subject: Subject) -> int:
    """A graph's nodes at once, for every batch computes the hidden layer of them all."""
    return 1 << 20 if isinstance(subject.model, networks.GCN) else 256
