"""A multiplier designed for one network, moved to another: what it loses there, for all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from carrysave.evaluation import Accuracy
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.reproductions.heam_designed import LONG_SUMS, PUBLISHED, designed_for
from carrysave.reproductions.heam_networks import (
    QUESTIONS,
    SAMPLES,
    Accuracies,
    Error,
    Subject,
    error_of,
    subjects,
)

_PUBLISHED, _EXACT = "HEAM as published (LeNet, MNIST)", "exact"
_COLUMNS = (
    "designed for",
    "area um2",
    "used in",
    "expected error",
    "/ own design's",
    "mean error",
    "accuracy %",
    "95 % interval",
    "points below exact",
    "points below own design",
)
_NOTES = (
    "Expected error: equation 3, the mean squared error of a product under the operands of the network it is used in,"
    " each layer's as a product of marginals, layers by their multiply-accumulates, padding included. Mean error: the"
    " same with its sign. The own design is the one designed for the network in whose rows it stands.",
    "A design for another network can have the smaller error: near the limit the front between error and area has few"
    " designs, so that areas differ, and a design is what one search of a few seconds finds, not a proven optimum.",
    "The smaller expected error need not be the more accurate: what equation 3 squares has lost its sign, and errors of"
    " one sign add up over the products of a sum.",
)


@reproduction("heam-transfer", "Multipliers designed for one network and used in another: all pairs")
def heam_transfer(setting: Setting) -> Reproduction:
    """Four networks, a multiplier designed for each, the published one and exact; every one in every network."""
    tried_in = subjects(QUESTIONS, setting)
    designs = {of.title: designed_for(of, setting, LONG_SUMS) for of in tried_in}
    tried = {title: made.multiplier for title, made in designs.items()}
    tried |= {_PUBLISHED: MULTIPLIERS.parse(PUBLISHED), _EXACT: MULTIPLIERS.parse("exact")}
    errors, accuracies = _measure(tried_in, tried, setting)
    areas: dict[str, float | None] = {title: made.area_um2 for title, made in designs.items()}
    areas |= {_PUBLISHED: next(iter(designs.values())).published_um2, _EXACT: None}
    rows = tuple(
        _row(designed, areas[designed], used, errors[used], accuracies[used]) for used in errors for designed in tried
    )
    within = next(iter(designs.values())).within_um2
    conditions = (
        ("each design", f"{LONG_SUMS.how}, {within:.2f} um2"),
        *((f"designed for {title}", made.multiplier.spec) for title, made in designs.items()),
        ("arithmetic", f"all layers uint8 affine, per tensor, min-max of {SAMPLES} training samples (of all, on CORA)"),
        *((of.title, of.work) for of in tried_in),
    )
    checks = tuple(_checks(errors))
    return Reproduction(
        "heam-transfer", "HEAM: a multiplier designed for one network, used in another", "ours", _COLUMNS, rows,
        checks, _NOTES, conditions,
    )  # fmt: skip


def _measure(
    tried_in: list[Subject], tried: Mapping[str, Multiplier], setting: Setting
) -> tuple[dict[str, dict[str, Error]], dict[str, dict[str, Accuracy]]]:
    """Error and accuracy, by network and by what the multiplier was designed for."""
    errors, accuracies = {}, {}
    with Accuracies(setting, len(tried_in) * len(tried)) as trials:
        for of in tried_in:
            test = next(iter(of.tests))
            errors[of.title] = {name: error_of(of, m) for name, m in tried.items()}
            accuracies[of.title] = {name: trials.of(of, test, m) for name, m in tried.items()}
    return errors, accuracies


def _row(
    designed: str, area_um2: float | None, used: str, errors: Mapping[str, Error], figures: Mapping[str, Accuracy]
) -> tuple[Cell, ...]:
    accuracy = figures[designed]
    low, high = accuracy.interval
    return (
        designed,
        area_um2,
        used,
        errors[designed].square,
        f"{errors[designed].square / errors[used].square:.2f}",
        f"{errors[designed].mean:.2f}",
        f"{accuracy.percent:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{figures[_EXACT].percent - accuracy.percent:.2f}",
        f"{figures[used].percent - accuracy.percent:.2f}",
    )


def _checks(errors: Mapping[str, Mapping[str, Error]]) -> Iterator[Check]:
    for used, by_design in errors.items():
        others = [error.square for designed, error in by_design.items() if designed not in (used, _EXACT)]
        ours, least = by_design[used].square, min(others)
        what = f"{used}: its own design's expected error over the least of the others"
        yield Check(what, ours / least, "at most 1", ours <= least)
