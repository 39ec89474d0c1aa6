"""The ABC scripts that a design is synthesised with: how its logic is restructured, and how it is mapped onto cells.

Which script wins depends on the design, so several run and the Pareto set of area and delay is kept. The small ones
were chosen greedily among 168 combinations for the area they reach at each delay, on twelve 8-bit multipliers; the
fast ones by comparing a dozen restructurings before `&nf`, whose results move little when a library's tables are
resampled, while those of `map` jump. `map` stays for the last few picoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

# the alias compress2rs of abc.rc, which the ABC of the pyosys wheel does not know
_SHRINK = (
    "balance -l; resub -K 6 -l; rewrite -l; resub -K 6 -N 2 -l; refactor -l; resub -K 8 -l; balance -l; "
    "resub -K 8 -N 2 -l; rewrite -l; resub -K 10 -l; rewrite -z; resub -K 10 -N 2 -l; balance -l; "
    "resub -K 12 -l; refactor -z; resub -K 12 -N 2 -l; rewrite -z; balance -l"
)
_FLOW = "&get -n; &nf -p; &put"
_FLOW_SMALL = "&get -n; &nf -p -R 200; &put"
_DEPTH = "&synch2"  # restructures for depth, with choices, which a way back through &put would lose
_MAP = "&nf -p; &put"
# map leaves gates without fanout, which buffer refuses; topo drops them. -S and -G are the slew [ps] and the gain [%]
# at which it reads the delay tables: higher ones make it take fewer and smaller gates.
_FAST = "map -B 0.9; topo"
_FAST_LEAN = "map -B 0.9 -S 40 -G 400; topo"
_AREA = "amap -F 4 -A 8"


@dataclass(frozen=True)
class Script:
    """ABC commands: `restructure` works on the and-inverter graph, `map` ends with gates."""

    name: str
    restructure: str
    map: str


_ALL = (
    Script("balanced", "strash; dch -f", _FLOW),
    Script("fast", f"strash; &get -n; {_DEPTH}", _MAP),
    Script("lean", f"strash; dch -f; {_SHRINK}; {_SHRINK}; dch -f", _FLOW_SMALL),
    Script("small", f"strash; ifraig; dc2; {_SHRINK}; dc2; {_SHRINK}; dch", _AREA),
    Script("fast-choices", f"strash; dch -f; &get -n; {_DEPTH}", _MAP),
    Script("fast-rewritten", f"strash; &get -n; &dc2; {_DEPTH}", _MAP),
    Script("fast-regrouped", f"strash; dch -f; if -g; strash; dch -f; &get -n; {_DEPTH}", _MAP),
    Script("fast-wide", f"strash; &get -n; &st; &if -g -K 6; {_DEPTH}", _MAP),
    Script("fast-deep", f"strash; &get -n; &syn2; {_DEPTH}", _MAP),
    Script("fastest-lean", f"strash; &get -n; {_DEPTH}; &put", _FAST_LEAN),
    Script("fastest", "strash; &get -n; &syn2; &dch -f; &put", _FAST),
    Script("lean-balanced", f"strash; ifraig; dc2; {_SHRINK}; dc2; {_SHRINK}; dch", _FLOW),
    Script("small-deep", "strash; &get -n; &syn4; &dch -f; &put", _AREA),
    Script("balanced-plain", f"strash; dch -f; {_SHRINK}; dc2", _FLOW),
    Script("small-choices", "strash; dch -f; dch -f", _AREA),
    Script("small-rewritten", f"strash; dc2; dch -f; {_SHRINK}; dch -f", _AREA),
)
SCRIPTS = {script.name: script for script in _ALL}
EFFORTS = {"quick": _ALL[:4], "normal": _ALL}
