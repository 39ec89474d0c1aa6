"""`carrysave show`, `synth` and `verilog` of hardware units, and `synth --fpga`, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrysave.assembly_command import assemblies_at_clocks, describe_assembly
from carrysave.clocked import row, unmet
from carrysave.description import first_sentence
from carrysave.hardware.proof import VECTORS
from carrysave.trials import Event, Progress, silent

if TYPE_CHECKING:
    from carrysave.hardware.library import Library
    from carrysave.hardware.synthesis import Mapped

CLOCK_GHZ = 1.0  # of the power that `show` gives


def _library(liberty: Sequence[Path]) -> Any:
    from carrysave.hardware.cells import compact_library
    from carrysave.hardware.liberty import read_liberty

    return read_liberty(list(liberty)) if liberty else compact_library()


def _check_effort(effort: str) -> None:
    if effort not in ("quick", "normal"):
        raise ValueError(f"--effort {effort}: it is quick or normal")


def synthesized(
    specs: Sequence[str],
    frequencies: str | None,
    fpga: str | None,
    liberty: Sequence[Path],
    operands: Path | None,
    effort: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What `carrysave synth` shows: designs at clocks in standard cells, or what they take on an FPGA.

    Raises ValueError for options that do not go together, and as the functions it calls.
    """
    from carrysave.clocked import at_frequencies
    from carrysave.hardware.units.of_multiplier import check_known, is_unit

    for spec in specs:
        check_known(spec)
    if fpga is not None:
        given = {"--frequency": frequencies, "--liberty": liberty, "--operands": operands}
        if any(given.values()):
            names = ", ".join(name for name, value in given.items() if value)
            raise ValueError(f"--fpga {fpga} goes without {names}: there is no place and route, so no clock is met")
        return on_fpga(specs, fpga, progress=progress)
    if frequencies is None:
        raise ValueError("synth: give --frequency (such as 1GHz,2.5GHz) for standard cells, or --fpga (such as xcup)")
    units = [spec for spec in specs if is_unit(spec)]
    if not units:
        return at_frequencies(specs, frequencies, liberty, operands, effort, progress)
    if operands is not None:
        raise ValueError(f"--operands: they are a multiplier's; {units[0]} is a hardware unit")
    return units_at_frequencies(specs, frequencies, liberty, effort, progress)


def describe_unit(spec: str, liberty: Sequence[Path] = (), effort: str = "normal") -> dict[str, Any]:
    """Ports, registers, cost, critical paths and power of a unit, as JSON values. Raises SpecError, LibraryError."""
    from carrysave.hardware.anatomy import critical_path
    from carrysave.hardware.unit_cost import synthesize_units
    from carrysave.hardware.units import UNITS
    from carrysave.hardware.units.assembly import Assembly

    _check_effort(effort)
    unit, library = UNITS.parse(spec), _library(liberty)
    if isinstance(unit, Assembly):
        return describe_assembly(unit, library, effort, CLOCK_GHZ, VECTORS)
    (found,) = synthesize_units([unit], library, effort)
    price, at = found.cost(VECTORS), found.at_clock(CLOCK_GHZ, vectors=VECTORS)
    circuits = (("fastest", found.synthesis.fastest), ("smallest", found.synthesis.smallest))
    return {
        "spec": unit.spec,
        "description": first_sentence(type(unit)),
        "inputs": dict(unit.ports),
        "outputs": dict(unit.outputs),
        "registers": {name: asdict(register) for name, register in unit.registers.items()},
        "proof": str(price.proof),
        "cost": {
            "area_um2": price.area_um2,
            "min_delay_ps": price.min_delay_ps,
            "cells": dict(price.cells),
            "source": price.source,
            "pareto": [{"area_um2": a, "delay_ps": d, "script": s} for a, d, s in price.pareto],
        },
        "critical_paths": {which: critical_path(m.netlist, library).to_dict() for which, m in circuits},
        "at_clock": row(at),
        "hold": {which: _hold(m, library) for which, m in circuits} if unit.clocked else {},
    }


def _hold(mapped: Mapped, library: Library) -> dict[str, Any]:
    """What `hold.check_hold` finds, as JSON values; the slack is None where no flip-flop feeds another."""
    from carrysave.hardware.hold import check_hold

    found = check_hold(mapped.netlist, library)
    slack = found.slack_ps if math.isfinite(found.slack_ps) else None
    return {"slack_ps": slack, "inputs_ps": found.inputs_ps, "note": found.note}


def units_at_frequencies(
    specs: Sequence[str],
    frequencies: str,
    liberty: Sequence[Path] = (),
    effort: str = "normal",
    progress: Progress = silent,
) -> dict[str, Any]:
    """For each unit or multiplier and clock the smallest circuit that meets it; as `clocked.at_frequencies`."""
    from carrysave.hardware.clocks import parse_frequencies
    from carrysave.hardware.power import OUTPUT_LOAD_FF
    from carrysave.hardware.unit_cost import synthesize_units
    from carrysave.hardware.units.assembly import Assembly
    from carrysave.hardware.units.of_multiplier import any_unit

    _check_effort(effort)
    clocks, library = parse_frequencies(frequencies), _library(liberty)
    units = list(dict.fromkeys(any_unit(spec) for spec in specs))
    single = [unit for unit in units if not isinstance(unit, Assembly)]
    made = synthesize_units(
        single, library, effort, progress=lambda done, total, name: progress(Event("synthesis", name, done, total))
    )
    found = []
    for synthesis in made:
        for clock in clocks:
            at = synthesis.at_clock(clock, vectors=VECTORS)
            hold = {"hold": _hold(at.mapped, library)} if at.mapped and synthesis.clocked else {}
            found.append(row(at) | hold)
            progress(Event("clock", f"{synthesis.unit.spec} at {clock:g} GHz", len(found), len(made) * len(clocks)))
    whole = [unit for unit in units if isinstance(unit, Assembly)]
    found += assemblies_at_clocks(whole, clocks, library, effort, VECTORS, progress)
    rows = sorted(found, key=lambda entry: [unit.spec for unit in units].index(entry["spec"]))
    powers = [power for entry in rows for power in entry["power"].values()]
    return {
        "rows": rows,
        "activities": list(dict.fromkeys(power["activity"] for power in powers)),
        "notes": [
            *dict.fromkeys(note for power in powers for note in power["notes"]),
            *dict.fromkeys(f"{entry['spec']}: {entry['proof']}" for entry in rows if "proof" in entry),
            *(f"{e['spec']} at {e['frequency_ghz']:g} GHz: {e['hold']['note']}" for e in rows if _misses_hold(e)),
            *unmet(rows, effort),
        ],
        "source": f"{library.source}; Yosys and ABC, effort {effort}, no wires, no clock tree; delay (of units with "
        f"registers the shortest period) with unloaded outputs, power with {OUTPUT_LOAD_FF:g} fF at each output, one "
        "operation per cycle, no glitches",
    }


def _misses_hold(entry: dict[str, Any]) -> bool:
    return "hold" in entry and bool(entry["hold"]["note"])


def on_fpga(specs: Sequence[str], name: str, *, dsps: bool = True, progress: Progress = silent) -> dict[str, Any]:
    """What units or multipliers take on an FPGA family or device, as JSON values. Raises SpecError, SynthesisError."""
    from carrysave.hardware.fpga import fpga_costs, target
    from carrysave.hardware.units.of_multiplier import any_unit

    family, device = target(name)
    units = list(dict.fromkeys(any_unit(spec) for spec in specs))
    costs = fpga_costs(
        units,
        family,
        dsps=dsps,
        vectors=VECTORS,
        progress=lambda done, total, spec: progress(Event("synthesis", spec, done, total)),
    )
    rows = []
    for cost in costs:
        entry = asdict(cost.counts) | {"others": dict(cost.counts.others)}
        share = device.shares(cost.counts) if device else {}
        proof = str(cost.proof) if cost.proof else None
        proof = f"part by part, each on at least {proof}" if proof and cost.parts else proof
        rows.append({"spec": cost.spec, **entry, "logic_delay_ps": cost.logic_delay_ps, "proof": proof, "share": share})
    return {
        "family": family,
        "device": asdict(device) if device else None,
        "rows": rows,
        "source": costs[0].source if costs else "",
        "note": "Logic delay is an estimate: cell delays of the longest path (Artix-7 figures), no routing.",
    }
