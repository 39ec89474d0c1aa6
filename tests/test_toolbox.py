"""`carrysave run`: an ONNX file on data, under several multipliers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import carrysave as cs
from carrysave.cli import app
from carrysave.onnx_import import load
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.samples import Samples, load_samples, read_npz
from carrysave.toolbox import run
from onnx_models import exported, node, random, written

CLASSES = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 3, 3), nn.Linear(48, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).flatten(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: nn.Module) -> Path:
    """net.onnx, and samples with labels that float has right, but for every fifth."""
    place = tmp_path_factory.mktemp("toolbox")
    exported(place / "net.onnx", model, random(2, 1, 6, 6))
    x = random(60, 1, 6, 6, seed=1)
    with torch.no_grad():
        labels = model(x).argmax(1)
    labels[::5] = (labels[::5] + 1) % CLASSES
    np.savez(place / "data.npz", x=x.numpy(), y=labels.numpy())
    np.savez(place / "plain.npz", x=x.numpy())
    return place


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["run", *arguments])


def refused(*arguments: str) -> str:
    result = command(*arguments)
    assert result.exit_code == 2 and result.stdout == "", result.output
    return result.stderr


def test_accuracy_and_deviation_are_those_of_the_torch_path(folder: Path, model: nn.Module) -> None:
    data = read_npz(folder / "data.npz")
    assert data.labels is not None
    found = run(folder / "net.onnx", data, ["drum:k=4", "exact", "kulkarni"], samples=40, seed=3)
    assert [row.name for row in found.rows] == ["float", "exact", "drum:k=4", "kulkarni"]
    assert found.notes == ("calibrated on the test data: no calibration data were given",)
    dataset = cs.data.Dataset(data.x, data.labels, "d")
    calibration = cs.calibrate(model, dataset.subset(40, 3), samples=40)
    plain, rows = model(data.x).detach().double(), {row.name: row for row in found.rows}
    assert rows["float"].accuracy is not None and rows["float"].accuracy.correct == 48
    assert rows["float"].deviation is None and rows["float"].against_exact is None
    right = {}
    for spec in ("exact", "kulkarni", "drum:k=4"):
        outputs = cs.emulate(model, calibration, multiplier=spec)(data.x).detach().double()
        row, off = rows[spec], (outputs - plain).abs()
        assert row.accuracy is not None and row.deviation is not None
        right[spec] = (outputs.argmax(1) == data.labels).numpy()
        assert row.accuracy.correct == right[spec].sum() and row.accuracy.total == 60
        wilson = cs.evaluate(cs.emulate(model, calibration, multiplier=spec), dataset)
        assert (row.accuracy.low, row.accuracy.high) == wilson.interval
        assert row.deviation.mean == float(off.mean()) and row.deviation.largest == float(off.max())
        assert row.deviation.relative == pytest.approx(float(off.norm() / plain.norm()))
        assert row.deviation.same_answer == pytest.approx(
            100 * float((outputs.argmax(1) == plain.argmax(1)).double().mean())
        )
        assert [(plan.layer, plan.kind) for plan in row.plans] == [("/conv/Conv", "Conv2d"), ("/fc/Gemm", "Linear")]
    paired = rows["kulkarni"].against_exact
    assert paired is not None and right["kulkarni"].sum() < 60
    assert paired.gained == (right["kulkarni"] & ~right["exact"]).sum()
    assert paired.lost == (~right["kulkarni"] & right["exact"]).sum()


def test_without_labels_and_with_some(folder: Path) -> None:
    plain = read_npz(folder / "plain.npz")
    found = run(folder / "net.onnx", plain, ["kulkarni"], calibration=Samples("c", random(30, 1, 6, 6)))
    assert found.counted is None and found.notes == ()
    assert all(row.accuracy is None for row in found.rows) and all(row.deviation for row in found.rows[1:])
    labels = read_npz(folder / "data.npz").labels
    assert labels is not None
    some = torch.where(torch.arange(60) < 20, labels, -1)
    found = run(folder / "net.onnx", Samples("some", plain.x, some), ["kulkarni"])
    assert found.counted == 20 and found.rows[0].accuracy is not None
    assert (found.rows[0].accuracy.correct, found.rows[0].accuracy.total) == (16, 20)


def test_a_table_of_approxflow_is_its_multiplier(folder: Path, tmp_path: Path) -> None:
    """256 lines of 256 decimal integers, line = activation, column = weight: what HEAM's toolbox reads."""
    table = cs.table(cs.multiplier("compressed:heam"))  # asymmetric, so that rows and columns cannot be confused
    (tmp_path / "lut.txt").write_text("\n".join(" ".join(map(str, row)) for row in table.tolist()))
    data = read_npz(folder / "data.npz")
    spec = f"table:{tmp_path / 'lut.txt'}"
    found = run(folder / "net.onnx", data, [spec, "compressed:heam"])
    mine, theirs = (row for row in found.rows if row.kind == "multiplier")
    assert mine.name == spec and (mine.accuracy, mine.deviation) == (theirs.accuracy, theirs.deviation)
    np.savetxt(tmp_path / "turned.csv", table.T, fmt="%d", delimiter=",")
    turned = run(folder / "net.onnx", data, [f"table:{tmp_path / 'turned.csv'}"]).rows[-1]
    assert turned.deviation != mine.deviation


def test_a_fixed_batch_and_rows(folder: Path, model: nn.Module, tmp_path: Path) -> None:
    """A graph that always takes four samples gets four at a time; one that takes rows gets images as rows."""
    weights = random(36, CLASSES).numpy()
    nodes = [node("MatMul", ["x", "w"], name="fc")]
    data = read_npz(folder / "data.npz")
    found = {}
    for batch in ("n", 4):
        file = written(tmp_path / "rows.onnx", nodes, {"x": [batch, 36]}, stored={"w": weights})
        found[batch] = run(file, data, ["kulkarni"], samples=60)
        assert "samples of shape (1, 6, 6) are given as rows of 36" in found[batch].notes
    assert [r.deviation for r in found[4].rows] == [r.deviation for r in found["n"].rows]
    with pytest.raises(
        ValueError, match="always takes 4 samples, and data.npz has 58, no multiple of it; cut the data"
    ):
        run(tmp_path / "rows.onnx", data.first(58), ["kulkarni"])


def test_recipes_name_layers_by_nodes(folder: Path) -> None:
    data = read_npz(folder / "data.npz")
    recipe = Recipe([Rule("/conv/Conv", Arithmetic(multiplier="kulkarni"))])
    row = run(folder / "net.onnx", data, [], recipes={"conv only": recipe}).rows[-1]
    assert [plan.layer for plan in row.plans] == ["/conv/Conv"] and row.left == (("/fc/Gemm", "no rule matches"),)
    wrong = Recipe([Rule("/conv/Cnv", Arithmetic())])
    with pytest.raises(ValueError, match=r"recipe 'r': no layer is called '/conv/Cnv' \(did you mean '/conv/Conv'\?\)"):
        run(folder / "net.onnx", data, [], recipes={"r": wrong})


def test_graphs_and_labels_that_do_not_serve(folder: Path, tmp_path: Path) -> None:
    data = read_npz(folder / "data.npz")
    nothing = written(tmp_path / "n.onnx", [node("Relu", ["x"])], {"x": ["n", 1, 6, 6]})
    with pytest.raises(ValueError, match=r"n\.onnx: no layer can be emulated, so there is nothing to compare"):
        run(nothing, data, ["kulkarni"])
    two = written(tmp_path / "two.onnx", [node("MatMul", ["x", "z"])], {"x": ["n", 3], "z": [3, "m"]})
    with pytest.raises(ValueError, match="feeds one input and judges one output; the graph has 2 inputs"):
        run(two, data, ["kulkarni"])
    scores = written(tmp_path / "s.onnx", [node("MatMul", ["x", "w"])], {"x": ["n", 1, 6, 6]},
                     stored={"w": np.ones((6, 2), np.float32)})  # fmt: skip
    with pytest.raises(ValueError, match=r"accuracy needs outputs of shape \(60, classes\), got \(60, 1, 6, 2\)"):
        run(scores, data, ["kulkarni"])
    assert run(scores, read_npz(folder / "plain.npz"), ["kulkarni"]).rows[-1].deviation is not None
    assert data.labels is not None
    with pytest.raises(ValueError, match="label 9, but the outputs have 4 classes; labels start at 0"):
        run(folder / "net.onnx", Samples("d", data.x, torch.where(data.labels == 0, 9, data.labels)), ["kulkarni"])
    with pytest.raises(ValueError, match="the graph takes 'x' of shape"):
        run(folder / "net.onnx", Samples("d", random(4, 3, 6, 6)), ["kulkarni"])


def test_samples_of_files(folder: Path, tmp_path: Path) -> None:
    x = np.zeros((3, 2), np.float32)
    for arrays, words in (
        ({"z": x}, "it has no array x; it has z"),
        ({"x": x, "y": np.zeros(2, np.int64)}, r"\(2,\) labels for samples of shape \(3, 2\)"),
        ({"x": x, "y": np.zeros(3)}, "y is 1-dimensional float64; expected one whole number for each sample"),
        ({"x": np.array(["a"])}, "x holds <U1; expected numbers"),
        ({"x": np.array([None])}, "not a file of samples"),
        ({"x": np.full_like(x, np.nan)}, "a sample holds a NaN or infinity"),
        ({"x": x[:0]}, "no samples"),
    ):
        np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=words):
            read_npz(tmp_path / "d.npz")
    (tmp_path / "d.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match="d.npz: not a file of samples"):
        read_npz(tmp_path / "d.npz")
    with pytest.raises(ValueError, match=r"unknown data set 'digts' \(did you mean 'digits'\?\).*samples\.npz"):
        load_samples("digts")
    (tmp_path / "mine.py").write_text(
        "import torch\ntest = torch.ones(4, 3)\ntrain = [(torch.ones(2, 3), torch.ones(2).long())]\n"
    )
    training, test = load_samples(f"{tmp_path / 'mine.py'}:test")
    assert training is not None and training.x.shape == (2, 3) and test.labels is None and len(test) == 4
    training, test = load_samples("digits")
    assert training is not None and (len(training), len(test)) == (1000, 797)


def test_the_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "recipes.toml").write_text(
        '[[recipes]]\nname = "conv only"\nrules = [{layers = "*Conv", multiplier = "kulkarni"}]\n'
    )
    result = command("--multiplier", "exact", "kulkarni", "net.onnx", "--data", "data.npz", "--recipe", "recipes.toml")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "data.npz, 60 samples, 60 with labels; output y" in lines
    head = next(line for line in lines if "Arithmetic" in line)
    assert "Accuracy %" in head and "95 % interval" in head and "Difference %" in head
    assert any(line.split()[:2] == ["float", "80.00"] for line in lines)
    assert "stays float  /fc/Gemm: no rule matches (conv only)" in lines
    assert any(line.startswith("kulkarni  2 layers emulated; factored: /conv/Conv, /fc/Gemm") for line in lines)
    result = command("net.onnx", "--data", "plain.npz", "--multiplier", "kulkarni", "--json", "--test-samples", "20")
    record = json.loads(result.stdout)
    assert record["samples"] == 20 and [row["name"] for row in record["rows"]] == ["float", "exact", "kulkarni"]
    assert record["rows"][2]["plans"][0]["layer"] == "/conv/Conv" and record["rows"][2]["accuracy"] is None
    assert "Accuracy" not in command("net.onnx", "--data", "plain.npz", "--multiplier", "kulkarni").stdout


def test_the_command_says_what_is_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert "Add --multiplier: carrysave run net.onnx --data data.npz --multiplier" in refused(
        "net.onnx", "--data", "data.npz"
    )
    assert "unknown multiplier 'kulkarn'" in refused("net.onnx", "--data", "data.npz", "--multiplier", "kulkarn")
    assert "absent.onnx" in refused("absent.onnx", "--data", "data.npz", "--multiplier", "kulkarni")
    (folder / "bad.onnx").write_bytes(b"\x00" * 10)
    assert "bad.onnx: not an ONNX file, or damaged" in refused(
        "bad.onnx", "--data", "data.npz", "--multiplier", "exact"
    )
    text = refused("net.onnx", "--data", "data.npz", "--multiplier", "exact", "--output", "z")
    assert "no output is called 'z'; it has y" in text
    assert load("net.onnx").outputs == ("y",)
