"""A multiplier of the HEAM form designed for one of the networks: a little smaller than the published one, and as
precise as the search then finds under the network's operands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from carrysave import records
from carrysave.exploration import default_store
from carrysave.hardware.cells import compact_library
from carrysave.hardware.cost import cost_of
from carrysave.hardware.synthesis import synthesize
from carrysave.methods import heam
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.reproductions.base import Setting
from carrysave.reproductions.heam_networks import Subject
from carrysave.store import Store
from carrysave.trials import Event, Runner

DESIGNED = "designed"
PUBLISHED = "compressed:heam"
_EFFORT = "quick"
_SHARE = 0.95  # of the published instance's area: at a fast clock, too, it shall be the smaller one
HOW = f"the least expected error found within {_SHARE} of the published instance's area (compact cells, effort quick)"


@dataclass(frozen=True)
class ForNetwork:
    """A designed multiplier, the area it was held to, and its own."""

    multiplier: Multiplier
    within_um2: float
    area_um2: float

    @property
    def published_um2(self) -> float:
        """Of the published instance, in the same flow."""
        return self.within_um2 / _SHARE


def designed_for(subject: Subject, setting: Setting) -> ForNetwork:
    """The multiplier for a network, all layers by their multiply-accumulates; kept in the store of trials."""
    operands = hashlib.sha256(records.calibration_to_bytes(subject.calibration)).hexdigest()

    def compute() -> tuple[dict[str, Any], bytes]:
        area = _SHARE * _area(MULTIPLIERS.parse(PUBLISHED))

        def progress(stage: str, done: int, total: int, name: str) -> None:
            setting.progress(Event(stage, name, done, total))

        found = heam.design(subject.calibration, max_area_um2=area, effort=_EFFORT, progress=progress)
        return {"spec": found.spec, "within_um2": area}, b""

    with Store(default_store()) as store:
        runner = Runner(store)
        made = runner.run("heam design", subject.title, {"operands": operands, "share": _SHARE}, compute).result
        m: Multiplier = MULTIPLIERS.parse(made["spec"])
        area = runner.run("heam area", m.spec, {"spec": m.spec}, lambda: ({"um2": _area(m)}, b"")).result["um2"]
    return ForNetwork(m, made["within_um2"], area)


def _area(m: Multiplier) -> float:
    """Of the smallest circuit [um2]."""
    return cost_of(m, synthesize(m, compact_library(), effort=_EFFORT), _EFFORT).area_um2
