"""`carrysave show` and `synth` of units made of units, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from carrysave.clocked import row
from carrysave.description import first_sentence
from carrysave.trials import Event, Progress, silent

if TYPE_CHECKING:
    from carrysave.hardware.assembled_cost import AssemblyAtClock
    from carrysave.hardware.library import Library
    from carrysave.hardware.units.assembly import Assembly


def assemblies_at_clocks(
    assemblies: Sequence[Assembly],
    clocks: Sequence[float],
    library: Library,
    effort: str,
    vectors: int,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """A row for each assembly and clock [GHz]: as those of a unit, and its `parts`.

    Raises SynthesisError, LibraryError, MismatchError as `hardware.assembled_cost.assembly_at_clock`.
    """
    from carrysave.hardware.assembled import synthesize_assemblies
    from carrysave.hardware.assembled_cost import assembly_at_clock

    made = synthesize_assemblies(
        assemblies,
        library,
        effort,
        progress=lambda done, total, name: progress(Event("synthesis", name, done, total)),
    )
    rows = []
    for synthesis in made:
        for clock in clocks:
            rows.append(assembly_row(assembly_at_clock(synthesis, clock, vectors=vectors)))
            place = f"{synthesis.assembly.spec} at {clock:g} GHz"
            progress(Event("clock", place, len(rows), len(made) * len(clocks)))
    return rows


def assembly_row(at: AssemblyAtClock) -> dict[str, Any]:
    """An assembly at a clock as JSON values."""
    from carrysave.hardware.clocks import AtClock

    whole = row(AtClock(at.spec, at.frequency_ghz, None, at.power)) | {"met": at.met}
    if at.period_ps is not None:
        whole |= {"fastest_ps" if not at.met else "delay_ps": at.period_ps}
    if not at.met:
        return whole
    parts = [
        {
            "spec": piece.spec,
            "count": piece.count,
            "area_um2": piece.area_um2,
            "script": piece.script,
            "power": row(AtClock(piece.spec, at.frequency_ghz, None, piece.power))["power"],
            "proof": str(piece.proof),
        }
        for piece in at.pieces
    ]
    proof = str(at.proof) if at.proof else "part by part; too large to be run whole"
    return whole | {"area_um2": at.area_um2, "script": f"{len(parts)} parts", "parts": parts, "proof": proof}


def describe_assembly(
    assembly: Assembly, library: Library, effort: str, clock_ghz: float, vectors: int
) -> dict[str, Any]:
    """Ports, parts, area and power at a clock of an assembly, as JSON values. Raises as `assemblies_at_clocks`."""
    (at,) = assemblies_at_clocks([assembly], [clock_ghz], library, effort, vectors)
    return {
        "spec": assembly.spec,
        "description": first_sentence(type(assembly)),
        "inputs": dict(assembly.ports),
        "outputs": dict(assembly.outputs),
        "register_bits": sum(register.width for register in assembly.registers.values()),
        "at_clock": at,
        "source": f"{library.source}; Yosys and ABC, effort {effort}, each part once, no wires, no clock tree",
    }
