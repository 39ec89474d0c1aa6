"""Power of a multiplier at a clock, as trials: under the published tables' activity, and under a network's operands."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from carrysave.calibration import Calibration
from carrysave.multipliers import Multiplier
from carrysave.questions import Effort
from carrysave.recipes import Arithmetic
from carrysave.results import PowerFigure, Row

if TYPE_CHECKING:
    from carrysave.hardware.activity import Vectors
    from carrysave.hardware.library import Library
    from carrysave.hardware.synthesis import Mapped

HISTOGRAM_BITS = 20  # operands are drawn from histograms of codes, wider ones from those of values


def activities(
    m: Multiplier, arithmetics: Sequence[Arithmetic], calibration: Calibration
) -> tuple[Vectors, Vectors | None]:
    """Input toggle rate 0.1, and this network's operands: every layer's, as often as it multiplies them.

    Operands are bit patterns as they enter the multiplier: two's complement if it is signed, magnitudes where a format
    of sign and magnitude meets an unsigned one. None for several arithmetics.
    """
    from carrysave.hardware.activity import drawn, toggling
    from carrysave.hardware.cost import OWN

    toggled = toggling({"a": m.a_bits, "b": m.b_bits})
    if len(set(arithmetics)) != 1:
        return toggled, None
    if max(m.a_bits, m.b_bits, *(f.bits for f in arithmetics[0].parts[1:])) > HISTOGRAM_BITS:
        return toggled, _drawn_wide(m, arithmetics[0], calibration)
    operands = calibration.operands_of_all(arithmetics[0])
    return toggled, drawn(m, (operands.activation, operands.weight), OWN)


def _drawn_wide(m: Multiplier, arithmetic: Arithmetic, calibration: Calibration, seed: int = 0) -> Vectors:
    """Operands too wide for a histogram of codes: values drawn from each layer's own, then encoded."""
    from carrysave.hardware.activity import COUNT, Vectors
    from carrysave.hardware.cost import OWN
    from carrysave.planes import PlaneWord

    generator = np.random.default_rng(seed)
    macs = np.array([calibration.macs[name] for name in calibration.layers], dtype=np.float64)
    layers = generator.choice(len(macs), size=2 * COUNT, p=macs / macs.sum())
    codes = np.zeros((2, 2 * COUNT), dtype=np.int64)
    for place, name in enumerate(calibration.layers):
        lanes = np.flatnonzero(layers == place)
        if lanes.size:
            codes[:, lanes] = _codes(calibration, name, arithmetic, lanes.size, generator)
    words = []
    for half in (slice(0, COUNT), slice(COUNT, None)):
        patterns = (codes if m.signed else np.abs(codes))[:, half]  # PlaneWord takes two's complement
        words.append({"a": PlaneWord.from_ints(patterns[0], m.a_bits), "b": PlaneWord.from_ints(patterns[1], m.b_bits)})
    return Vectors(OWN, words[0], words[1])


def _codes(
    calibration: Calibration, layer: str, arithmetic: Arithmetic, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Codes of a layer's activations, padding included, and of its weights."""
    import torch

    record, (activation, weight) = calibration[layer], calibration.quantizers(layer, arithmetic)
    padding = generator.random(count) < record.padded / record.macs
    left = np.where(padding, int(activation.zero), _encoded(record.input, activation, count, generator))
    if record.weight is None:
        return left, _encoded(record.second, weight, count, generator)
    return left, generator.choice(weight.codes(torch.from_numpy(record.weight)).reshape(-1).numpy(), size=count)


def _encoded(histogram: Any, quantizer: Any, count: int, generator: np.random.Generator) -> np.ndarray:
    """Codes of values drawn from a histogram, evenly within its bins."""
    bins = generator.choice(histogram.counts.size, size=count, p=histogram.counts / histogram.counts.sum())
    values = np.clip(
        (histogram.first + bins + generator.random(count)) * histogram.width, histogram.low, histogram.high
    )
    return quantizer.format.encode(values, float(quantizer.scale), int(quantizer.zero))


def inputs(vectors: Vectors, frequency_ghz: float) -> dict[str, Any]:
    """What a power trial depends on besides the circuit."""
    from carrysave.hardware.kept_energy import MODEL
    from carrysave.hardware.power import OUTPUT_LOAD_FF

    digest = hashlib.sha256(f"{vectors.label} {vectors.in_order}".encode())
    for words in (vectors.before, vectors.after):
        for port, word in sorted(words.items()):
            digest.update(f"{port} {word.width} {word.lanes} ".encode() + np.ascontiguousarray(word.planes).tobytes())
    return {"model": MODEL, "vectors": digest.hexdigest(), "load_ff": OUTPUT_LOAD_FF, "frequency_ghz": frequency_ghz}


def timed(
    m: Multiplier, library: Library, effort: Effort, frequency_ghz: float, vectors: Vectors
) -> tuple[dict[str, Any], float]:
    """(the trial's record, seconds); the record is {"met": False} where no mapping meets the clock."""
    from carrysave.hardware import anatomy
    from carrysave.hardware.kept_energy import cached_energy
    from carrysave.hardware.power import OUTPUT_LOAD_FF

    start = time.perf_counter()
    mapped = _circuit(m, library, effort, frequency_ghz)
    if mapped is None:
        return {"met": False}, time.perf_counter() - start
    spent = cached_energy(mapped.netlist, library, vectors)
    power = spent.at(frequency_ghz)
    record = {
        "met": True,
        "activity": power.activity,
        "frequency_ghz": frequency_ghz,
        "load_ff": OUTPUT_LOAD_FF,
        "area_um2": float(mapped.area_um2),
        "delay_ps": mapped.delay_ps,
        "script": mapped.script,
        "switching_uw": float(power.switching_uw),
        "internal_uw": float(power.internal_uw),
        "leakage_uw": float(power.leakage_uw),
        "standard_error_uw": float(power.standard_error_uw),
        "vectors": spent.vectors,
        "notes": list(power.notes),
        "parts": anatomy.parts(m, mapped.netlist, library, spent),
        "path": anatomy.critical_path(mapped.netlist, library).to_dict(),
    }
    return record, time.perf_counter() - start


@lru_cache(maxsize=64)
def _circuit(m: Multiplier, library: Library, effort: Effort, frequency_ghz: float) -> Mapped | None:
    """The smallest mapping that meets the clock, proved; the two activities share it."""
    from carrysave.hardware.clocks import smallest_at
    from carrysave.hardware.netlist import verify
    from carrysave.hardware.synthesis import synthesize

    mapped = smallest_at([synthesize(m, library, effort=effort)], frequency_ghz)
    if mapped is not None:
        verify(mapped.netlist, library, m)
    return mapped


def figure(record: Mapping[str, Any]) -> PowerFigure | None:
    """The typed figure of a trial's record; None where no mapping met the clock."""
    if not record["met"]:
        return None
    plain = {key: value for key, value in record.items() if key not in ("met", "parts", "notes")}
    parts = record["parts"]
    return PowerFigure(
        **plain,
        notes=tuple(record["notes"]),
        area_parts=parts["area_um2"],
        energy_parts=parts["energy_fj"],
        matched=parts["matched"],
    )


def notes(rows: Iterable[Row]) -> list[str]:
    """What the power figures say about themselves: few vectors, a library without internal power."""
    figures = [figure for row in rows for figure in (row.power, row.own_power) if figure is not None]
    return [note for figure in figures for note in figure.notes]


def source(frequency_ghz: float) -> str:
    """How power and energy come about, in one line."""
    from carrysave.hardware.activity import COUNT
    from carrysave.hardware.power import OUTPUT_LOAD_FF

    return (
        f"smallest mapping that meets {frequency_ghz:g} GHz, one product per cycle; switching, internal and leakage by "
        f"the cells' tables over {COUNT:,} pairs of operands, {OUTPUT_LOAD_FF:g} fF at each output, no glitches, "
        "no wires; “power”: input toggle rate 0.1; “energy”: this network's operands, drawn independently from all "
        "layers; per inference: the multipliers only"
    )
