"""The ten designs of the HEAM paper's tables, with their published figures, and their circuits at a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from carrysave.bits import ADDERS, TREES
from carrysave.hardware.library import Library
from carrysave.hardware.synthesis import Synthesis, synthesize_many
from carrysave.multipliers import MULTIPLIERS
from carrysave.reproductions.base import Setting
from carrysave.trials import Event

_EXACT = tuple(f"exact:tree={tree},adder={adder}" for tree in TREES for adder in ADDERS)


@dataclass(frozen=True)
class Design:
    """A column of the paper's Table I.

    Attributes:
        specs: its structures; the smallest that meets a clock stands for the design there.
        area_um2, power_uw: at 3 GHz; None where the paper has "-". All four are None for a design of our own.
        delay_ps: the design's own minimum.
        accuracy: of the paper's LeNet on MNIST [%].
    """

    name: str
    specs: tuple[str, ...]
    area_um2: float | None
    power_uw: float | None
    delay_ps: float | None
    accuracy: float | None

    @property
    def spec(self) -> str:
        return MULTIPLIERS.parse(self.specs[0]).spec


DESIGNS = (
    Design("HEAM", ("compressed:heam",), 17.53, 76.20, 247.94, 99.34),
    Design("KMap", ("kulkarni",), 20.81, 101.67, 256.94, 98.33),
    Design("CR (C.6)", ("recovery:c=6",), 21.26, 77.15, 226.98, 57.20),
    Design("CR (C.7)", ("recovery:c=7",), 24.41, 89.38, 239.88, 95.60),
    Design("AC", ("venkatachalam",), 17.98, 68.44, 227.90, 21.14),
    Design("OU (L.1)", ("planar:level=1",), 24.90, 89.51, 244.91, 10.32),
    Design("OU (L.3)", ("planar:level=3",), None, None, 463.96, 95.70),
    Design("SDLC", ("or_compressed",), 16.13, 86.55, 225.00, 95.51),
    Design("Exact", ("exact", *_EXACT), 31.84, 145.49, 297.93, 99.40),
    Design("Wallace", ("exact:tree=wallace",), 42.98, 151.94, 278.99, 99.40),
)


def synthesize_designs(
    library: Library,
    progress: Callable[[int, int, str], None] | None = None,
    designs: Sequence[Design] = DESIGNS,
) -> dict[str, list[Synthesis]]:
    """Every structure of every design, each once, in parallel; by the design's name."""
    specs = list(dict.fromkeys(MULTIPLIERS.parse(spec).spec for design in designs for spec in design.specs))
    found = synthesize_many([MULTIPLIERS.parse(spec) for spec in specs], library, progress=progress)
    by_spec = dict(zip(specs, found, strict=True))
    return {d.name: [by_spec[MULTIPLIERS.parse(spec).spec] for spec in dict.fromkeys(d.specs)] for d in designs}


def scripts_progress(setting: Setting) -> Callable[[int, int, str], None]:
    """What `synthesize_designs` reports, as events of the setting."""
    return lambda done, total, name: setting.progress(Event("synthesis", name, done, total))
