"""The built-in cell library, distilled from ASAP7's public figures by `hardware.distill`; NOTICE has the licence."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib import resources

from carrysave.hardware.library import Library, from_data


@cache
def compact_library() -> Library:
    """About 80 combinational cells of ASAP7 RVT, TT, 0.7 V, 25 C, in several drive strengths, with 3x3 tables."""
    packed = resources.files("carrysave.hardware.cells").joinpath("asap7.json.gz").read_bytes()
    return from_data(json.loads(gzip.decompress(packed)))
