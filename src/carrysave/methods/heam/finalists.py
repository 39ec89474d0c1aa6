"""Which of the designs that a search found are worth a synthesis."""

from __future__ import annotations

import numpy as np

from carrysave.methods.heam import prices
from carrysave.methods.heam.distribution import Distribution, mean_square_product
from carrysave.methods.heam.exploring import Predicted, Searched
from carrysave.multipliers import MULTIPLIERS
from carrysave.multipliers.compressed import Compressed

PUBLISHED = "compressed:heam"
_RANGE = (0.002, 0.03)  # root mean squared error over that of the products: what finalists span if nothing is asked
_USUAL = 0.01  # the same, of one design, where there is no published instance to compare with


def usual_error(distribution: Distribution, mean_weight: float = 0.0) -> float:
    """What `design` allows if nothing is asked."""
    if distribution.n == 8:
        return distribution.error(MULTIPLIERS.parse(PUBLISHED)).weighted(mean_weight)
    return _USUAL**2 * mean_square_product(distribution)


def spread(searched: Searched, distribution: Distribution, count: int) -> list[Predicted]:
    """Along the front, evenly in the logarithm of the error, the smallest at each."""
    scale = mean_square_product(distribution)
    targets = scale * np.geomspace(_RANGE[0] ** 2, _RANGE[1] ** 2, count)
    found = [fitting[0] for target in targets if (fitting := searched.at_most(target))]
    return list(dict.fromkeys(found)) or list(searched.designs[-1:])


def around(
    searched: Searched, distribution: Distribution, published: Compressed, mean_weight: float = 0.0
) -> list[Predicted]:
    """What should beat the published instance: the smallest with less error, the most precise of less area."""
    error, area = distribution.error(published).weighted(mean_weight), prices.fitted().area(published.design)
    smaller = [p for p in searched.designs if p.area_um2 < 0.95 * area]
    return [*searched.at_most(0.95 * error)[:1], *smaller[-1:]]


def near(searched: Searched, max_error: float | None, max_area_um2: float | None, count: int) -> list[Predicted]:
    """The smallest that meet the error, or the most precise near the area; the prediction is off by a few percent.

    Raises ValueError where no design meets the error.
    """
    if max_error is None:
        assert max_area_um2 is not None
        margin = prices.fitted().area_rms_um2
        found = [p for p in searched.designs if p.area_um2 <= max_area_um2 + margin]
        return found[-count:] or list(searched.designs[:count])
    found = searched.at_most(max_error)
    if not found:
        least = searched.designs[-1]
        raise ValueError(
            f"no design has an expected squared error of {max_error:g} or less; the least that was found is"
            f" {least.error:.4g} ({least.area_um2:.1f} um2 predicted). Allow more, or use exact"
        )
    return found[:count]
