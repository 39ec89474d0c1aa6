"""The accelerator modules of HEAM's Table III: their circuits, their clocks, and what they are fed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.clocked_power import Streams
from carrysave.hardware.units.assembly import Assembly
from carrysave.hardware.units.base import RESET, random_word
from carrysave.hardware.units.output_stationary import OutputStationaryArray
from carrysave.hardware.units.systolic_array import SystolicArray
from carrysave.hardware.units.systolic_cube import SystolicCube
from carrysave.hardware.units.tasu_block import Tasu
from carrysave.planes import PlaneWord

RATE = 0.1
LABEL = f"operands toggle at a rate of {RATE:g}"
_COUNTED, _LANES = 24, 64  # cycles that are counted, streams


@dataclass(frozen=True)
class Module:
    """A module of Table III.

    Attributes:
        name: in our table; `printed`, in the paper's.
        lower_ghz: a clock that it meets with every multiplier that the paper shows, where it misses the paper's.
        element: the part that has the multiplier.
        whole: the circuit with a multiplier, by its spec.
        sample: a smaller one of the same parts (but for TASU's sum over channels, which stands alone), in which each
            has the neighbours that it has in the whole.
        marks: of each control port, its value in every cycle; those not named are 0, as when no weights are loaded.
        still: ports that do not change: weights that are in their registers already.
        pipeline: cycles from the first input to the last output.
    """

    name: str
    printed: str
    clock_ghz: float
    lower_ghz: float
    element: str
    whole: Callable[[str], Assembly]
    sample: Callable[[str], Assembly]
    marks: Callable[[NDArray[np.int64]], Mapping[str, NDArray[np.bool_]]]
    still: str = ""
    pipeline: int = 0


def _cube_marks(cycle: NDArray[np.int64]) -> Mapping[str, NDArray[np.bool_]]:
    """3x3x3 kernels."""
    return {"start": cycle % 27 == 0, "turn": cycle % 3 == 0, "fresh": cycle % 9 < 3}


def _pixel_marks(cycle: NDArray[np.int64]) -> Mapping[str, NDArray[np.bool_]]:
    """An image row that does not end."""
    return {"valid": cycle >= 0, "row": cycle == 0, "image": cycle == 0}


MODULES = (
    Module(
        name="TASU",
        printed="TASU",
        clock_ghz=1.5,
        lower_ghz=1.2,
        element="window_mac",
        whole=lambda m: Tasu(multiplier=m),
        sample=lambda m: Tasu(multiplier=m, filters=1, channels=1),
        marks=_pixel_marks,
        still="weight",
        pipeline=14,
    ),
    Module(
        name="SC",
        printed="SC",
        clock_ghz=2.5,
        lower_ghz=1.8,
        element="cube_pe",
        whole=lambda m: SystolicCube(multiplier=m),
        sample=lambda m: SystolicCube(multiplier=m, planes=1, columns=2),
        marks=_cube_marks,
        pipeline=16,
    ),
    Module(
        name="SA",
        printed="SA",
        clock_ghz=2.0,
        lower_ghz=1.8,
        element="systolic_pe",
        whole=lambda m: SystolicArray(multiplier=m),
        sample=lambda m: SystolicArray(multiplier=m, rows=4, columns=2, sum_bits=20),
        marks=lambda cycle: {},
        still="w",
        pipeline=12,
    ),
    Module(
        name="SA, sums stay",
        printed="SA",
        clock_ghz=2.0,
        lower_ghz=1.5,
        element="accumulating_pe",
        whole=lambda m: OutputStationaryArray(multiplier=m),
        sample=lambda m: OutputStationaryArray(multiplier=m, rows=2, columns=2),
        marks=lambda cycle: {"start": cycle % 32 == 0},
        pipeline=8,
    ),
)


def operation(module: Module, assembly: Assembly, seed: int = 0) -> Streams:
    """The module at work: each operand bit toggles with probability `RATE` per cycle, the control in its rhythm.

    Weights that are in registers stay what the registers start with, at random.
    """
    generator = np.random.default_rng(seed)
    count = module.pipeline + _COUNTED + 2
    marks = module.marks(np.arange(count))
    single = [port for port, width in assembly.inputs.items() if width == 1]
    moving = [port for port in assembly.inputs if port not in single and port.rstrip("0123456789") != module.still]
    now = {port: random_word(generator, width, _LANES) for port, width in assembly.inputs.items()}
    cycles: list[dict[str, PlaneWord]] = []
    for t in range(count):
        values = dict(now)
        for port in single:
            values[port] = _constant(int(marks[port][t]) if port in marks else 0)
        if assembly.has_reset:
            values[RESET] = _constant(0)
        cycles.append(values)
        for port in moving:
            now[port] = _toggled(generator, now[port])
    return Streams(LABEL, cycles, module.pipeline)


def _constant(bit: int) -> PlaneWord:
    return PlaneWord.from_ints(np.full(_LANES, bit), 1)


def _toggled(generator: np.random.Generator, word: PlaneWord) -> PlaneWord:
    flips = generator.random((word.width, word.planes.shape[1] * 64)) < RATE
    return PlaneWord(word.planes ^ np.packbits(flips, axis=1, bitorder="little").view(np.uint64), word.lanes)
