"""Designs at clocks, as data: `carrysave synth` prints it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.trials import Event, Progress, silent

if TYPE_CHECKING:
    from carrysave.hardware.activity import Vectors
    from carrysave.hardware.clocks import AtClock


def at_frequencies(
    specs: Sequence[str],
    frequencies: str,
    liberty: Sequence[Path] = (),
    operands: Path | None = None,
    effort: str = "normal",
    progress: Progress = silent,
) -> dict[str, Any]:
    """For each multiplier and clock the smallest circuit that meets it, proved, with its power there.

    Args:
        frequencies: such as "1GHz,2.5GHz".
        operands: an .npz file with a calibration, or with histograms of codes "a" and "b"; power is then given under
            these operands, too.

    Raises:
        ValueError: for unknown names, frequencies, and operands that do not fit.
        LibraryError, SynthesisError: as `synthesis.synthesize`.
    """
    from carrysave.hardware.activity import drawn, toggling
    from carrysave.hardware.cells import compact_library
    from carrysave.hardware.clocks import at_clocks, parse_frequencies
    from carrysave.hardware.liberty import read_liberty
    from carrysave.hardware.power import OUTPUT_LOAD_FF
    from carrysave.hardware.synthesis import synthesize_many

    if effort not in ("quick", "normal"):
        raise ValueError(f"--effort {effort}: it is quick or normal")
    clocks = parse_frequencies(frequencies)
    chosen: list[Multiplier] = list(dict.fromkeys(MULTIPLIERS.parse(spec) for spec in specs))
    read = _operands(operands) if operands else None
    activities: list[list[Vectors]] = [[toggling({"a": m.a_bits, "b": m.b_bits})] for m in chosen]
    if read and operands:
        for m, vectors in zip(chosen, activities, strict=True):
            vectors.append(drawn(m, read(m), f"operands of {operands.name}"))
    library = read_liberty(list(liberty)) if liberty else compact_library()
    syntheses = synthesize_many(
        chosen, library, effort, progress=lambda done, total, name: progress(Event("synthesis", name, done, total))
    )
    rows: dict[tuple[int, float], dict[str, Any]] = {}
    with ThreadPoolExecutor(2) as pool:
        futures = {
            pool.submit(at_clocks, m.spec, [syntheses[k]], [clock], activities[k], m=m): (k, clock)
            for k, m in enumerate(chosen)
            for clock in clocks
        }
        for done, future in enumerate(as_completed(futures), start=1):
            k, clock = futures[future]
            rows[k, clock] = row(future.result()[0])
            progress(Event("clock", f"{chosen[k].spec} at {clock:g} GHz", done, len(futures)))
    ordered = [rows[k, clock] for k in range(len(chosen)) for clock in clocks]
    notes = dict.fromkeys(note for row in ordered for power in row["power"].values() for note in power["notes"])
    return {
        "rows": ordered,
        "activities": [vectors.label for vectors in activities[0]],
        "notes": [*notes, *unmet(ordered, effort)],
        "source": f"{library.source}; Yosys and ABC, effort {effort}, no wires; delay with unloaded outputs, power "
        f"with {OUTPUT_LOAD_FF:g} fF at each output, one product per cycle, no glitches",
    }


def row(at: AtClock) -> dict[str, Any]:
    """A design at a clock as JSON values."""
    entry: dict[str, Any] = {"spec": at.design, "frequency_ghz": at.frequency_ghz, "met": at.mapped is not None}
    if at.mapped is not None:
        entry |= {
            "area_um2": float(at.mapped.area_um2),
            "delay_ps": at.mapped.delay_ps,
            "script": at.mapped.script,
        }
    elif at.fastest_ps is not None:
        entry["fastest_ps"] = at.fastest_ps
    if at.proof:
        entry["proof"] = at.proof
    power = {
        label: {
            **{key: value if isinstance(value, str) else _plain(value) for key, value in asdict(p).items()},
            "total_uw": float(p.total_uw),
            "energy_fj": float(p.total_uw / p.frequency_ghz),
        }
        for label, p in at.power.items()
    }
    return entry | {"power": power}


def unmet(rows: Sequence[Mapping[str, Any]], effort: str) -> list[str]:
    """A sentence for each row whose clock no circuit meets: how fast the design is, and what to do.

    Raises ValueError if that is all rows.
    """
    found = []
    for entry in (entry for entry in rows if not entry["met"]):
        text = f"{entry['spec']}: no circuit meets {entry['frequency_ghz']:g} GHz"
        if (fastest := entry.get("fastest_ps")) is not None:
            text += f" ({1000 / entry['frequency_ghz']:.4g} ps): the fastest found takes {fastest:.1f} ps"
            text += f", which is {1000 / fastest:.3g} GHz" if fastest > 0 else ""
        found.append(text)
    if not found:
        return []
    advice = "give a slower clock" + (", --effort normal" if effort == "quick" else "")
    found.append(f"To meet it: {advice}, or a circuit with fewer gates between registers.")
    if len(found) > len(rows):
        raise ValueError("\n  ".join(["no clock is met.", *found]))
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else float(value)


def _operands(path: Path) -> Callable[[Multiplier], tuple[Any, Any]]:
    """What gives a multiplier its operands' histograms. Raises ValueError for a file that holds none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in ("a", "b", "meta")}
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(f"--operands {path}: not an .npz file ({error})") from None
    if "meta" in arrays:
        from carrysave.calibration import Calibration
        from carrysave.recipes import Arithmetic

        calibration = Calibration.load(path)

        def of_all(m: Multiplier) -> tuple[Any, Any]:
            found = calibration.operands_of_all(Arithmetic.natural(m))
            return found.activation, found.weight

        return of_all
    if not {"a", "b"} <= arrays.keys():
        raise ValueError(f"--operands {path}: expected a calibration, or arrays a and b: how often each code occurs")
    return lambda m: (arrays["a"], arrays["b"])
