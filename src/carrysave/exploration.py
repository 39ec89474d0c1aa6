"""The main job: which arithmetic does a network tolerate, and what does each save?

`explore` asks for a model and multipliers, `run_study` for a study file. Every point is a trial in a store: what has
been computed before is looked up, so a stopped exploration goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from carrysave import __version__, powers, records
from carrysave.calibration import Calibration, calibrate
from carrysave.data import Batches, Dataset, check_order
from carrysave.emulation import emulate
from carrysave.errors import measure
from carrysave.evaluation import evaluate
from carrysave.loading import Loaded, load
from carrysave.multipliers import Multiplier
from carrysave.paths import cache_dir
from carrysave.questions import Candidate, Effort, Question, candidates_of, study_recipe
from carrysave.recipes import Recipe
from carrysave.registry import nearest
from carrysave.results import CostFigure, LayerPlan, PowerFigure, Results, Row
from carrysave.store import Store, Stored, trial_key
from carrysave.study import Study
from carrysave.trials import Event, Progress, Runner, data_hash, forward_hash, model_hash, multiplier_hash, silent

if TYPE_CHECKING:
    from carrysave.hardware.library import Library


def default_store() -> Path:
    """Where trials are kept unless another file is named; trials of all studies share it."""
    return cache_dir() / "trials.sqlite"


def explore(
    network: nn.Module | str,
    calibration: Calibration | Batches | None,
    multipliers: Iterable[str | Multiplier],
    *,
    data: Batches | str,
    recipes: Mapping[str, Recipe] | None = None,
    library: Library | None = None,
    effort: Effort = "normal",
    frequency_ghz: float = 1.0,
    samples: int = 512,
    seed: int = 0,
    store: Store | str | Path | None = None,
    title: str = "",
    progress: Progress = silent,
) -> Results:
    """Accuracy, errors and cost of a network with each multiplier, beside float and exact.

    Args:
        network: a model, or "lenet", trained on the data set that `data` then names.
        calibration: of `calibrate`, or data to calibrate on (`samples` of them); None with a named network: the data's
            training half.
        multipliers: spec strings or objects; each gets its usual formats (`Arithmetic.natural`).
        data: test images with labels, or the name of a data set.
        recipes: further rows by name.
        library: standard cells; the built-in compact library by default.
        frequency_ghz: the clock at which power and energy are stated.
        store: where trials are kept; `default_store()` by default.

    Raises:
        ValueError: for unknown names and for formats that do not fit a multiplier.
            Also for a model that fails on the data, and for one in which no layer can be emulated.

    A multiplier that cannot be synthesised has a row without cost; the row says why.
    """
    loaded = _loaded(network, calibration, data, seed)
    candidates = candidates_of(multipliers, recipes or {})
    question = Question(
        title or f"Which multiplier does {loaded.network} tolerate?",
        loaded.network,
        loaded.model,
        loaded.test_name,
        loaded.test,
        calibration if calibration is not None else loaded.calibration_data,
        candidates,
        library or _compact_library(),
        effort,
        frequency_ghz,
        samples,
        seed,
        loaded.notes,
        loaded.source,
    )
    return answer(question, store, progress)


def run_study(
    study: Study,
    *,
    store: Store | str | Path | None = None,
    data_root: Path | None = None,
    liberty: Iterable[Path] = (),
    progress: Progress = silent,
) -> Results:
    """Run a checked study file; `liberty` takes the place of the file's own libraries. Raises as `explore` does."""
    files = [study.beside(name) for name in (study.network, study.data, study.calibration.data or "") if ".py:" in name]
    recipes = {table.name: study_recipe(study, table.rules) for table in study.recipes}
    candidates = candidates_of(study.multipliers, recipes, study.formats, study.calibration.ranges)
    paths = list(liberty) or [study.beside(name) for name in study.costs.liberty]
    library = _read_library(paths)
    progress(Event("network", "", 0, 1))
    loaded = load(
        study.network,
        study.data,
        calibration_data=study.calibration.data,
        data_root=data_root,
        seed=study.seed,
        folder=Path(study.folder) if files else Path("."),
    )
    progress(Event("network", study.network, 1, 1))
    test = loaded.test
    if study.test_images is not None and isinstance(test, Dataset) and study.test_images < len(test):
        test = test.subset(study.test_images, study.seed)
    question = Question(
        study.title or f"Which multiplier does {study.network} on {study.data} tolerate?",
        loaded.network,
        loaded.model,
        loaded.test_name,
        test,
        loaded.calibration_data,
        candidates,
        library,
        study.costs.effort,
        study.costs.frequency_ghz,
        study.calibration.samples,
        study.seed,
        loaded.notes,
        loaded.source,
    )
    return answer(question, store, progress)


def _loaded(network: nn.Module | str, calibration: Any, data: Batches | str, seed: int) -> Loaded:
    if isinstance(network, str) and isinstance(data, str):
        return load(network, data, seed=seed)
    if isinstance(network, str):
        raise ValueError(
            f"explore: network={network!r} is trained on a named data set; give data='mnist' or your own model"
        )
    if calibration is None:
        raise ValueError(
            "explore: calibration is needed with a model of your own: cs.calibrate(model, train), or training data"
        )
    if isinstance(data, str):
        from carrysave.data import load as load_data

        return Loaded(type(network).__name__, network, (), load_data(data)[1], data, ())
    check_order(data, "explore: data")
    if not isinstance(calibration, Calibration):
        check_order(calibration, "explore: calibration")
    return Loaded(type(network).__name__, network, (), data, getattr(data, "name", "own data"), ())


def _compact_library() -> Library:
    from carrysave.hardware.cells import compact_library

    return compact_library()


def _read_library(paths: list[Path]) -> Library:
    if not paths:
        return _compact_library()
    from carrysave.hardware.liberty import read_liberty

    return read_liberty(paths)


# --- the trials ---


def answer(question: Question, store: Store | str | Path | None = None, progress: Progress = silent) -> Results:
    """Run all trials of a question, and put their results together."""
    start = time.perf_counter()
    own_store = not isinstance(store, Store)
    opened = store if isinstance(store, Store) else Store(store or default_store())
    try:
        run = _Run(question, Runner(opened, progress))
        accuracies = run.accuracies()
        uniform, own = run.errors()
        costs = run.costs()
        powers = run.powers()
        rows = run.rows(accuracies, uniform, own, costs, powers)
        return run.results(rows, time.perf_counter() - start)
    finally:
        if own_store:
            opened.close()


def nothing_emulated(question: Question, why: Mapping[str, str]) -> ValueError:
    """The error for a network all of whose layers would stay float."""
    reasons = "; ".join(f"{name or 'the model itself'}: {reason}" for name, reason in why.items())
    return ValueError(
        f"{question.network}: no layer can be emulated, so there is nothing to compare "
        f"({reasons or 'calibration saw no layer that multiplies'})"
    )


def check_layers(question: Question, calibration: Calibration) -> None:
    """Raises ValueError for a network without layers to emulate, and with all layers that recipes name in vain."""
    if not calibration.layers:
        raise nothing_emulated(
            question, {name: f"a {kind} cannot be emulated" for name, kind in calibration.others.items()}
        )
    modules = dict(question.model.named_modules())
    known = {*modules, *calibration.records}
    known |= {type(module).__name__ for module in modules.values()} | {r.kind for r in calibration.records.values()}
    wrong = []
    for candidate in question.candidates:
        for rule in candidate.recipe.rules if candidate.recipe else ():
            if rule.pattern not in known and not any(c in rule.pattern for c in "*?["):
                hint = nearest(rule.pattern, calibration.layers)
                wrong.append(f"recipe {candidate.name!r}: no layer is called {rule.pattern!r}{hint}")
    if wrong:
        raise ValueError("\n  ".join([*wrong, f"layers, by name or by class: {', '.join(calibration.layers)}"]))


class _Run:
    """One question on its way; the hashes that its trials share."""

    def __init__(self, question: Question, runner: Runner):
        self.question = question
        self.runner = runner
        self.weights = model_hash(question.model)
        self.test = data_hash(question.test)
        self.network = {
            "weights": self.weights,
            "forward": forward_hash(question.model, question.test),
            "source": question.source,
        }
        self.calibration, self.calibration_key = self._calibrate()
        self.uncosted: dict[str, str] = {}
        check_layers(question, self.calibration)

    def _calibrate(self) -> tuple[Calibration, str]:
        given = self.question.calibration
        if isinstance(given, Calibration):
            return given, hashlib.sha256(records.calibration_to_bytes(given)).hexdigest()
        self.runner.progress(Event("calibration", "", 0, 1))
        q = self.question
        inputs = {**self.network, "data": data_hash(given), "samples": q.samples, "seed": q.seed}
        made: list[Calibration] = []

        def compute() -> tuple[dict[str, Any], bytes]:
            made.append(calibrate(q.model, given, samples=q.samples, seed=q.seed))
            return {}, records.calibration_to_bytes(made[0])

        stored = self.runner.run("calibration", q.network, inputs, compute)
        self.runner.progress(Event("calibration", q.network, 1, 1, stored.seconds, not made))
        return made[0] if made else records.calibration_from_bytes(stored.payload), hashlib.sha256(
            stored.payload
        ).hexdigest()

    def accuracies(self) -> dict[str, Stored]:
        candidates = self.question.candidates
        self.runner.progress(Event("accuracy", "", 0, len(candidates)))
        found = {}
        for done, candidate in enumerate(candidates, start=1):
            ran = len(self.runner.ran)
            found[candidate.name] = stored = self._accuracy(candidate)
            kept = self.runner.ran[ran].kept
            self.runner.progress(Event("accuracy", candidate.name, done, len(candidates), stored.seconds, kept))
        return found

    def _accuracy(self, candidate: Candidate) -> Stored:
        inputs: dict[str, Any] = {**self.network, "data": self.test}
        if candidate.recipe is not None:
            inputs |= {"calibration": self.calibration_key, "recipe": records.recipe_inputs(candidate.recipe)}

        def compute() -> tuple[dict[str, Any], bytes]:
            q = self.question
            if candidate.recipe is None:
                return records.accuracy_result(evaluate(q.model, q.test), [], [])
            net: Any = emulate(q.model, self.calibration, candidate.recipe)
            if candidate.kind == "exact" and not net.replaced:
                raise nothing_emulated(q, {left.name: left.why for left in net.left})
            plans = [records.plan_record(replaced) for replaced in net.replaced]
            return records.accuracy_result(evaluate(net, q.test), plans, [[left.name, left.why] for left in net.left])

        return self.runner.run("accuracy", candidate.name, inputs, compute)

    def errors(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """By multiplier under uniform operands; by candidate of one multiplier under the network's own."""
        uniform: dict[str, dict[str, Any]] = {}
        own: dict[str, dict[str, Any]] = {}
        single = [candidate for candidate in self.question.candidates if len(candidate.multipliers) == 1]
        self.runner.progress(Event("errors", "", 0, len(single)))
        for done, candidate in enumerate(single, start=1):
            m, ran = candidate.multipliers[0], len(self.runner.ran)
            inputs = {"multiplier": multiplier_hash(m), "seed": self.question.seed}
            stored = self.runner.run(
                "errors", m.spec, inputs, lambda m=m: (asdict(measure(m, seed=self.question.seed)), b"")
            )
            uniform[m.spec] = stored.result
            own_stored = self._own_errors(candidate, m)
            if own_stored is not None:
                own[candidate.name] = own_stored.result
            kept = all(trial.kept for trial in self.runner.ran[ran:])
            self.runner.progress(Event("errors", candidate.name, done, len(single), stored.seconds, kept))
        return uniform, own

    def _own_errors(self, candidate: Candidate, m: Multiplier) -> Stored | None:
        if len(set(candidate.arithmetics)) != 1 or max(m.a_bits, m.b_bits) > 12:
            return None
        arithmetic = candidate.arithmetics[0]
        inputs = {
            "multiplier": multiplier_hash(m),
            "calibration": self.calibration_key,
            "arithmetic": records.arithmetic_inputs(arithmetic),
        }

        def compute() -> tuple[dict[str, Any], bytes]:
            operands = self.calibration.operands_of_all(arithmetic)
            return asdict(measure(m, operands=(operands.activation, operands.weight), seed=self.question.seed)), b""

        return self.runner.run("errors here", candidate.name, inputs, compute)

    def costs(self) -> dict[str, CostFigure]:
        """Every multiplier synthesised, several at a time: each runs its scripts in child processes.

        One that has no circuit, or that Yosys or ABC fail on, is missing here; `uncosted` has the reason.
        """
        from carrysave.hardware.tools import SynthesisError

        runner = self.runner
        multipliers, inputs = self._circuits()
        runner.progress(Event("cost", "", 0, len(multipliers)))
        found: dict[str, Stored] = {}
        missing: list[Multiplier] = []
        for spec, m in multipliers.items():
            stored = runner.kept("cost", inputs[spec])
            if stored is None:
                missing.append(m)
                continue
            found[spec] = runner.note(stored, spec, kept=True)
            runner.progress(Event("cost", spec, len(found), len(multipliers), stored.seconds, True))
        pool = ThreadPoolExecutor(max(2, (os.cpu_count() or 1) // 4))
        try:
            futures = {
                pool.submit(records.timed_cost, m, self.question.library, self.question.effort): m for m in missing
            }
            for future in as_completed(futures):
                spec = futures[future].spec
                if isinstance(error := future.exception(), SynthesisError):
                    self.uncosted[spec] = str(error)
                    continue
                result, seconds = records.finished(future, f"synthesising {spec}")
                found[spec] = runner.keep("cost", spec, inputs[spec], result, b"", seconds)
                runner.progress(Event("cost", spec, len(found), len(multipliers), seconds))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return {spec: records.cost_figure(spec, found[spec].result) for spec in multipliers if spec in found}

    def _circuits(self) -> tuple[dict[str, Multiplier], dict[str, dict[str, Any]]]:
        """The multipliers that have a circuit, and what their costs depend on; the others go into `uncosted`."""
        inputs = {}
        for spec, m in self.question.multipliers.items():
            try:
                inputs[spec] = self._cost_inputs(m)
            except ValueError as error:
                self.uncosted[spec] = str(error)
        return {spec: m for spec, m in self.question.multipliers.items() if spec in inputs}, inputs

    def powers(self) -> dict[str, tuple[PowerFigure | None, PowerFigure | None]]:
        """By candidate of one multiplier: power at the clock under the toggle rate, and this network's operands."""
        from carrysave.hardware.activity import Vectors

        q, runner = self.question, self.runner
        wanted: dict[tuple[str, int], tuple[str, dict[str, Any], Multiplier, Vectors]] = {}
        for candidate in (c for c in q.candidates if len(c.multipliers) == 1):
            m = candidate.multipliers[0]
            if m.spec in self.uncosted:
                continue
            for place, vectors in enumerate(powers.activities(m, candidate.arithmetics, self.calibration)):
                if vectors is not None:
                    inputs = {**self._cost_inputs(m), **powers.inputs(vectors, q.frequency_ghz)}
                    wanted[candidate.name, place] = (trial_key("power", inputs), inputs, m, vectors)
        jobs = {key: (name, inputs, m, vectors) for (name, _), (key, inputs, m, vectors) in wanted.items()}
        runner.progress(Event("power", "", 0, len(jobs)))
        found: dict[str, Stored] = {}
        with ThreadPoolExecutor(2) as pool:
            futures = {}
            for key, (name, inputs, m, vectors) in jobs.items():
                stored = runner.kept("power", inputs)
                if stored is None:
                    futures[pool.submit(powers.timed, m, q.library, q.effort, q.frequency_ghz, vectors)] = key
                    continue
                found[key] = runner.note(stored, name, kept=True)
                runner.progress(Event("power", name, len(found), len(jobs), stored.seconds, True))
            for future in as_completed(futures):
                key = futures[future]
                name, inputs, m, _ = jobs[key]
                result, seconds = records.finished(future, f"computing the power of {m.spec}")
                found[key] = runner.keep("power", name, inputs, result, b"", seconds)
                runner.progress(Event("power", name, len(found), len(jobs), seconds))
        figures = {at: powers.figure(found[key].result) for at, (key, *_) in wanted.items()}
        return {name: (figures.get((name, 0)), figures.get((name, 1))) for name, _ in wanted}

    def _cost_inputs(self, m: Multiplier) -> dict[str, Any]:
        from carrysave.hardware.rtl import rtlil
        from carrysave.hardware.synthesis import flow_of

        rtl = hashlib.sha256(rtlil(m).encode()).hexdigest()
        return {"rtl": rtl, "library": self.question.library.digest, "flow": flow_of(self.question.effort)}

    def rows(
        self,
        accuracies: Mapping[str, Stored],
        uniform: Mapping[str, Any],
        own: Mapping[str, Any],
        costs: Mapping[str, CostFigure],
        powers: Mapping[str, tuple[PowerFigure | None, PowerFigure | None]],
    ) -> tuple[Row, ...]:
        baseline = next(accuracies[c.name] for c in self.question.candidates if c.kind == "exact")
        rows = []
        for candidate in self.question.candidates:
            stored = accuracies[candidate.name]
            plans = tuple(LayerPlan(**plan) for plan in stored.result["plans"])
            # a multiplier's cost speaks for the network only where it computes every layer that multiplies
            floats = records.float_layers(self.calibration, plans, stored.result["left"]) if candidate.recipe else ()
            whole = not floats and len(candidate.multipliers) == 1
            spec = candidate.multipliers[0].spec if whole else None
            uncosted = [(m.spec, self.uncosted[m.spec]) for m in candidate.multipliers if m.spec in self.uncosted]
            toggled, met = powers.get(candidate.name, (None, None)) if spec else (None, None)
            rows.append(
                Row(
                    name=candidate.name,
                    kind=candidate.kind,
                    multipliers=tuple(m.spec for m in candidate.multipliers),
                    accuracy=records.accuracy_figure(stored),
                    against_exact=None if candidate.kind == "exact" else records.paired(stored, baseline),
                    cost=costs.get(spec) if spec else None,
                    uniform=uniform[spec] if spec else None,
                    own=own.get(candidate.name) if spec else None,
                    plans=plans,
                    left=tuple((name, why) for name, why in stored.result["left"]),
                    seconds=stored.seconds,
                    power=toggled,
                    own_power=met,
                    macs=sum(self.calibration.macs.values()) if spec else 0,
                    operands=records.drawable_operands(candidate, self.calibration) if spec else None,
                    stays_float=floats,
                    uncosted=tuple(uncosted),
                )
            )
        return tuple(rows)

    def results(self, rows: tuple[Row, ...], seconds: float) -> Results:
        q = self.question
        total = rows[0].accuracy.total
        costs = next(row.cost for row in rows if row.kind == "exact")
        hashes = f"images sha256 {self.test[:12]}, network {q.network} sha256 {self.weights[:12]}"
        given = isinstance(q.calibration, Calibration)
        sources = [
            ("accuracy", f"{q.data}, {total:,} test images; {hashes}"),
            *([("area and delay", f"{costs.source}; one multiplier, its cells alone")] if costs else []),
            ("power and energy", powers.source(q.frequency_ghz)),
            ("errors", "every operand pair to 12 bits an operand, a seeded sample above; “here”: all layers' operands"),
            ("calibration", "given" if given else f"{q.samples} samples, seed {q.seed}"),
            *(("note", note) for note in dict.fromkeys((*q.notes, *powers.notes(rows)))),
            ("program", f"carrysave {__version__}"),
        ]
        exact = next(c for c in q.candidates if c.kind == "exact")
        return Results(
            title=q.title,
            network=q.network,
            data=f"{q.data} ({total:,} test images)",
            rows=rows,
            layers=records.layer_rows(self.calibration, exact.arithmetics[0], rows),
            ran=tuple(self.runner.ran),
            sources=tuple(sources),
            multipliers=q.multipliers,
            seconds=seconds,
            frequency_ghz=q.frequency_ghz,
        )
