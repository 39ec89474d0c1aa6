"""Fit the prices that the HEAM search uses: synthesise designs drawn from its own fronts, and solve for what a feature
costs. Takes some minutes; writes src/carrysave/methods/heam/coefficients.json.

    python tools/fit_heam_prices.py [DESIGNS] [SEED]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from carrysave.hardware.cells import compact_library
from carrysave.hardware.synthesis import synthesize_many
from carrysave.methods.heam import prices, search
from carrysave.methods.heam.distribution import uniform
from carrysave.methods.heam.problem import Space, build
from carrysave.multipliers.compressed import Compressed, Design
from carrysave.paths import write_atomically

TARGET = Path(prices.__file__).parent / "coefficients.json"


def sample(count: int, seed: int) -> list[Design]:
    """Designs of 8 bits, of every side, of two to six compressed rows, from few terms to many."""
    random = np.random.default_rng(seed)
    spaces = [Space(operand=side, rows=rows, largest=size) for side in "xy" for rows in range(2, 7) for size in (2, 3)]
    found: list[Design] = []
    for space in spaces:
        problem = build(space, uniform(8), 1.0)
        front = search.front(problem, problem.constant * np.geomspace(1e-4, 0.3, 32), rounds=1, steps=1500, seed=seed)
        drawn = random.choice(len(front.found), min(-(-count // len(spaces)), len(front.found)), replace=False)
        found += [problem.design(front.found[k].theta) for k in drawn]
    return list(dict.fromkeys(found))[:count]


def main() -> None:
    count, seed = (int(text) for text in (*sys.argv[1:], *("120", "0")[len(sys.argv) - 1 :]))
    designs = sample(count, seed)
    found = synthesize_many(
        [Compressed.of(design) for design in designs],
        effort="quick",
        progress=lambda done, total, name: print(f"\r{done} of {total} scripts", end="", file=sys.stderr),
    )
    source = (
        f"{compact_library().source}; Yosys and ABC, effort quick; smallest area and shortest delay of {len(designs)}"
        f" designs; made by python tools/fit_heam_prices.py {count} {seed}"
    )
    areas, delays = ([getattr(s, which) for s in found] for which in ("smallest", "fastest"))
    fit = prices.fit(designs, np.array([m.area_um2 for m in areas]), np.array([m.delay_ps for m in delays]), source)
    write_atomically(TARGET, fit.json.encode())
    print(f"\n{fit.json}{TARGET}")


if __name__ == "__main__":
    main()
