"""HEAM's Table II and the transfer table: the paper's figures, the order against ours, and both on small networks."""

from __future__ import annotations

import pytest
import torch

from carrysave.calibration import calibrate
from carrysave.data import Dataset
from carrysave.errors import measure
from carrysave.evaluation import Accuracy, evaluate
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.networks import LeNet
from carrysave.recipes import Arithmetic
from carrysave.reproductions import heam_table2, heam_transfer
from carrysave.reproductions.base import Setting
from carrysave.reproductions.heam_designed import DESIGNED, ForNetwork
from carrysave.reproductions.heam_designs import DESIGNS
from carrysave.reproductions.heam_networks import (
    ALEXNET,
    ALL_NODES,
    LENET_FASHION,
    QUESTIONS,
    Accuracies,
    Subject,
    error_of,
)

OURS = "compressed:heam"
OURS_MADE = ForNetwork(MULTIPLIERS.parse(OURS), 12.3, 12.0, 12.5)


def subject(title: str, *tests: str) -> Subject:
    """An untrained LeNet on random images."""
    torch.manual_seed(len(title))
    model = LeNet(size=16).eval()
    images = torch.rand(24, 1, 16, 16)
    data = Dataset(images, torch.arange(24) % 10, title)
    return Subject(title, model, calibrate(model, images), dict.fromkeys(tests, data))


class Counted:
    """In place of `Accuracies`: figures that tell which trial they come from, without computing anything."""

    def __init__(self, setting: Setting, total: int) -> None:
        self.left = total

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *error: object) -> None:
        assert error[0] is not None or self.left == 0, "the number of trials, of which progress tells, is wrong"

    def of(self, subject: Subject, test: str, m: Multiplier | None) -> Accuracy:
        assert test in subject.tests
        self.left -= 1
        return Accuracy(9000 + sum(map(ord, test + ("float" if m is None else m.spec))) % 1000, 10000)


@pytest.fixture
def small(monkeypatch):
    """Both tables with small networks, a design that needs no search, and accuracies that need no network."""

    def several(questions, setting):
        return [
            subject(f"{q.network_title}, {q.data_title}", q.data_title, *([ALL_NODES] if q.network == "gcn" else []))
            for q in questions
        ]

    for module in (heam_table2, heam_transfer):
        monkeypatch.setattr(module, "subjects", several)
        monkeypatch.setattr(module, "Accuracies", Counted)
        monkeypatch.setattr(module, "designed_for", lambda of, setting, aim: OURS_MADE)
    monkeypatch.setattr(heam_table2, "subject", lambda question, setting: several([question], setting)[0])


def test_the_papers_margins():
    """Section III-B: HEAM above KMap by 9.35, 50.24 and 0.66 points; OU (L.3) better than KMap on CIFAR-10."""
    names = [design.name for design in DESIGNS]
    margins = {}
    for test, figures in heam_table2.PAPER.items():
        by_name = dict(zip(names, figures, strict=True))
        margins[test] = by_name["HEAM"] - by_name["KMap"]
        assert max((n for n in names if n not in ("HEAM", "Exact", "Wallace")), key=by_name.__getitem__) == (
            "OU (L.3)" if test == ALEXNET.data_title else "KMap"
        )
    assert list(margins.values()) == pytest.approx([9.35, 50.24, 0.66])


def test_the_papers_cora_figures_are_counts_of_all_nodes():
    """What the row of all nodes stands on: each is a whole number of 2,708, and one of 1,000 would end in a zero."""
    for percent in heam_table2.PAPER[ALL_NODES]:
        digits = 1 if percent == 76.4 else 2
        assert any(round(100 * k / 2708, digits) == percent for k in range(2709)), percent
    assert any(round(1000 * percent) % 100 for percent in heam_table2.PAPER[ALL_NODES])


def test_an_order_is_turned_round_beyond_the_intervals_only():
    def figures(heam: int, kmap: int) -> dict[str, Accuracy]:
        return {d.name: Accuracy({"HEAM": heam, "KMap": kmap}.get(d.name, 5000), 10000) for d in DESIGNS}

    test = LENET_FASHION.data_title
    assert ("HEAM", "KMap") not in heam_table2._turned(test, figures(8950, 9000))
    assert ("HEAM", "KMap") in heam_table2._turned(test, figures(8800, 9000))
    assert "KMap before HEAM" in heam_table2._order(test, figures(8800, 9000))


def test_table_2_on_small_networks(small):
    made = heam_table2.heam_table2(Setting())
    assert [row[0] for row in made.rows] == [*(d.name for d in DESIGNS), DESIGNED]
    assert made.columns[:3] == ("design", "Fashion-MNIST %", "paper") and len(set(made.columns)) == len(made.columns)
    heam, designed = made.rows[0], made.rows[-1]
    assert heam[2] == "91.01" and designed[2] is None and heam[1] == designed[1]  # the same multiplier here
    text = made.markdown("carrysave reproduce heam-table2")
    assert "| HEAM |" in text and "CIFAR-10 (JPEG q75) %" in text and "LeNet on MNIST" in text


def test_transfer_on_small_networks(small):
    made = heam_transfer.heam_transfer(Setting())
    assert len(made.rows) == len(QUESTIONS) * (len(QUESTIONS) + 2)
    for row in made.rows:
        assert len(row) == len(made.columns)
        if row[0] == "exact":
            assert row[1] is None and row[3] == 0.0 and row[5] == row[8] == "0.00"
        else:
            assert row[4] == "1.00" and row[9] == "0.00"  # all are one multiplier here
    assert all(check.met for check in made.checks)


def test_the_errors_of_a_network():
    of = subject("LeNet, noise", "noise")
    found = error_of(of, m := MULTIPLIERS.parse(OURS))
    square = mean = total = 0.0
    for layer in of.calibration.layers:
        operands = of.calibration.operands(layer, Arithmetic.natural(OURS))
        metrics = measure(m, operands=(operands.activation, operands.weight))
        macs = of.calibration[layer].macs
        square, mean, total = square + macs * metrics.rms_error**2, mean + macs * metrics.mean_error, total + macs
    assert (found.square, found.mean) == pytest.approx((square / total, mean / total))


def test_accuracies_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    of = subject("LeNet, noise", "noise")
    m = MULTIPLIERS.parse("exact")
    kept = []
    setting = Setting(progress=lambda event: kept.append(event.kept))
    for _ in range(2):
        with Accuracies(setting, 2) as accuracies:
            assert accuracies.of(of, "noise", None) == evaluate(of.model, of.tests["noise"])
            first = accuracies.of(of, "noise", m)
    assert kept == [False, False, False, False, True, True] and first.total == 24
