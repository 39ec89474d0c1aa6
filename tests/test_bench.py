"""The benchmark checks before it times, counts what it times, and compares within one run."""

from __future__ import annotations

import io
import json

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

import carrysave as cs
from carrysave import bench, networks
from carrysave.bench.cases import CASES, ENTRIES, chosen
from carrysave.bench.memory import measurable
from carrysave.cli import app
from carrysave.engines import plan as planning
from carrysave.engines.problem import Prepared
from carrysave.engines.table import TABLE
from carrysave.report import benchmark

TINY = bench.Case("tiny", 1, 8, 6, 4, 3, groups=2)
SOME = [bench.Entry.of(spec) for spec in ("exact", "kulkarni", "recovery:c=6")]


def test_macs_of_a_case():
    assert TINY.macs == 6 * 6 * 4 * (8 // 2) * 3 * 3


def test_a_row_per_multiplier_after_torch():
    measured = bench.measure([TINY], SOME, repeats=1)
    rows = [row for row in measured if row.engine != "torch int8"]  # there where oneDNN's is exact
    assert [(r.entry, r.engine) for r in rows] == [
        ("-", "torch float32"), ("exact", "exact"), ("kulkarni", "factored"), ("recovery:c=6", "table")
    ]  # fmt: skip
    assert rows[0].against_float32 == 1
    for row in rows[1:]:
        assert row.gmac_per_s == pytest.approx(rows[0].gmac_per_s * row.against_float32)
    assert [row.digits for row in rows] == [None, 1, 2, None]


def test_every_engine_is_compared_before_it_is_timed():
    assert bench.check(SOME) == len(SOME)


def test_a_wrong_engine_stops_the_benchmark(monkeypatch):
    class Wrong:
        name = "table"

        def refuses(self, problem):
            return None

        def prepare(self, problem):
            right = TABLE.prepare(problem)

            def call(codes: torch.Tensor) -> torch.Tensor:
                return right(codes) + 1

            return Prepared(call)

    monkeypatch.setitem(planning.ENGINES, "table", Wrong())
    with pytest.raises(AssertionError, match="recovery:c=6: engine table differs from the reference"):
        bench.check(SOME)


def test_macs_of_the_networks_are_those_that_calibration_counts():
    for network, build in zip(
        bench.NETWORKS, (networks.resnet20, networks.resnet18, networks.mobilenet_v2), strict=True
    ):
        assert isinstance(network, bench.Network) and network.build is build
        size = network.size if build is not networks.mobilenet_v2 else 32
        calibration = cs.calibrate(build().eval(), torch.rand(1, 3, size, size))
        scale = 1 if size == network.size else (network.size // size) ** 2
        convolutions = sum(macs for name, macs in calibration.macs.items() if calibration[name].kind == "Conv2d")
        others = sum(calibration.macs.values()) - convolutions
        assert convolutions * scale + others == network.macs // network.batch


def test_names_choose_by_their_beginning_and_a_wrong_one_is_named():
    assert chosen(CASES, [], "case") == CASES
    assert [e.name for e in chosen(ENTRIES, ["compressed", "drum"], "multiplier")] == [
        "drum:k=6", "compressed:heam", "compressed:heam, sign and magnitude"
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"begins with 'kulkani' \(did you mean 'kulkarni'\?\)"):
        chosen(ENTRIES, ["kulkani"], "multiplier")


@pytest.mark.skipif(not measurable(), reason="/proc/self/clear_refs cannot be written here")
def test_peak_memory_is_at_least_what_the_weights_and_activations_take():
    case = next(c for c in CASES if c.name == "GEMM 512")
    (memory,) = bench.peak_memory(case, (bench.Entry.of("exact"),))
    assert memory.float32_bytes > 3 * 512 * 512 * 4  # weights, input, output
    assert memory.peak_bytes > 3 * 512 * 512 * 4
    assert memory.against_float32 == memory.peak_bytes / memory.float32_bytes


def test_the_picture_and_the_table_have_every_row():
    rows = list(bench.measure([TINY], SOME, repeats=1))
    axis = benchmark.speed_figure(rows).axes[0]
    assert sorted(bar.get_width() for bar in axis.patches) == sorted(r.against_float32 for r in rows[1:])  # type: ignore[attr-defined]
    console = Console(width=120, record=True, file=io.StringIO())
    benchmark.print_benchmark(rows, [bench.Memory("tiny", "kulkarni", 3, 2)], 3, console)
    line = next(x for x in console.export_text().splitlines() if x.strip().startswith("kulkarni"))
    assert line.split()[-1] == "1.50"


def test_the_command_prints_json_and_refuses_wrong_names(tmp_path):
    picture = tmp_path / "speed.png"
    options = ["bench", "--case", "GEMM 512", "--multiplier", "kulkarni", "--threads", "1", "--repeats", "1"]
    done = CliRunner().invoke(app, [*options, "--no-memory", "--json", "--picture", str(picture)])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert [row["entry"] for row in record["speed"]] == ["-", "kulkarni"] and record["memory"] == []
    assert picture.read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(app, ["bench", "--case", "GEMM 521"])
    assert wrong.exit_code != 0 and "did you mean 'GEMM 512'" in wrong.output
    jpeg = CliRunner().invoke(app, ["bench", "--case", "GEMM", "--picture", "a.jpg"])
    assert jpeg.exit_code != 0 and ".png or .svg" in jpeg.output
