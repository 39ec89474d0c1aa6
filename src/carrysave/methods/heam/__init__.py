"""HEAM: Zheng, Li and others, "HEAM: high-efficiency approximate multiplier optimization for deep neural networks"
(ISCAS 2022). Multipliers designed from the operands of a network.

`distribution` holds the operands (equation 3), `problem` equation 5 as a quadratic in binary variables, `search` and
`genetic` minimise it, `proof` certifies it, `prices` tells what a term costs in gates, `exploring` searches all spaces,
and `designing` synthesises the best. Where it goes beyond the paper: which operand's rows are compressed and how many
is searched and not given, groups are any bits of a column, a term's price is its area and not a count, and expectations
are exact where the paper samples.
"""

from carrysave.methods.heam.designing import Designed, Designs, design, designs
from carrysave.methods.heam.distribution import distribution_of
from carrysave.methods.heam.problem import Space, build
from carrysave.methods.heam.search import front, minimise

__all__ = ["Designed", "Designs", "Space", "build", "design", "designs", "distribution_of", "front", "minimise"]
