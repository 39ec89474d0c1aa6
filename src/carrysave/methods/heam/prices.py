"""What a term costs in gates, without synthesising it: a linear model fitted to synthesised designs.

A bit added to a column that others stand in costs about one full adder, whatever made it; a partial product an AND
gate; an operation one gate for each two bits. `coefficients.json` holds the fit with its residuals and the command
that made it, tools/fit_heam_prices.py. Prices guide the search; what is reported is synthesised.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

import numpy as np

from carrysave.methods.heam.distribution import Floats
from carrysave.methods.heam.problem import Shape
from carrysave.multipliers.compressed import Design

FEATURES = ("constant", "products", "and", "or", "xor", "adders")
_FILE = "coefficients.json"


@dataclass(frozen=True)
class Prices:
    """Area [um2] and delay [ps] per feature, in the order of FEATURES, and how well they fit.

    Attributes:
        area_rms_um2, delay_rms_ps: of the residuals over designs left out of the fit.
        designs: how many were fitted.
        source: cells and flow of the fit, and the command.
    """

    area_um2: tuple[float, ...]
    delay_ps: tuple[float, ...]
    area_rms_um2: float
    delay_rms_ps: float
    designs: int
    source: str

    def area(self, design: Design) -> float:
        """Predicted area [um2] of the smallest circuit."""
        return float(np.dot(self.area_um2, features(design)))

    def delay(self, design: Design) -> float:
        """Predicted delay [ps] of the fastest circuit."""
        return float(np.dot(self.delay_ps, features(design)))

    def of_candidates(self, candidates: tuple[tuple[Shape, int], ...]) -> Floats:
        """The price [um2] of each term alone: its adder, its gates, its partial products."""
        area: dict[str, float] = dict(zip(FEATURES, self.area_um2, strict=True))
        return np.array(
            [
                area["adders"] + area["products"] * len(shape.group) + area.get(shape.op, 0.0) * (len(shape.group) - 1)
                for shape, _ in candidates
            ]
        )

    @property
    def json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def features(design: Design) -> list[float]:
    """Counts of a design by FEATURES: 1, distinct partial products, two-input gates of each operation, and bits beyond
    the first of each column."""
    heights = [0] * (2 * design.n)
    for i in range(design.n):
        for j in range(design.n):
            if (i if design.operand == "x" else j) >= design.rows:
                heights[i + j] += 1
    kept = sum(heights)
    for term in design.terms:
        heights[term.column] += 1
    used = {bit for term in design.terms for bit in term.group}
    gates = [sum(len(t.group) - 1 for t in design.terms if t.op == op) for op in ("and", "or", "xor")]
    return [1.0, kept + len(used), *gates, sum(h - 1 for h in heights if h)]


def fit(designs: list[Design], areas_um2: Floats, delays_ps: Floats, source: str) -> Prices:
    """Least squares over synthesised designs; the residuals are those of tenfold cross-validation."""
    table = np.array([features(design) for design in designs])
    found, left = [], []
    fold = np.arange(len(designs)) % 10
    for values in (np.asarray(areas_um2), np.asarray(delays_ps)):
        found.append(tuple(float(round(v, 4)) for v in np.linalg.lstsq(table, values, rcond=None)[0]))
        rest = np.empty(len(values))
        for k in range(10):
            inside = fold != k
            others = np.linalg.lstsq(table[inside], values[inside], rcond=None)[0]
            rest[~inside] = values[~inside] - table[~inside] @ others
        left.append(round(float(np.sqrt((rest**2).mean())), 3))
    return Prices(found[0], found[1], left[0], left[1], len(designs), source)


@cache
def fitted() -> Prices:
    """The fit that ships: compact ASAP7 cells, effort quick."""
    data = json.loads(resources.files(__package__ or "").joinpath(_FILE).read_text())
    return Prices(**data | {key: tuple(data[key]) for key in ("area_um2", "delay_ps")})
