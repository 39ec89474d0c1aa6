"""`carrysave design`, as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import carrysave as cs
from carrysave.cli import app

NETWORK = """
import torch
from torch import nn

def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
"""

DATA = """
import torch

def split(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(90, 1, 6, 6, generator=generator), torch.randint(0, 3, (90,), generator=generator)

train, test = split(0), split(1)
"""

OWN = ("design", "heam", "--network", "my_net.py:model", "--data", "my_data.py:test", "--bits", "4")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and data, as the current one, and a short search."""
    for name, text in (("my_net.py", NETWORK), ("my_data.py", DATA)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARRYSAVE_CACHE", str(cache))
    monkeypatch.setattr("carrysave.methods.heam.designing.STEPS", 200)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_designs_for_a_network_of_ones_own(here: Path) -> None:
    asked = ("--finalists", "2", "--rows", "2", "-o", "r.json", "-o", "r.png", "--save", "made", "--accuracy", "all")
    result = run(*OWN, *asked)
    assert result.exit_code == 0, result.output
    assert "Multipliers of the HEAM form for my_net.py:model on my_data.py:test" in result.stdout
    assert "design 1 *" in result.stdout and "all 2 layers by their multiply-accumulates" in result.stdout
    assert (here / "r.png").read_bytes()[:4] == b"\x89PNG"
    record = json.loads((here / "r.json").read_text())
    front = [row for row in record["multipliers"] if row["on_front"] and row["name"] != "exact"]
    assert front and all(row["samples"] == 90 for row in front)
    for row in front:
        number = row["name"].split()[1]
        saved = cs.multiplier(f"compressed:made/design-{number}.json")
        assert saved.key == cs.multiplier(row["spec"]).key and saved.design.rows == 2


def test_one_layer_with_json_and_a_target(here: Path) -> None:
    result = run(*OWN, "--layer", "3", "--max-error", "40", "--finalists", "2", "--json", "--accuracy", "none")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["operands"].startswith("layer 3")
    made = [row for row in record["multipliers"] if row["name"].startswith("design")]
    assert made and all(row["expected_squared_error"] <= 40 and row["samples"] is None for row in made)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("design", "haem", *OWN[2:]), "unknown method 'haem' (did you mean 'heam'?); known: heam"),
        ((*OWN, "--layer", "conv1"), "no layer 'conv1'; layers: 0, 3"),
        (
            (*OWN, "--max-error", "-1"),
            "no design has an expected squared error of -1 or less; the least that was found",
        ),
        ((*OWN, "--max-area", "-1", "--finalists", "1"), "no design has an area of -1 um2 or less; there are"),
        ((*OWN, "-o", "r.html"), "-o r.html: give it a name ending in .png, .svg, .pdf, .md, .json"),
        ((*OWN, "--effort", "high"), "--effort high: it is quick or normal"),
        ((*OWN, "--accuracy", "some"), "--accuracy some: it is best, all, none"),
        ((*OWN, "--frequency", "1GHz,2GHz"), "--frequency 1GHz,2GHz: circuits meet one clock"),
        ((*OWN, "--side", "z"), "operand='z': it is 'x', the activation, or 'y', the weight"),
        ((*OWN, "--rows", "5"), "rows=5: 1 to 4 rows of 4-bit operands"),
        ((*OWN, "--samples", "1"), "samples=1: at least 2 pairs"),
        (("design", "heam", "--network", "lenot", "--data", "my_data.py:test"), "unknown network 'lenot'"),
        (("design", "heam", "--network", "lenet", "--data", "minst"), "minst"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(here: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr and "Traceback" not in result.stderr
