"""From a network's operands to synthesised multipliers: the search, its finalists through the flow, and what is best.

calibration = cs.calibrate(model, train)
m = cs.methods.heam.design(calibration)              # one multiplier, to use wherever a multiplier is named
found = cs.methods.heam.designs(calibration)         # the Pareto set with its figures, beside HEAM and exact
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from carrysave.methods.heam.distribution import Distribution, distribution_of
from carrysave.methods.heam.exploring import Searched, explore, spaces_of
from carrysave.methods.heam.figures import Designed, Progress, best, marked, measured, meets, silent
from carrysave.methods.heam.finalists import around, near, spread, usual_error
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.multipliers.compressed import Compressed
from carrysave.recipes import Arithmetic

if TYPE_CHECKING:
    from carrysave.hardware.library import Library
    from carrysave.methods.heam.exploring import Predicted

FINALISTS = 8
STEPS = 3000  # of the annealing in each space
_TRIED = 4  # finalists synthesised for one design
_FREE_BITS = 8  # operands; up to here all rows are searched at once, too: wider, that takes minutes


@dataclass(frozen=True)
class Designs:
    """What was designed, smallest first, beside the published instance (8 bits) and exact.

    Attributes:
        rows: every multiplier that was synthesised.
        operands, cells: where the figures come from.
        mean_weight: of the squared mean error in what was minimised.
        searched: the search's own front, with predicted areas.
        interrupted: the search or the synthesis was stopped, and these are the best so far.
    """

    rows: tuple[Designed, ...]
    operands: str
    cells: str
    frequency_ghz: float
    searched: Searched
    interrupted: bool
    mean_weight: float = 0.0

    @property
    def pareto(self) -> tuple[Designed, ...]:
        return tuple(row for row in self.rows if row.on_front)

    @property
    def published(self) -> Designed | None:
        return next((row for row in self.rows if row.label == "HEAM"), None)

    @property
    def better(self) -> tuple[Designed, ...]:
        """Designs that beat the published instance in expected error, the mean weighted as asked, and in area."""
        old = self.published
        return tuple(
            row
            for row in self.rows
            if row.label == "design"
            and old is not None
            and row.area_um2 is not None
            and old.area_um2 is not None
            and row.weighted < old.weighted
            and row.area_um2 < old.area_um2
        )

    def best(self, max_error: float | None = None, max_area_um2: float | None = None) -> Designed:
        """The smallest with at most this expected error; without one, the most precise within the area.

        Raises:
            ValueError: where none meets what is asked, with the nearest.
        """
        return best(self.rows, max_error, max_area_um2)


def design(
    source: Any,
    *,
    arithmetic: Arithmetic | None = None,
    layer: str | None = None,
    max_error: float | None = None,
    max_area_um2: float | None = None,
    mean_weight: float = 0.0,
    library: Library | None = None,
    effort: str = "quick",
    frequency_ghz: float = 1.0,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Compressed:
    """One multiplier of the HEAM form for a network's operands: an ordinary one, with a spec that can be written down.

    Args:
        source: a Calibration, Operands (one layer's or a sequence), or a joint histogram [2^n, 2^n].
        arithmetic: of a calibration: the formats whose codes are multiplied, and by its multiplier the width n and
            whether it is signed. Default: 8-bit affine.
        layer: this layer's operands alone; by default all layers', each by its multiply-accumulates.
        max_error: largest expected squared error, equation 3. By default that of the published 8x8 instance under
            the same operands (at other widths 1 % of the root mean squared product, squared).
        max_area_um2: the smallest error within this area, in place of the smallest area within an error.
        mean_weight: what is minimised, and limited by `max_error`, is E[e^2] + mean_weight E[e]^2, the second within
            each layer. 0 is the paper's equation 5. A sum of K products has an error of K (E[e^2] + (K - 1) E[e]^2)
            in the mean square, for variances add up as K and means as K^2: where sums are long, a weight up to K - 1
            keeps more accuracy than equation 5 does (docs/results/heam-design.md).
        library, effort: of the synthesis that decides between the finalists; the compact library, "quick".
        frequency_ghz: the clock that circuits must meet; their area is that of the smallest that does.
        samples: pairs to draw the operands from, in place of exact expectations.
        seed: of the search and of all samples: the same call gives the same multiplier.

    Raises:
        ValueError: for histograms that are none, an unknown layer, or a target that no multiplier meets.
    """
    distribution, signed = _operands(source, arithmetic, layer, samples, seed)
    if max_error is None and max_area_um2 is None:
        max_error = usual_error(distribution, mean_weight)
    searched = explore(
        distribution, spaces_of(distribution.n), mean_weight=mean_weight,
        free=distribution.n <= _FREE_BITS, steps=STEPS, seed=seed,
        progress=lambda done, total, name: progress("search", done, total, name),
    )  # fmt: skip
    chosen = near(searched, max_error, max_area_um2, _TRIED)
    rows = measured(
        [("design", Compressed(source=p.design.text, signed=signed), p) for p in chosen],
        distribution, library, effort, frequency_ghz, progress, mean_weight,
    )[0]  # fmt: skip
    found = best(rows, max_error, max_area_um2).multiplier
    assert isinstance(found, Compressed)
    return found


def designs(
    source: Any,
    *,
    arithmetic: Arithmetic | None = None,
    layer: str | None = None,
    operands: Sequence[str] = ("x", "y"),
    rows: Iterable[int] | None = None,
    largest: int = 2,
    operations: Sequence[str] = ("and", "or", "xor"),
    finalists: int = FINALISTS,
    max_error: float | None = None,
    max_area_um2: float | None = None,
    mean_weight: float = 0.0,
    library: Library | None = None,
    effort: str = "quick",
    frequency_ghz: float = 1.0,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Designs:
    """The Pareto set of expected error, area, delay and power, beside the published instance and exact.

    Args:
        source, arithmetic, layer, mean_weight, library, effort, samples, seed: as in `design`.
        operands: the sides whose rows are compressed, "x" (activation) and "y" (weight).
        rows: numbers of rows to try; by default a quarter to three quarters of them, and to 8 bits all rows together
            at the end.
        largest: bits of the largest group, 2 to 4.
        operations: on groups, of "and", "or", "xor".
        finalists: designs that are synthesised.
        max_error, max_area_um2: only designs that meet them are returned (the references always are).
        frequency_ghz: the clock that circuits must meet, and that of the power.

    Ctrl-C ends the search, and a second one the synthesis; what was found until then is returned.

    Raises:
        ValueError: as `design`.
    """
    if finalists < 1:
        raise ValueError(f"finalists={finalists}: at least 1 design is synthesised")
    distribution, signed = _operands(source, arithmetic, layer, samples, seed)
    chosen_rows = None if rows is None else list(rows)
    spaces = spaces_of(distribution.n, operands, chosen_rows, largest, operations)
    searched = explore(
        distribution, spaces, mean_weight=mean_weight,
        free=rows is None and distribution.n <= _FREE_BITS, steps=STEPS, seed=seed,
        progress=lambda done, total, name: progress("search", done, total, name),
    )  # fmt: skip
    asked = max_error is not None or max_area_um2 is not None
    picked = near(searched, max_error, max_area_um2, finalists) if asked else spread(searched, distribution, finalists)
    named: list[tuple[str, Multiplier, Predicted | None]] = [
        ("exact", MULTIPLIERS.parse(f"exact:n={distribution.n},signed={str(signed).lower()}"), None)
    ]
    if distribution.n == 8:
        published = Compressed(source="heam", signed=signed)
        named.append(("HEAM", published, None))
        beside = [] if asked else around(searched, distribution, published, mean_weight)
        picked += [p for p in beside if p not in picked]
    named += [("design", Compressed(source=p.design.text, signed=signed), p) for p in picked]
    found, stopped, cells = measured(named, distribution, library, effort, frequency_ghz, progress, mean_weight)
    kept = [row for row in found if row.label != "design" or meets(row, max_error, max_area_um2)]
    if asked and not any(row.label == "design" for row in kept):
        best(found, max_error, max_area_um2)  # raises, and names the nearest
    ordered = sorted(marked(kept), key=lambda row: (row.area_um2 is None, row.area_um2 or 0.0))
    ended = searched.interrupted or stopped
    return Designs(tuple(ordered), distribution.source, cells, frequency_ghz, searched, ended, mean_weight)


def _operands(
    source: Any, arithmetic: Arithmetic | None, layer: str | None, samples: int | None, seed: int
) -> tuple[Distribution, bool]:
    signed = bool(arithmetic is not None and arithmetic.parts[0].signed)
    return distribution_of(source, arithmetic, layer, samples, seed), signed
