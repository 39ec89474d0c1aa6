"""The benchmark checks before it times, counts what it times, and compares within one run."""

from __future__ import annotations

import pytest
import torch

import carrysave as cs
from carrysave import bench, networks
from carrysave.engines import plan as planning
from carrysave.engines.problem import Prepared
from carrysave.engines.table import TABLE

TINY = bench.Case("tiny", 1, 8, 6, 4, 3, groups=2)


def test_macs_of_a_case():
    assert TINY.macs == 6 * 6 * 4 * (8 // 2) * 3 * 3


def test_a_row_per_multiplier_after_torch():
    measured = bench.measure([TINY], ["exact", "kulkarni", "recovery:c=6"], repeats=1)
    rows = [row for row in measured if row.engine != "torch int8"]  # there where oneDNN's is exact
    assert [(r.multiplier, r.engine) for r in rows] == [
        ("-", "torch float32"), ("exact", "exact"), ("kulkarni", "factored"), ("recovery:c=6", "table")
    ]  # fmt: skip
    assert rows[0].against_float32 == 1
    for row in rows[1:]:
        assert row.gmac_per_s == pytest.approx(rows[0].gmac_per_s * row.against_float32)


def test_every_engine_is_compared_before_it_is_timed():
    assert bench.check(["exact", "drum:k=6", "recovery:c=6"]) == 3


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
        bench.check(["recovery:c=6"])


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
