"""A multiplier of the HEAM form designed for one of the networks: a little smaller than the published one, and as
precise as the search then finds under the network's operands."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Aim:
    """What a multiplier is designed to.

    Attributes:
        share: of the published instance's area, at most.
        mean_weight: of the squared mean error in what is minimised; 0 is equation 5.
        finalists: of the search, that are synthesised.
    """

    share: float
    mean_weight: float
    finalists: int

    @property
    def how(self) -> str:
        weighted = f", plus {self.mean_weight:g} times the squared mean error," if self.mean_weight else ""
        return (
            f"the least expected error{weighted} found within {self.share} of the published instance's area"
            f" (compact cells, effort {_EFFORT})"
        )


EQUATION_5 = Aim(0.95, 0.0, 4)  # at a fast clock, too, it shall be smaller than the published one
LONG_SUMS = Aim(0.985, 16.0, 12)  # chosen on training images: docs/results/heam-design.md


@dataclass(frozen=True)
class ForNetwork:
    """A designed multiplier, the area it was held to, its own, and the published instance's in the same flow."""

    multiplier: Multiplier
    within_um2: float
    area_um2: float
    published_um2: float


def designed_for(subject: Subject, setting: Setting, aim: Aim) -> ForNetwork:
    """The multiplier for a network, all layers by their multiply-accumulates; kept in the store of trials."""
    operands = hashlib.sha256(records.calibration_to_bytes(subject.calibration)).hexdigest()

    def compute() -> tuple[dict[str, Any], bytes]:
        published = _area(MULTIPLIERS.parse(PUBLISHED))
        area = aim.share * published

        def progress(stage: str, done: int, total: int, name: str) -> None:
            setting.progress(Event(stage, name, done, total))

        found = heam.designs(
            subject.calibration, max_area_um2=area, mean_weight=aim.mean_weight, finalists=aim.finalists,
            effort=_EFFORT, progress=progress,
        )  # fmt: skip
        if found.interrupted:
            raise KeyboardInterrupt
        best = found.best(max_area_um2=area)
        return {"spec": best.spec, "within_um2": area, "published_um2": published}, b""

    with Store(default_store()) as store:
        runner = Runner(store)
        made = runner.run("heam design", subject.title, {"operands": operands, **asdict(aim)}, compute).result
        m: Multiplier = MULTIPLIERS.parse(made["spec"])
        area = runner.run("heam area", m.spec, {"spec": m.spec}, lambda: ({"um2": _area(m)}, b"")).result["um2"]
    return ForNetwork(m, made["within_um2"], area, made["published_um2"])


def _area(m: Multiplier) -> float:
    """Of the smallest circuit [um2]."""
    return cost_of(m, synthesize(m, compact_library(), effort=_EFFORT), _EFFORT).area_um2
