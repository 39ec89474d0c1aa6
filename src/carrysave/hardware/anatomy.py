"""One circuit looked into: its critical path, and where its area and energy go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from carrysave.hardware.attribution import Shares, shares
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import Netlist
from carrysave.hardware.power import Energy
from carrysave.hardware.timing import Step, analyze
from carrysave.multipliers.base import Multiplier


@dataclass(frozen=True)
class Path:
    """The slowest path: from the input `start` through `steps`, outputs unloaded, as the delay that is quoted."""

    start: str
    delay_ps: float
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, figures to a hundredth."""
        steps = [
            {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(step).items()}
            for step in self.steps
        ]
        return {"start": self.start, "delay_ps": round(self.delay_ps, 2), "steps": steps}


def critical_path(netlist: Netlist, library: Library) -> Path:
    """The slowest path of a netlist with unloaded outputs."""
    timing = analyze(netlist, library)
    return Path(timing.start, timing.delay_ps, timing.path)


def parts(m: Multiplier, netlist: Netlist, library: Library, spent: Energy) -> dict[str, Any]:
    """Area [um2] and dynamic energy [fJ] by stage as JSON values, with the share of gates that were recognised.

    Energy has two parts more: what charges the operand inputs, and the load outside that the outputs drive. The parts
    sum to the circuit's area and to `spent.dynamic_fj`.
    """
    found: Shares = shares(netlist, library, m, spent.of_instance_fj - spent.load_of_instance_fj)
    energy = {
        "inputs": spent.inputs_fj,
        **(found.energy_fj or {}),
        "outside load": float(spent.load_of_instance_fj.sum()),
    }
    return {"area_um2": dict(found.area_um2), "energy_fj": energy, "matched": found.matched}
