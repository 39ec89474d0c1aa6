"""A new multiplier is one file: written here into a temporary module, it has every reading and every part at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import carrysave as cs
from carrysave.errors import error_map, measure
from carrysave.multipliers import MULTIPLIERS, Multiplier, catalog
from carrysave.tables import multiply, table

SOURCE = '''
"""The product of the low halves is replaced by their OR."""

from dataclasses import dataclass

from carrysave.bits import partial_products, rows_to_columns, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Shortcut(Multiplier):
    low: int = 4
    name = "shortcut"
    catalog = {"Shortcut 3": "shortcut:low=3"}

    def product(self, a, b):
        rows = [(a[: self.low] | b[: self.low], 0)]
        rows += [(sum_columns(partial_products(a[self.low :], b)), self.low)]
        rows += [(sum_columns(partial_products(a[: self.low], b[self.low :])), self.low)]
        return sum_columns(rows_to_columns(rows), width=self.product_bits)
'''


def model(x: np.ndarray, y: np.ndarray, low: int = 4) -> np.ndarray:
    mask = (1 << low) - 1
    return x * y - (x & mask) * (y & mask) + (x & mask | y & mask)


@pytest.fixture
def shortcut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Multiplier]:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "shortcut.py"
    file.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("shortcut_of_a_test", file)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield cs.multiplier("shortcut")
    MULTIPLIERS.unregister("shortcut")


@pytest.fixture
def products() -> np.ndarray:
    return model(*np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))


def test_spec_table_and_errors(shortcut: Multiplier, products: np.ndarray) -> None:
    assert "shortcut" in MULTIPLIERS.names() and shortcut.spec == "shortcut"
    assert catalog()["shortcut:low=3"] == "Shortcut 3"
    assert (table(shortcut) == products).all()
    assert (error_map(shortcut) == products - np.outer(np.arange(256), np.arange(256))).all()
    assert measure(shortcut).mean_absolute_error == abs(error_map(shortcut)).mean()
    signed = cs.multiplier("shortcut:signed=true")
    x, y = np.array([-128, -3, 100]), np.array([127, -7, -100])
    assert (multiply(signed, x, y) == np.sign(x * y) * model(abs(x), abs(y))).all()


@pytest.mark.parametrize("n", [6, 16, 32])
def test_other_widths(shortcut: Multiplier, n: int) -> None:
    m = cs.multiplier(f"shortcut:n={n},low=3")
    x, y = np.random.default_rng(n).integers(0, 1 << n, (2, 500)).astype(object)
    found = multiply(m, x.astype(np.uint64), y.astype(np.uint64))
    assert [int(v) for v in found] == [int(v) for v in model(x, y, 3)]


def test_hardware(shortcut: Multiplier) -> None:
    from carrysave.hardware import netlist, rtl
    from carrysave.hardware.synthesis import synthesize

    assert "module" in rtl.verilog(shortcut)
    found = synthesize(shortcut, effort="quick")
    proof = netlist.verify(found.smallest.netlist, found.library, shortcut)
    assert proof.exhaustive and proof.pairs == 65536 and found.smallest.area_um2 > 0
    exact = cs.multiplier("exact")
    with pytest.raises(netlist.MismatchError):  # the proof notices a circuit that is another multiplier's
        netlist.verify(found.smallest.netlist, found.library, exact)


def test_factors_and_plan(shortcut: Multiplier, products: np.ndarray) -> None:
    from carrysave.engines import factoring
    from carrysave.engines.plan import plan

    factors = factoring.factor(table(shortcut))
    assert factors is not None and factors.proved(products) and factors.rank == factoring.rank(products) <= 6
    chosen = plan(shortcut)  # which engine is cheaper depends on what is installed
    assert chosen.engine in ("factored", "table") and chosen.multiplier_rank == factors.rank
    assert plan(shortcut, engine="factored").digits == factors.digits


def test_emulation(shortcut: Multiplier) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 5)
    )
    images = torch.rand(8, 2, 4, 4)
    calibration = cs.calibrate(net, images)
    outputs = {
        engine: cs.emulate(net, calibration, multiplier="shortcut", engine=engine)(images)
        for engine in (None, "factored", "table", "reference")
    }
    assert all(torch.equal(output, outputs["reference"]) for output in outputs.values())
    assert not torch.equal(outputs["reference"], cs.emulate(net, calibration, multiplier="exact")(images))
