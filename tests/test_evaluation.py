"""Accuracy, intervals and paired tests against published figures and scipy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from carrysave.data import Dataset
from carrysave.evaluation import Accuracy, Comparison, compare, evaluate


class Echo(nn.Module):
    """Takes (N, 1, 1, C) and gives its pixels as logits."""

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return x_NCHW[:, 0, 0]


def echo_data(rows: list[list[float]], labels: list[int]) -> Dataset:
    return Dataset(torch.tensor(rows, dtype=torch.float32).view(len(rows), 1, 1, -1), torch.tensor(labels), "echo")


def test_counts_predictions_and_labels():
    data = echo_data([[1, 0, 0], [0, 2, 0], [0, 0, 3], [9, 0, 1]], [0, 1, 1, 2])
    accuracy = evaluate(Echo(), data, batch=3)
    assert accuracy == Accuracy(2, 4) and accuracy.percent == 50
    assert accuracy.predictions is not None and accuracy.labels is not None
    assert accuracy.predictions.tolist() == [0, 1, 2, 0] and accuracy.labels.tolist() == [0, 1, 1, 2]
    assert evaluate(Echo(), list(data.batches(2))) == accuracy


@pytest.mark.parametrize("correct", [0, 1, 81, 263, 9912, 10000])
def test_the_wilson_interval_is_scipys(correct):
    from scipy.stats import binomtest

    total = 10000 if correct > 263 else 263
    expected = binomtest(correct, total).proportion_ci(0.95, "wilson")
    assert Accuracy(correct, total).interval == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_newcombes_published_interval():
    """R. G. Newcombe, Statistics in Medicine 17 (1998), Table I, method 3: 81 of 263 gives 0.2553 to 0.3662."""
    low, high = Accuracy(81, 263).interval
    assert (round(low, 2), round(high, 2)) == (25.53, 36.62)


def test_an_accuracy_reads_with_its_interval():
    assert str(Accuracy(9912, 10000)) == "99.12 % (98.92-99.29)"
    with pytest.raises(ValueError, match="5 correct of 4: expected 0 <= correct <= total > 0"):
        Accuracy(5, 4)


def test_a_comparison_counts_pairs():
    labels = np.zeros(6, np.int64)
    first = Accuracy(4, 6, np.array([0, 0, 0, 0, 1, 1]), labels)
    second = Accuracy(2, 6, np.array([0, 1, 1, 1, 0, 1]), labels)
    assert compare(first, second) == Comparison(both=1, only_first=3, only_second=1, neither=1)
    assert compare(first, second).difference == pytest.approx(first.percent - second.percent)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (3, 3), (2, 9), (12, 30), (100, 40)])
def test_the_p_value_is_the_sum_of_the_coin_tosses(b, c):
    n = b + c
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    expected = min(Fraction(1), Fraction(2 * tail, 2**n))
    assert Comparison(5, b, c, 5).p_value == pytest.approx(float(expected))


def test_a_comparison_needs_the_same_images():
    labels = np.array([0, 1])
    known, other = Accuracy(1, 2, np.array([0, 0]), labels), Accuracy(1, 2, np.array([0, 0]), labels[::-1])
    with pytest.raises(ValueError, match="the second accuracy holds no predictions"):
        compare(known, Accuracy(1, 2))
    with pytest.raises(ValueError, match="needs the same images in the same order"):
        compare(known, other)


def test_evaluation_leaves_the_mode_and_uses_the_evaluation_one():
    model = nn.Sequential(Echo(), nn.Dropout(1.0)).train()
    assert evaluate(model, echo_data([[0, 1], [0, 1]], [1, 1])) == Accuracy(2, 2)
    assert model.training and model[1].training


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_output_that_is_no_number_names_image_and_layer(value):
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        linear.weight[1, 0] = value
    model = nn.Sequential(Echo(), linear, nn.ReLU())
    data = echo_data([[0.0, 1.0]] * 3 + [[1.0, 1.0]], [0, 0, 0, 0])
    with pytest.raises(ValueError) as caught:
        evaluate(model, data, batch=2)
    image = 3 if value == math.inf else 0
    text = str(caught.value)
    assert "layer '1' gave one first, for its weight holds NaN or infinity" in text
    assert f"output {value} for image {image}" in text or "output nan for image 0" in text
    assert model.training


def test_outputs_of_another_shape_and_empty_data_are_errors():
    with pytest.raises(ValueError, match=r"expected outputs of shape \(1, classes\), got \(1, 1, 1, 2\)"):
        evaluate(nn.Identity(), echo_data([[0, 1]], [1]))
    with pytest.raises(ValueError, match="the data gave no batch"):
        evaluate(Echo(), [])
