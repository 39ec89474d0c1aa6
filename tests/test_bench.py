"""The benchmark checks before it times, counts what it times, and compares within one run."""

from __future__ import annotations

import pytest
import torch

from carrysave import bench
from carrysave.engines import plan as planning
from carrysave.engines.table import TABLE

TINY = bench.Case("tiny", 1, 4, 6, 4, 3, groups=2)


def test_macs_of_a_case():
    assert TINY.macs == 6 * 6 * 4 * (4 // 2) * 3 * 3


def test_a_row_per_multiplier_after_torch():
    rows = list(bench.measure([TINY], ["exact", "kulkarni", "recovery:c=6"], repeats=1))
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

            call.how = ""  # type: ignore[attr-defined]
            return call

    monkeypatch.setitem(planning.ENGINES, "table", Wrong())
    with pytest.raises(AssertionError, match="recovery:c=6: engine table differs from the reference"):
        bench.check(["recovery:c=6"])
