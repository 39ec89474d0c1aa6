"""An ONNX file under several multipliers: accuracy where there are labels, and how far outputs move from float.

What HEAM's evaluation toolbox ApproxFlow does (Section II.D): the network is a graph, independent of how it was
trained, and a multiplier may be a table in a file (`table:FILE`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from carrysave import records
from carrysave.calibration import Calibration, calibrate
from carrysave.emulation import emulate
from carrysave.evaluation import Accuracy, compare
from carrysave.multipliers import Multiplier
from carrysave.onnx_import import Input, OnnxNetwork, load
from carrysave.questions import Candidate, candidates_of
from carrysave.recipes import Recipe
from carrysave.registry import nearest
from carrysave.results import AccuracyFigure, Kind, LayerPlan, Paired
from carrysave.running import ModelError, logits
from carrysave.samples import UNCOUNTED, Samples
from carrysave.trials import Event, Progress, silent

_BATCH = 256


@dataclass(frozen=True)
class Deviation:
    """How far outputs lie from those in float.

    Attributes:
        mean, largest: of |output - float output|.
        relative: the root mean square of the difference over that of the float outputs.
        same_answer: percent of samples whose largest output is the same one; None where outputs are not [N, classes].
    """

    mean: float
    largest: float
    relative: float
    same_answer: float | None


@dataclass(frozen=True)
class RunRow:
    """One arithmetic: `accuracy` where labels are given, `deviation` for all but float, `left` layers and why."""

    name: str
    kind: Kind
    accuracy: AccuracyFigure | None
    against_exact: Paired | None
    deviation: Deviation | None
    plans: tuple[LayerPlan, ...]
    left: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True)
class Run:
    """What `run` found: a row for float, exact, and each multiplier and recipe."""

    network: str
    data: str
    samples: int
    counted: int | None
    output: str
    rows: tuple[RunRow, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def run(
    network: str | Path | OnnxNetwork,
    data: Samples,
    multipliers: Iterable[str | Multiplier],
    *,
    recipes: Mapping[str, Recipe] | None = None,
    calibration: Calibration | Samples | None = None,
    samples: int = 512,
    seed: int = 0,
    output: str | None = None,
    progress: Progress = silent,
) -> Run:
    """An ONNX file on data, in float and with each multiplier.

    Args:
        multipliers: spec strings or objects, each with its usual formats; the exact one is always among the rows. A
            quantized file's layers keep the codes of the file.
        recipes: further rows by name.
        calibration: of `calibrate`, or samples to calibrate on, `samples` of them; without it `data`, as a note says.
        output: the graph's output to judge; without it the first that holds numbers with a fraction.

    Raises:
        ValueError: for files, data, names and formats that do not fit each other, and for a graph in which nothing can
            be emulated.
    """
    net = network if isinstance(network, OnnxNetwork) else load(network, None if output is None else [output])
    name = "network" if isinstance(network, OnnxNetwork) else Path(network).name
    if len(net.inputs) != 1 or len(net.outputs) != 1:
        raise ValueError(
            f"{name}: `run` feeds one input and judges one output; the graph has {len(net.inputs)} inputs "
            f"({'; '.join(map(str, net.inputs)) or 'none'}) and {len(net.outputs)} outputs; store in the file what is "
            "fixed, such as an adjacency"
        )
    notes = list(net.notes)
    test = _fitted(data, net, notes)
    found = calibration
    if found is None:
        notes.append("calibrated on the test data: no calibration data were given")
    if not isinstance(found, Calibration):
        progress(Event("calibration", "", 0, 1))
        start = time.perf_counter()
        source = test if found is None else _fitted(found, net, [])
        found = calibrate(net, _drawn(source, net, samples, seed), samples=len(source), seed=seed)
        progress(Event("calibration", name, 1, 1, time.perf_counter() - start))
    candidates = candidates_of(multipliers, recipes or {})
    _check(name, net, found, candidates)
    rows = _rows(net, found, candidates, test, progress)
    counted = None if test.labels is None else int((test.labels != UNCOUNTED).sum())
    return Run(name, data.name, len(test), counted, net.outputs[0], tuple(rows), tuple(dict.fromkeys(notes)))


def _rows(
    net: OnnxNetwork, calibration: Calibration, candidates: Iterable[Candidate], test: Samples, progress: Progress
) -> Iterable[RunRow]:
    """Float first, then exact: the others are compared with both."""
    todo = list(candidates)
    progress(Event("accuracy", "", 0, len(todo)))
    plain: Tensor | None = None
    exact: Accuracy | None = None
    for done, candidate in enumerate(todo, start=1):
        start = time.perf_counter()
        model: Any = net if candidate.recipe is None else emulate(net, calibration, candidate.recipe)
        outputs = _outputs(model, test, net.batch)
        plain = outputs if plain is None else plain
        accuracy = None if test.labels is None else _accuracy(outputs, test.labels)
        exact = accuracy if candidate.kind == "exact" else exact
        paired = None
        if accuracy is not None and exact is not None and candidate.kind not in ("float", "exact"):
            counts = compare(accuracy, exact)
            paired = Paired(gained=counts.only_first, lost=counts.only_second)
        emulated = candidate.recipe is not None
        seconds = time.perf_counter() - start
        yield RunRow(
            candidate.name,
            candidate.kind,
            None if accuracy is None else _figure(accuracy),
            paired,
            _deviation(outputs, plain) if emulated else None,
            tuple(LayerPlan(**records.plan_record(replaced)) for replaced in model.replaced) if emulated else (),
            tuple((left.name, left.why) for left in model.left) if emulated else (),
            seconds,
        )
        progress(Event("accuracy", candidate.name, done, len(todo), seconds))


def _fitted(data: Samples, net: OnnxNetwork, notes: list[str]) -> Samples:
    """`data` in the shape that the graph takes; images become rows for a graph that takes rows."""
    wanted: Input = net.inputs[0]
    x = data.x
    if wanted.shape is not None and len(wanted.shape) == 2 and x.ndim > 2:
        x = x.flatten(1)
        notes.append(f"samples of shape {tuple(data.x.shape[1:])} are given as rows of {x.shape[1]}")
    if net.batch is not None and len(x) % net.batch:
        raise ValueError(
            f"the graph always takes {net.batch} samples, and {data.name} has {len(x)}, no multiple of it; cut the "
            "data, or export the network with a dynamic batch"
        )
    wanted.checked(x[: net.batch or 1])
    return Samples(data.name, x, data.labels)


def _drawn(data: Samples, net: OnnxNetwork, samples: int, seed: int) -> list[Tensor]:
    """Batches of a seeded random subset, of whole batches where the graph fixes their size."""
    if samples < 1:
        raise ValueError(f"samples={samples}; calibration needs at least 1")
    size = net.batch or _BATCH
    count = min(len(data), samples if net.batch is None else max(size, samples // size * size))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]
    return list(data.x[order.sort().values].split(size))


def _outputs(model: nn.Module, data: Samples, batch: int | None) -> Tensor:
    """The outputs for all samples, in float64."""
    given = data.x.split(batch or _BATCH)
    with torch.no_grad():
        parts = [logits(model, x, "run") for x in given]
    if any(part.shape[:1] != x.shape[:1] for part, x in zip(parts, given, strict=True)):
        raise ModelError(
            f"run: the output has shape {tuple(parts[0].shape)} for {len(given[0])} samples; expected one row for each"
        )
    found = torch.cat(parts).to(torch.float64)
    bad = int((~torch.isfinite(found)).sum())
    if bad:
        raise ModelError(f"run: {bad} of {found.numel()} outputs are NaN or infinite")
    return found


def _accuracy(outputs: Tensor, labels: Tensor) -> Accuracy:
    """Of the samples that count. Raises ModelError for outputs that are no class scores of these labels."""
    counted = labels != UNCOUNTED
    if outputs.ndim != 2 or outputs.shape[1] < 2 or len(outputs) != len(labels):
        raise ModelError(
            f"accuracy needs outputs of shape ({len(labels)}, classes), got {tuple(outputs.shape)}; name another "
            "output, or leave the labels out to compare outputs"
        )
    wrong = counted & ((labels < 0) | (labels >= outputs.shape[1]))
    if bool(wrong.any()):
        label = int(labels[wrong][0])
        raise ModelError(f"label {label}, but the outputs have {outputs.shape[1]} classes; labels start at 0")
    if not bool(counted.any()):
        raise ModelError(f"all labels are {UNCOUNTED}: no sample counts")
    guessed, truth = outputs[counted].argmax(1).numpy(), labels[counted].numpy()
    return Accuracy(int((guessed == truth).sum()), len(truth), guessed, truth)


def _figure(accuracy: Accuracy) -> AccuracyFigure:
    return AccuracyFigure(accuracy.correct, accuracy.total, accuracy.percent, *accuracy.interval)


def _deviation(outputs: Tensor, plain: Tensor) -> Deviation:
    difference = (outputs - plain).abs()
    size = float(plain.square().mean().sqrt())
    spread = float(difference.square().mean().sqrt())
    answers = outputs.ndim == 2 and outputs.shape[1] > 1
    same = 100 * float((outputs.argmax(1) == plain.argmax(1)).to(torch.float64).mean()) if answers else None
    relative = spread / size if size else float(spread > 0)
    return Deviation(float(difference.mean()), float(difference.max()), relative, same)


def _check(name: str, net: OnnxNetwork, calibration: Calibration, candidates: Iterable[Candidate]) -> None:
    """Raises ValueError for a graph without layers to emulate, and for layers that recipes name in vain."""
    if not calibration.layers:
        others = ", ".join(f"{layer} ({kind})" for layer, kind in calibration.others.items())
        raise ValueError(f"{name}: no layer can be emulated, so there is nothing to compare ({others or 'no product'})")
    known = {*calibration.records, *(record.kind for record in calibration.records.values())}
    known |= {layer for layer, _ in net.named_modules()}
    for candidate in candidates:
        for rule in candidate.recipe.rules if candidate.recipe else ():
            if rule.pattern not in known and not any(c in rule.pattern for c in "*?["):
                raise ValueError(
                    f"recipe {candidate.name!r}: no layer is called {rule.pattern!r}"
                    f"{nearest(rule.pattern, calibration.layers)}; layers: {', '.join(calibration.layers)}"
                )
