"""The command line, as a person meets it: what it prints, what it writes, and how it answers to what cannot be."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from carrysave import __version__
from carrysave.cli import app, spread
from carrysave.registry import SpecError

COMMAND = [sys.executable, "-c", "from carrysave.cli import main; main()"]

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

STUDY = """
title = "A study of its own"
network = "my_net.py:model"
data = "my_data.py:test"
multipliers = ["kulkarni", "truncated:c=6"]
[calibration]
samples = 64
[costs]
effort = "quick"
[[recipes]]
name = "first layer exact"
rules = [{layers = "0", multiplier = "exact"}, {layers = "*", multiplier = "kulkarni"}]
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for this file: a multiplier is synthesised once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network, data and a study, as the current one."""
    for name, text in (("my_net.py", NETWORK), ("my_data.py", DATA), ("study.toml", STUDY)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARRYSAVE_CACHE", str(cache))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def error(*arguments: str) -> str:
    """The one message of a command that must be refused."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]  # without progress
    assert lines[0].startswith("carrysave: ")
    return "\n".join(lines)


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = "torch numpy matplotlib plotly amaranth pydantic sklearn scipy".split()
    for option in ("--help", "--version"):
        code = (
            "import sys\nfrom carrysave.cli import app\n"
            f"try: app(['{option}'])\nexcept SystemExit: pass\n"
            f"print([name for name in {heavy} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
        assert ("explore" if option == "--help" else f"carrysave {__version__}") in done.stdout


def test_version_names_the_tools() -> None:
    lines = dict(line.split(": ") for line in run("--version").output.splitlines()[1:])
    assert set(lines) == {"native module", "torch", "yosys"}
    assert lines["native module"].startswith(("yes", "no"))


def test_several_values_after_one_option() -> None:
    assert spread(["--multiplier", "exact", "drum:k=6", "--report", "r.html", "x"]) == [
        "--multiplier", "exact", "--multiplier", "drum:k=6", "--report", "r.html", "x",
    ]  # fmt: skip
    assert spread(["net.py:m", "--multiplier", "exact"]) == ["net.py:m", "--multiplier", "exact"]
    assert spread(["--liberty", "a", "b", "study.toml"]) == ["--liberty", "a", "--liberty", "b", "study.toml"]
    assert spread(["--multiplier=exact", "study.toml"]) == ["--multiplier=exact", "study.toml"]


def test_list_has_every_multiplier_with_a_description() -> None:
    from carrysave.multipliers import MULTIPLIERS

    entries = json.loads(run("list", "--json").output)
    assert [entry["name"] for entry in entries] == MULTIPLIERS.names()
    assert all(len(entry["description"]) > 10 for entry in entries)
    text = run("list").output
    assert all(name in text for name in MULTIPLIERS.names())


def test_table_is_rows_of_the_first_operand(here: Path) -> None:
    assert run("table", "truncated:c=6", "-o", "t.npy").exit_code == 0
    table = np.load(here / "t.npy", allow_pickle=False)
    assert (table.dtype, table.shape) == (np.int32, (256, 256))
    x, y = 77, 201
    kept = sum(1 << (i + j) for i in range(8) for j in range(8) if x >> i & 1 and y >> j & 1 and i + j >= 6)
    assert table[x, y] == kept
    assert run("table", "or_compressed", "-o", "o.npy").exit_code == 0
    asymmetric = np.load(here / "o.npy", allow_pickle=False)
    assert (asymmetric != asymmetric.T).any()


def test_tables_that_cannot_be(here: Path) -> None:
    assert "a table of 16 x 16 bits is too large; tables go to 12 bits" in error("table", "exact:n=16", "-o", "t.npy")
    assert "unknown multiplier 'kulkarnii' (did you mean 'kulkarni'?)" in error("table", "kulkarnii", "-o", "t.npy")
    assert "no parameter 'l'" in error("table", "drum:l=6", "-o", "t.npy")
    assert "name ending in .npy" in error("table", "exact", "-o", "t.csv")
    assert "is not a folder that can be written" in error("table", "exact", "-o", str(here / "my_net.py" / "t.npy"))
    (here / "folder.npy").mkdir()
    assert "folder.npy is a folder" in error("table", "exact", "-o", "folder.npy")
    assert sorted(path.name for path in here.iterdir()) == ["folder.npy", "my_data.py", "my_net.py", "study.toml"]


def test_verilog_is_a_module(here: Path) -> None:
    assert run("verilog", "drum:k=6", "-o", "d.v", "--name", "my_drum").exit_code == 0
    text = (here / "d.v").read_text()
    assert "module my_drum(" in text and text.rstrip().endswith("endmodule")
    assert run("verilog", "drum:k=6", "--name", "my_drum").output == text + "\n"
    assert "unknown unit or multiplier 'drun' (did you mean 'drum'?)" in error("verilog", "drun")


def test_show_as_json_and_as_text(here: Path) -> None:
    result = run("show", "kulkarni", "--json", "--effort", "quick", "--map", "m.png")
    record = json.loads(result.stdout)
    assert record["errors"]["mean_error"] == -903.125  # MULTIPLIERS.md
    assert record["errors"]["worst_case"] == 14450
    assert record["plan"]["rank"] == 2
    areas = [point["area_um2"] for point in record["cost"]["pareto"]]
    delays = [point["delay_ps"] for point in record["cost"]["pareto"]]
    assert areas == sorted(areas) and delays == sorted(delays, reverse=True)
    assert (here / "m.png").read_bytes().startswith(b"\x89PNG")
    text = run("show", "kulkarni", "--effort", "quick").stdout
    assert "-903.125" in text and "14,450" in text and "rank 2" in text


def test_show_refuses_what_cannot_be(here: Path) -> None:
    assert "(did you mean 'mitchell'" in error("show", "mitchel")
    assert "--effort fast: it is quick or normal" in error("show", "exact", "--effort", "fast")
    assert "nothere.lib" in error("show", "exact", "--liberty", "nothere.lib")
    assert "a name ending in .png" in error("show", "kulkarni", "--effort", "quick", "--map", "m.gif")


def test_show_has_paths_power_and_parts(here: Path) -> None:
    record = json.loads(run("show", "kulkarni", "--json", "--effort", "quick").stdout)
    power, paths = record["power"], record["critical_paths"]
    assert power["activity"] == "input toggle rate 0.1" and power["frequency_ghz"] == 1.0
    assert power["total_uw"] == pytest.approx(power["switching_uw"] + power["internal_uw"] + power["leakage_uw"])
    assert sum(power["parts"]["area_um2"].values()) == pytest.approx(power["area_um2"])
    dynamic = (power["switching_uw"] + power["internal_uw"]) / power["frequency_ghz"]
    assert sum(power["parts"]["energy_fj"].values()) == pytest.approx(dynamic)
    assert paths["fastest"]["delay_ps"] == pytest.approx(record["cost"]["pareto"][-1]["delay_ps"], rel=0.02)
    assert paths["smallest"]["delay_ps"] == pytest.approx(record["cost"]["pareto"][0]["delay_ps"], rel=0.02)
    text = run("show", "kulkarni", "--effort", "quick").stdout
    for words in (
        "µW at 1 GHz, input toggle rate 0.1",
        "Critical path, fastest",
        "terms (partial products)",
        "load out",
    ):
        assert words in text
    assert f"{100 * power['parts']['matched']:.0f} % of the gates recognised" in text


def test_synth_has_a_row_for_each_clock(here: Path) -> None:
    np.savez(here / "h.npz", a=np.ones(16), b=np.arange(16.0))
    arguments = ["synth", "exact:n=4", "kulkarni:n=4", "--frequency", "1GHz,2.5GHz,90GHz", "--effort", "quick"]
    result = run(*arguments, "--operands", "h.npz", "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    rows = record["rows"]
    assert [(row["spec"], row["frequency_ghz"], row["met"]) for row in rows] == [
        (spec, clock, clock < 90) for spec in ("exact:n=4", "kulkarni:n=4") for clock in (1.0, 2.5, 90.0)
    ]
    assert record["activities"] == ["input toggle rate 0.1", "operands of h.npz"]
    for row in rows:
        assert set(row["power"]) == (set(record["activities"]) if row["met"] else set())
        if row["met"]:
            assert row["delay_ps"] <= 1000 / row["frequency_ghz"]
            assert all(
                p["energy_fj"] * row["frequency_ghz"] == pytest.approx(p["total_uw"]) for p in row["power"].values()
            )
    assert rows[1]["area_um2"] >= rows[0]["area_um2"] > rows[3]["area_um2"]
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {line["stage"] for line in lines} == {"synthesis", "clock"} and lines[-1]["done"] == lines[-1]["total"] == 6
    again = run(*arguments, "--operands", "h.npz", "--json")
    assert json.loads(again.stdout) == record
    text = run(*arguments).stdout
    missed = [line.split() for line in text.splitlines() if line.split()[:1] == ["90"]]
    assert [line[:4] for line in missed] == [["90", "not", "met", "≥"]] * 2 and "input toggle rate 0.1" in text
    for row in (rows[2], rows[5]):
        assert f"no circuit meets 90 GHz (11.11 ps): the fastest found takes {row['fastest_ps']:.1f} ps" in text


def test_synth_under_the_operands_of_a_calibration(here: Path) -> None:
    import torch

    import carrysave as cs

    scope: dict[str, Any] = {}
    exec(NETWORK, scope)
    cs.calibrate(scope["model"](), torch.rand(20, 1, 6, 6), samples=20).save(here / "c.npz")
    arguments = ["synth", "kulkarni", "exact:signed=true", "--frequency", "1GHz", "--effort", "quick", "--json"]
    rows = json.loads(run(*arguments, "--operands", "c.npz").stdout)["rows"]
    assert all(row["power"]["operands of c.npz"]["total_uw"] > 0 for row in rows)


def test_synth_refuses_what_cannot_be(here: Path) -> None:
    assert "frequency '2': expected a positive number with a unit" in error("synth", "exact", "--frequency", "2")
    assert "(did you mean 'exact'?)" in error("synth", "exakt", "--frequency", "1GHz")
    assert "--effort fast: it is quick or normal" in error("synth", "exact", "--frequency", "1GHz", "--effort", "fast")
    rest = ["synth", "exact:n=4", "--frequency", "1GHz", "--effort", "quick", "--operands"]
    assert "nothere.npz: No such file" in error(*rest, "nothere.npz")
    assert "--operands my_net.py: not an .npz file" in error(*rest, "my_net.py")
    np.savez(here / "x.npz", c=np.ones(3))
    assert "expected a calibration, or arrays a and b" in error(*rest, "x.npz")
    np.savez(here / "x.npz", a=np.ones(16), b=np.ones(8))
    assert "operands of b have shape (8,), expected (16,)" in error(*rest, "x.npz")
    np.savez(here / "x.npz", a=np.ones(16), b=np.zeros(16))
    assert "negative, non-finite or only zero entries" in error(*rest, "x.npz")
    network = [
        "explore",
        "my_net.py:model",
        "--data",
        "my_data.py:test",
        "--store",
        "s.sqlite",
        "--multiplier",
        "exact",
    ]
    assert "an exploration has one clock, not 2" in error(*network, "--frequency", "1GHz,2GHz")
    (here / "clock.toml").write_text(STUDY.replace('"quick"', '"quick"\nfrequency_ghz = 0'))
    assert "costs.frequency_ghz: input should be greater than 0, got 0" in error("explore", "clock.toml")


def test_the_clock_of_an_exploration(here: Path) -> None:
    """Twice the clock: twice the power, the same energy but for leakage; a clock too fast leaves no figure."""
    arguments = ["my_net.py:model", "--data", "my_data.py:test", "--store", "clock.sqlite", "--effort", "quick"]
    rows = {}
    for clock in ("0.5GHz", "1GHz", "90GHz"):
        found = results_of(*arguments, "--multiplier", "exact", "kulkarni", "--frequency", clock)
        assert found["frequency_ghz"] == float(clock[:-3])
        rows[clock] = {row["name"]: row for row in found["rows"]}["kulkarni"]
    slow, fast = rows["0.5GHz"], rows["1GHz"]
    assert slow["power"]["activity"] == "input toggle rate 0.1"
    assert slow["own_power"]["activity"] == "this network's operands"
    assert fast["power"]["switching_uw"] == pytest.approx(2 * slow["power"]["switching_uw"])
    assert fast["figures"]["energy_fj"] == pytest.approx(slow["figures"]["energy_fj"], rel=0.01)
    macs = 4 * 4 * 4 * 9 + 64 * 3
    assert fast["macs"] == macs
    assert fast["figures"]["energy_nj"] == pytest.approx(fast["figures"]["energy_fj"] * macs * 1e-6)
    assert rows["90GHz"]["power"] is None and rows["90GHz"]["figures"]["energy_nj"] is None
    assert rows["90GHz"]["figures"]["area_um2"] == fast["figures"]["area_um2"]


def test_debug_shows_the_traceback() -> None:
    result = run("--debug", "table", "kulkarnii", "-o", "t.npy")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "SpecError"


def test_what_a_person_can_put_right_is_told_from_a_defect() -> None:
    from carrysave.cli import _is_for_the_user
    from carrysave.hardware.netlist import MismatchError
    from carrysave.hardware.tools import ToolTimeout
    from carrysave.training import TrainingError

    for error_ in (SpecError("x"), OSError("x"), NotImplementedError("x"), OverflowError("x"), ToolTimeout("x")):
        assert _is_for_the_user(error_)
    assert _is_for_the_user(TrainingError("x")) and _is_for_the_user(MismatchError("x"))
    for error_ in (KeyError("x"), TypeError("x"), AssertionError("x"), RuntimeError("x"), IndexError("x")):
        assert not _is_for_the_user(error_)


def results_of(*arguments: str) -> dict[str, Any]:
    result = run("explore", *arguments, "--json")
    assert result.exit_code == 0, result.output + result.stderr
    return json.loads(result.stdout)


def test_a_study_from_end_to_end_and_again_for_nothing(here: Path) -> None:
    first = results_of("study.toml", "--store", "s.sqlite", "--report", "out/r.html", "--figures", "figures")
    names = ["float", "exact", "kulkarni", "truncated:c=6", "first layer exact"]
    assert [row["name"] for row in first["rows"]] == names
    assert first["title"] == "A study of its own"
    assert not any(ran["kept"] for ran in first["ran"])
    assert (here / "out" / "r.html").read_text().startswith("<!doctype html>")
    assert (here / "figures" / "pareto_area.png").is_file()
    rows = {row["name"]: row for row in first["rows"]}
    assert rows["kulkarni"]["uniform"]["mean_error"] == -903.125
    assert rows["first layer exact"]["multipliers"] == ["exact", "kulkarni"]
    assert [plan["multiplier"] for plan in rows["first layer exact"]["plans"]] == ["exact", "kulkarni"]
    assert rows["first layer exact"]["figures"]["area_um2"] is None
    exact, approximate = rows["exact"]["figures"]["area_um2"], rows["truncated:c=6"]["figures"]["area_um2"]
    assert rows["truncated:c=6"]["area_saving_percent"] == pytest.approx(100 * (1 - approximate / exact))
    assert rows["kulkarni"]["accuracy"]["total"] == 90
    paired = rows["kulkarni"]["against_exact"]
    difference = rows["kulkarni"]["accuracy"]["correct"] - rows["exact"]["accuracy"]["correct"]
    assert paired["gained"] - paired["lost"] == difference

    second = results_of("study.toml", "--store", "s.sqlite")
    assert all(ran["kept"] for ran in second["ran"])
    assert second["rows"] == first["rows"]


def test_a_network_on_the_command_line_shares_the_trials(here: Path) -> None:
    results_of("study.toml", "--store", "s.sqlite")
    arguments = ["my_net.py:model", "--data", "my_data.py:test", "--store", "s.sqlite", "--effort", "quick"]
    found = results_of(*arguments, "--multiplier", "exact", "truncated:c=6")
    assert [row["name"] for row in found["rows"]] == ["float", "exact", "truncated:c=6"]
    # another number of calibration samples: only what does not depend on it is kept
    kept = {(ran["kind"], ran["name"]) for ran in found["ran"] if ran["kept"]}
    assert kept == {
        ("accuracy", "float"),
        *((kind, name) for kind in ("errors", "cost", "power") for name in ("exact", "truncated:c=6")),
    }


def test_text_for_a_person(here: Path) -> None:
    result = run("explore", "study.toml", "--store", "s.sqlite")
    assert result.exit_code == 0
    for words in ("A study of its own", "truncated:c=6", "95 % interval", "Of 3 approximate candidates"):
        assert words in result.stdout
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    assert {line["event"] for line in lines} == {"start", "trial"}
    assert {line["stage"] for line in lines} == {"network", "calibration", "accuracy", "errors", "cost", "power"}
    last = {line["stage"]: line for line in lines}
    assert all(line["done"] == line["total"] for line in last.values())


def test_explorations_that_cannot_be(here: Path) -> None:
    (here / "wrong.toml").write_text('network = "lenet"\ndata = "digits"\nmultipliers = ["exakt"]\nsede = 1\n')
    message = error("explore", "wrong.toml")
    assert "line 3: multipliers[1]: unknown multiplier 'exakt' (did you mean 'exact'?)" in message
    assert "line 4: sede: unknown key (did you mean 'seed'?)" in message
    assert "nothere.toml: No such file" in error("explore", "nothere.toml")
    assert "for a network add --data and --multiplier" in error("explore", "my_net.py:model")
    assert "--seed: the study file study.toml says this" in error("explore", "study.toml", "--seed", "1")
    assert "name ending in .html" in error("explore", "study.toml", "--report", "r.pdf")
    assert "is not a folder that can be written" in error("explore", "study.toml", "--report", "my_net.py/r.html")
    assert "my_net.py is no store of trials" in error("explore", "study.toml", "--store", "my_net.py")
    network = ["explore", "my_net.py:model", "--data", "my_data.py:test", "--store", "s.sqlite", "--multiplier"]
    assert "did you mean 'drum'" in error(*network, "drumm:k=6")


def test_files_of_a_user_that_are_wrong(here: Path) -> None:
    rest = ["--data", "my_data.py:test", "--store", "s.sqlite", "--multiplier", "exact"]
    assert "no file nothere.py" in error("explore", "nothere.py:model", *rest)
    assert "my_net.py has no object 'modle' (did you mean 'model'?)" in error("explore", "my_net.py:modle", *rest)
    assert "must be a torch.nn.Module" in error("explore", "my_data.py:train", *rest)
    (here / "broken.py").write_text("import nothing_like_this\n")
    message = error("explore", "broken.py:model", *rest)
    assert "broken.py failed to run: ModuleNotFoundError: No module named 'nothing_like_this'" in message
    (here / "nan.py").write_text(NETWORK + "broken = model()\nbroken[3].weight.data[0, 0] = float('nan')\n")
    message = error("explore", "nan.py:broken", *rest)
    assert "nan" in message.lower() and "3" in message


EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_the_examples_network_and_data(here: Path) -> None:
    """The README's command for a network of one's own."""
    network, data = f"{EXAMPLES / 'my_net.py'}:model", f"{EXAMPLES / 'my_data.py'}:test"
    arguments = [network, "--data", data, "--effort", "quick", "--store", "s.sqlite", "--report", "r.html"]
    found = results_of(*arguments, "--multiplier", "exact", "kulkarni")
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["float"]["accuracy"]["total"] == 597 and rows["float"]["accuracy"]["percent"] > 90
    assert [plan["layer"] for plan in rows["kulkarni"]["plans"]] == ["conv1", "conv2", "fc"]
    assert rows["kulkarni"]["stays_float"] == [] and rows["kulkarni"]["area_saving_percent"] > 0
    assert ("note", "calibrated on the test images") not in [tuple(source) for source in found["sources"]]
    assert (here / "r.html").is_file()
    again = results_of(*arguments, "--multiplier", "exact", "kulkarni")
    assert all(ran["kept"] for ran in again["ran"])  # the training is seeded


def test_a_changed_forward_makes_new_trials(here: Path) -> None:
    text = NETWORK.replace(
        "def model():", "class Net(nn.Sequential):\n    def forward(self, x):\n        return super()"
    )
    text = text.replace("return super()", "return super().forward(x)\n\ndef model():").replace(
        "return nn.Sequential(", "return Net("
    )
    arguments = ["my_net.py:model", "--data", "my_data.py:test", "--store", "s.sqlite", "--effort", "quick"]
    arguments += ["--multiplier", "exact"]
    before = text
    (here / "my_net.py").write_text(before)
    first = results_of(*arguments)
    assert all(ran["kept"] for ran in results_of(*arguments)["ran"])
    (here / "my_net.py").write_text(before.replace("forward(x)\n\n", "forward(1 - x)\n\n"))
    second = results_of(*arguments)
    kept = {(ran["kind"], ran["kept"]) for ran in second["ran"]}
    assert ("accuracy", False) in kept and ("accuracy", True) not in kept and ("calibration", False) in kept
    assert ("cost", True) in kept
    assert first["rows"][0]["accuracy"] != second["rows"][0]["accuracy"]


def test_what_a_users_model_and_data_do_wrong(here: Path) -> None:
    rest = ["--store", "s.sqlite", "--multiplier", "exact"]
    large = DATA.replace("1, 6, 6", "1, 9, 9")
    for name, text, words in (
        ("large", large, "failed on images of shape (64, 1, 9, 9), float32: RuntimeError: mat1 and mat2"),
        (
            "bare",
            DATA + "test = [test[0]]\n",
            "batch 0 must be (images, labels), two tensors, got Tensor (90, 1, 6, 6)",
        ),
        ("classes", DATA + "test[1][7] = 3\n", "image 7 has label 3, but Sequential has 3 classes"),
    ):
        (here / f"{name}.py").write_text(text)
        assert words in error("explore", "my_net.py:model", "--data", f"{name}.py:test", *rest)
    for change, words in (
        (".double()", "the weights are float64; images are float32, so use model.float()"),
        (", nn.LSTM(3, 3)", "must return one tensor (N, classes), it returned a tuple of Tensor, tuple"),
    ):
        text = NETWORK.replace("nn.Linear(64, 3))", f"nn.Linear(64, 3){change if change[0] == ',' else ''})")
        (here / "net2.py").write_text(text.rstrip() + (change if change[0] == "." else "") + "\n")
        assert words in error("explore", "net2.py:model", "--data", "my_data.py:test", *rest)


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "CARRYSAVE_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}


def hear_interrupts() -> None:
    """In a child: a job that a shell put into the background hands its deafness to SIGINT down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kept_trials(store: Path) -> dict[str, tuple[str, bytes]]:
    database = sqlite3.connect(store)
    rows = database.execute("select key, made, payload from trials").fetchall()
    database.close()
    return {key: (made, payload) for key, made, payload in rows}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_study_goes_on_where_it_was(here: Path, tmp_path: Path, how: signal.Signals) -> None:
    own = environment(tmp_path / "cache")
    command = [*COMMAND, "explore", "study.toml", "--store", "s.sqlite", "--json"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=own, preexec_fn=hear_interrupts
    )
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("stage") == "accuracy" and event["done"] == 3:
            break
    process.send_signal(how)
    rest = process.stderr.read()
    process.stderr.close()
    code = process.wait(timeout=120)
    if how == signal.SIGINT:
        assert code == 130
        assert "carrysave: stopped. Finished trials of this run: " in rest
        assert "kept in s.sqlite" in rest and "the same command goes on from there" in rest
    before = kept_trials(here / "s.sqlite")
    assert len(before) >= 4  # calibration and three accuracies

    done = subprocess.run(command, capture_output=True, text=True, env=own, timeout=300)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)["ran"]
    assert sum(trial["kept"] for trial in ran) == len(before)
    after = kept_trials(here / "s.sqlite")
    assert {key: after[key] for key in before} == before
    assert len(after) == len(ran)
