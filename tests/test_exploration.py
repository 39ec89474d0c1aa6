"""Exploration: what makes a trial another one, which rows a question has, and the whole way from Python."""

from __future__ import annotations

import copy
import gc
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import carrysave as cs
from carrysave import powers, records
from carrysave.data import Dataset
from carrysave.description import describe
from carrysave.exploration import explore
from carrysave.loading import as_data, as_model, load_file, source_hash
from carrysave.multipliers import MULTIPLIERS
from carrysave.questions import candidates_of
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.report import tables
from carrysave.report.terminal import print_multiplier, print_results
from carrysave.results import Results
from carrysave.store import trial_key
from carrysave.study import Formats
from carrysave.trials import data_hash, forward_hash, model_hash, multiplier_hash, program_hash


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).eval()


@pytest.fixture
def data() -> Dataset:
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(120, 1, 6, 6, generator=generator)
    return Dataset(images, torch.randint(0, 4, (120,), generator=generator), "random")


def test_a_model_is_known_by_structure_and_weights(model: nn.Module) -> None:
    same, other = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-7
    assert model_hash(same) == model_hash(model) != model_hash(other)
    strided = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2), *list(model.children())[1:])
    strided[0].load_state_dict(model[0].state_dict())  # type: ignore[index]
    assert model_hash(strided) != model_hash(model)


class Scaled(nn.Module):
    """Its code is all that tells two of them apart."""

    def __init__(self, inner: nn.Module, function: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.function(x))


def test_a_model_is_known_by_what_its_code_computes(model: nn.Module, data: Dataset) -> None:
    first, same, other = Scaled(model, torch.relu), Scaled(model, torch.abs), Scaled(model, torch.neg)
    assert model_hash(first) == model_hash(other)
    assert forward_hash(first, data) == forward_hash(same, data) != forward_hash(other, data)
    first.train()
    model.eval()
    forward_hash(first, list(data.batches(30)))
    assert first.training and not model.training  # as each was


def test_trials_are_known_by_the_programs_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "carrysave"
    (package / "report").mkdir(parents=True)
    for name in ("trials.py", "engine.py", "report/html.py"):
        (package / name).write_text("one")
    monkeypatch.setattr("carrysave.trials.__file__", str(package / "trials.py"))

    def digest() -> str:
        program_hash.cache_clear()
        return program_hash()

    try:
        before = digest()
        (package / "report" / "html.py").write_text("two")  # draws, and computes nothing
        assert digest() == before
        (package / "engine.py").write_text("two")
        assert digest() != before
    finally:
        program_hash.cache_clear()


def test_a_users_file_is_known_with_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "blocks_of_mine.py").write_text("from torch import nn\nBlock = nn.Linear\n")
    (tmp_path / "late_of_mine.py").write_text("width = 2\n")
    (tmp_path / "unused.py").write_text("1 / 0\n")
    (tmp_path / "net.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport blocks_of_mine\n"
        "@dataclass\nclass Size:\n    width: int = 3\n"
        "def model():\n    import late_of_mine\n    return blocks_of_mine.Block(Size().width, late_of_mine.width)\n"
    )
    found, module = load_file("net.py:model", tmp_path)
    assert repr(as_model("net.py:model", found)) == repr(nn.Linear(3, 2))
    before = source_hash(module)
    (tmp_path / "unused.py").write_text("2 / 0\n")
    assert source_hash(load_file("net.py:model", tmp_path)[1]) == before
    (tmp_path / "blocks_of_mine.py").write_text("from torch import nn\nBlock = nn.Bilinear\n")
    assert source_hash(module) != before
    for name in ("blocks_of_mine", "late_of_mine"):
        del sys.modules[name]


def test_data_is_known_by_pixels_labels_and_order(data: Dataset) -> None:
    batches = list(data.batches(50))
    assert data_hash(batches) == data_hash(list(data.batches(50)))
    assert data_hash(batches[::-1]) != data_hash(batches)
    other = [(images, (labels + 1) % 4) for images, labels in batches]
    assert data_hash(other) != data_hash(batches)
    assert data_hash(data) != data_hash(data.subset(119, 0))


def test_a_multiplier_is_known_by_what_it_computes() -> None:
    def key(spec: str) -> str:
        return multiplier_hash(MULTIPLIERS.parse(spec))

    assert key("exact") == key("exact:tree=array") == key("truncated:c=0")
    specs = (
        "exact",
        "kulkarni",
        "drum:k=6",
        "drum:k=5",
        "exact:signed=true",
        "exact:n=7",
        "exact:n=16",
        "drum:n=16,k=6",
    )
    assert len({key(spec) for spec in specs}) == len(specs)


def test_rows_start_with_float_and_an_exact_baseline() -> None:
    def rows(*specs: str) -> list[tuple[str, str]]:
        return [(candidate.name, candidate.kind) for candidate in candidates_of(specs, {})]

    assert rows("drum:k=6") == [("float", "float"), ("exact", "exact"), ("drum:k=6", "multiplier")]
    assert rows("kulkarni", "exact:tree=array", "exact")[1:] == [
        ("exact:tree=array", "exact"),
        ("kulkarni", "multiplier"),
        ("exact", "multiplier"),
    ]
    assert rows("drum:k=6,n=8", "drum:k=6") == rows("drum:k=6")  # one multiplier, written in two ways


def test_formats_are_the_multipliers_usual_ones_unless_given() -> None:
    candidates = {
        c.name: c for c in candidates_of(["mitchell_w:w=6", "drum:n=6,k=4"], {}, Formats(weight_scales="channel"))
    }
    signed, narrow = candidates["mitchell_w:w=6"].arithmetics[0], candidates["drum:n=6,k=4"].arithmetics[0]
    assert (signed.parts[1].low, narrow.parts[1].low, narrow.parts[1].high) == (-128, 0, 63)
    assert narrow.weight_scales == "channel"
    with pytest.raises(ValueError, match="the activation format"):
        candidates_of(["kulkarni"], {}, Formats(activation="affine:bits=9"))


def test_objects_of_a_user() -> None:
    tensors = (torch.zeros(2, 1, 4, 4), torch.zeros(2))
    made = as_data("d.py:x", lambda: tensors)
    assert isinstance(made, Dataset) and made.labels.dtype == torch.int64
    batches = [tensors]
    assert as_data("d.py:x", batches) is batches
    rows = as_data("d.py:x", [torch.zeros(3, 5), torch.zeros(3)])
    assert isinstance(rows, Dataset) and rows.images.shape == (3, 5)
    with pytest.raises(ValueError, match="d.py:x must be a carrysave Dataset, .* got Tensor"):
        as_data("d.py:x", torch.zeros(3, 5))
    shuffled = DataLoader(TensorDataset(*tensors), shuffle=True)
    with pytest.raises(ValueError, match="d.py:x: its batches come in another order .* shuffle=False"):
        as_data("d.py:x", shuffled)
    with pytest.raises(ValueError, match="d.py:x must be a carrysave Dataset, .* got generator"):
        as_data("d.py:x", (batch for batch in batches))  # could be read only once
    with pytest.raises(ValueError, match="must be a torch.nn.Module or a function that returns one, got int"):
        as_model("m.py:x", 3)
    with pytest.raises(ValueError, match=r"m.py:x\(\) failed: ZeroDivisionError"):
        as_model("m.py:x", lambda: 1 // 0)
    assert not as_model("m.py:x", nn.Dropout).training


def test_exploring_from_python(
    model: nn.Module, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    calibration = cs.calibrate(model, data, samples=60, seed=0)
    first_only = Recipe([Rule("0", Arithmetic.natural("truncated:c=6"))])
    results = explore(
        model,
        calibration,
        ["exact", "truncated:c=6"],
        data=data,
        recipes={"first only": first_only},
        effort="quick",
        store=tmp_path / "s.sqlite",
    )
    assert [row.name for row in results.rows] == ["float", "exact", "truncated:c=6", "first only"]
    for name in ("exact", "truncated:c=6"):
        # the row says what the parts say by themselves
        alone = cs.evaluate(cs.emulate(model, calibration, multiplier=name), data)
        accuracy = results.row(name).accuracy
        assert (accuracy.correct, accuracy.total) == (alone.correct, alone.total)
        assert (accuracy.low, accuracy.high) == alone.interval
    row = results.row("first only")
    assert [plan.layer for plan in row.plans] == ["0"]
    assert "3" in dict(row.left)
    assert row.cost is None  # the other layer needs a multiplier, too
    approximate = results.row("truncated:c=6").cost
    assert results.exact.cost is not None and approximate is not None
    power, own = results.row("truncated:c=6").power, results.row("truncated:c=6").own_power
    assert power is not None and own is not None and row.power is None
    assert power.area_um2 == pytest.approx(approximate.area_um2)  # 1 GHz is slow enough for the smallest
    assert own.energy_fj > power.energy_fj  # independent operands toggle half of their bits, not a tenth
    assert 0 < own.standard_error_uw < 0.05 * own.total_uw and not own.notes
    assert approximate.area_um2 < results.exact.cost.area_um2
    layers = {layer.name: layer for layer in results.layers}
    assert (layers["0"].macs, layers["3"].macs) == (4 * 4 * 3 * 9, 48 * 4)
    for layer in layers.values():
        assert sum(layer.activation) == pytest.approx(1) and sum(layer.weight) == pytest.approx(1)
    assert results.pareto("area_um2", "accuracy").save(tmp_path / "r.html").stat().st_size > 1_000_000


def test_what_cannot_be_explored(model: nn.Module, data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="calibration is needed with a model of your own"):
        explore(model, None, ["exact"], data=data, store=tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match="trained on a named data set"):
        explore("lenet", None, ["exact"], data=data, store=tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match="unknown network 'lennet' .did you mean 'lenet'"):
        explore("lennet", None, ["exact"], data="digits", store=tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match="did you mean 'drum'"):
        explore(model, data, ["drumm"], data=data, store=tmp_path / "s.sqlite")


def test_operands_enter_a_multiplier_as_bit_patterns(model: nn.Module, data: Dataset) -> None:
    calibration = cs.calibrate(model, data, samples=60, seed=0)

    def of(arithmetic: Arithmetic) -> tuple[np.ndarray, np.ndarray]:
        toggled, own = powers.activities(arithmetic.parts[0], [arithmetic], calibration)
        assert own is not None and (toggled.label, own.label) == ("input toggle rate 0.1", "this network's operands")
        return own.after["a"].to_ints(), own.after["b"].to_ints()

    # an unsigned multiplier between signs and magnitudes gets magnitudes
    a, b = of(Arithmetic("sign_magnitude:bits=8", "sign_magnitude:bits=8", "kulkarni"))
    assert a.max() <= 127 and b.max() <= 127
    # a signed one gets two's complement: the images are positive, the weights are not
    a, b = of(Arithmetic.natural("exact:signed=true"))
    assert (a < 128).all() and (b >= 128).any() and (b < 128).any()
    # wider than any histogram: the same values, encoded finer
    coarse = of(Arithmetic("fixed:bits=8,fraction=6", "fixed:bits=8,fraction=6", "exact:signed=true"))
    fine = of(Arithmetic("fixed:bits=24,fraction=22", "fixed:bits=24,fraction=22", "exact:n=24,signed=true"))
    for narrow, wide in zip(coarse, fine, strict=True):
        low, high = (values.astype(np.int64) for values in (narrow, wide))
        low, high = np.where(low >= 1 << 7, low - (1 << 8), low), np.where(high >= 1 << 23, high - (1 << 24), high)
        assert high.mean() / (1 << 16) == pytest.approx(low.mean(), abs=1.0)
        assert high.std() / (1 << 16) == pytest.approx(low.std(), rel=0.1)
    assert powers.activities(MULTIPLIERS.parse("exact"), [], calibration)[1] is None


def test_a_trial_of_power_is_known_by_vectors_load_clock_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from carrysave.hardware import kept_energy
    from carrysave.hardware.activity import toggling

    def key(clock: float = 1.0, **how: Any) -> str:
        return trial_key("power", powers.inputs(toggling({"a": 8, "b": 8}, **how), clock))

    keys = [key(), key(clock=2.0), key(rate=0.2), key(seed=1), key(count=100)]
    assert key() == keys[0] and len(set(keys)) == len(keys)
    monkeypatch.setattr(kept_energy, "MODEL", "another")
    assert key() not in keys


class PartlyFloat(nn.Module):
    """A recurrent layer and a product of its own, which stay float, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.norm, self.fc = nn.LSTM(6, 6, batch_first=True), nn.BatchNorm1d(6), nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.lstm(x[:, 0])[0].mT)
        return self.fc(torch.einsum("nij,nij->nij", x, x).flatten(1))


def test_no_saving_is_claimed_where_layers_that_multiply_stay_float(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    results = explore(
        PartlyFloat(), data, ["truncated:c=6"], data=data, effort="quick", samples=60, store=tmp_path / "s.sqlite"
    )
    for row in results.rows[1:]:
        assert [name for name, _ in row.stays_float] == ["lstm", "einsum0"]  # batch norm has no array of multipliers
        assert {"norm", "lstm"} <= set(dict(row.left))
        assert row.cost is None and row.energy_nj is None and results.saving_percent(row, "area_um2") is None
    said = tables.conclusion(results)
    assert said.startswith(
        "No saving can be claimed for PartlyFloat: 2 layers that multiply stay float (lstm, einsum0)"
    )
    remarks = tables.remarks(results)
    assert len(remarks) == 2 and remarks[0].startswith("lstm stays float: a LSTM cannot be emulated")
    assert said in results.save(tmp_path / "r.html").read_text()
    console = Console(width=200, file=io.StringIO(), record=True)
    print_results(results, console)
    assert "lstm stays float" in (text := console.export_text()) and "No saving can be claimed" in text


class OwnLinear(nn.Linear):
    pass


def test_a_network_of_which_nothing_can_be_emulated_is_refused(data: Dataset, tmp_path: Path) -> None:
    def message(*layers: nn.Module) -> str:
        with pytest.raises(ValueError, match="no layer can be emulated, so there is nothing to compare") as caught:
            explore(nn.Sequential(nn.Flatten(), *layers), data, ["exact"], data=data, store=tmp_path / "s.sqlite")
        return str(caught.value)

    assert "2: a Conv1d cannot be emulated" in message(nn.Unflatten(1, (1, 36)), nn.Conv1d(1, 1, 3), nn.Flatten())
    assert "calibration saw no layer that multiplies" in message()
    assert "1: OwnLinear is a subclass, whose forward may differ" in message(OwnLinear(36, 4))


def test_layers_that_recipes_name_in_vain_are_said_at_once(model: nn.Module, data: Dataset, tmp_path: Path) -> None:
    def recipe(*layers: str) -> Recipe:
        return Recipe([Rule(layer, Arithmetic.natural("exact")) for layer in layers])

    seen: list[str] = []
    with pytest.raises(ValueError) as caught:
        explore(
            model,
            data,
            ["exact"],
            data=data,
            recipes={"one": recipe("0", "conv9", "Conv2d"), "two": recipe("fc*", "4")},
            store=tmp_path / "s.sqlite",
            progress=lambda event: seen.append(event.stage),
        )
    lines = str(caught.value).splitlines()
    assert [line.strip() for line in lines] == [
        "recipe 'one': no layer is called 'conv9'",
        "recipe 'two': no layer is called '4'",
        "layers, by name or by class: 0, 3",
    ]
    assert "accuracy" not in seen


def test_a_multiplier_without_a_circuit_has_a_row_without_cost(
    model: nn.Module, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    products = np.multiply.outer(np.arange(512), np.arange(512))
    np.save(tmp_path / "wide.npy", products)
    wide = f"table:{tmp_path / 'wide.npy'}"

    def results() -> Results:
        return explore(model, data, ["exact", wide], data=data, effort="quick", store=tmp_path / "s.sqlite")

    row = results().row(wide)
    assert row.cost is None and row.power is None and row.uniform is not None
    assert row.accuracy.total == 120 and [spec for spec, _ in row.uncosted] == [wide]
    assert "is emulated only" in row.uncosted[0][1]
    assert tables.remarks(results())[0].startswith(f"{wide} has no cost: ")
    record, _ = describe(wide, [], "quick")
    assert record["cost"] is None and "is emulated only" in record["cost_note"]
    assert record["errors"]["worst_case"] == 0 and record["plan"]["rank"] == 1
    console = Console(width=1000, file=io.StringIO(), record=True)
    print_multiplier(record, None, console)
    assert "No cost" in (text := console.export_text()) and "is emulated only" in text and "rank 1" in text
    gc.collect()  # Amaranth warns of unused modules when they are collected; warnings are errors here


def test_a_multiplier_whose_synthesis_fails_does_not_end_the_others(
    model: nn.Module, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carrysave.hardware.tools import SynthesisError

    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    timed_cost = records.timed_cost

    def fails(m: Any, *rest: Any) -> Any:
        if m.name == "kulkarni":
            raise SynthesisError("ABC: no result after 600 s")
        return timed_cost(m, *rest)

    monkeypatch.setattr(records, "timed_cost", fails)
    results = explore(
        model, data, ["truncated:c=6", "kulkarni"], data=data, effort="quick", store=tmp_path / "s.sqlite"
    )
    assert results.row("kulkarni").uncosted == (("kulkarni", "ABC: no result after 600 s"),)
    assert results.row("truncated:c=6").cost is not None
    assert tables.conclusion(results).startswith("truncated:c=6 ")
