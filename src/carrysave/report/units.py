"""Hardware units in the terminal: one in full, and several on an FPGA."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from carrysave.report import tables


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table


def _ports(widths: dict[str, int]) -> str:
    return ", ".join(f"{name}[{width}]" if width > 1 else name for name, width in widths.items())


def print_unit(record: dict[str, Any], console: Console) -> None:
    """What `carrysave show` prints of a unit; `record` is what its --json prints."""
    if "parts" in record["at_clock"] or "cost" not in record:
        _print_assembly(record, console)
        return
    console.print()
    console.print(Text(record["spec"], "bold"), Text(record["description"], "dim"))
    registers = {name: register["width"] for name, register in record["registers"].items()}
    console.print(Text(f"in {_ports(record['inputs'])}; out {_ports(record['outputs'])}", "dim"))
    if registers:
        console.print(Text(f"registers {_ports(registers)}: {sum(registers.values())} bits, clk", "dim"))
    delay = "Period ps" if registers else "Delay ps"
    costs = _table("Mapping", "Area µm²", delay)
    for point in record["cost"]["pareto"]:
        costs.add_row(point["script"], tables.number(point["area_um2"], 2), tables.number(point["delay_ps"], 1))
    console.print(costs)
    console.print(Text(record["cost"]["source"], "dim"))
    console.print(Text.assemble(("Proof  ", "bold"), record["proof"]))
    for which, hold in record["hold"].items():
        console.print(Text.assemble(("Hold   ", "bold"), f"{which}: {_hold(hold)}"))
    at = record["at_clock"]
    if not at["met"]:
        console.print(Text.assemble(("Power  ", "bold"), f"no circuit meets {at['frequency_ghz']:g} GHz"))
    for power in at["power"].values():
        total = f"{tables.number(power['total_uw'], 2)} µW at {at['frequency_ghz']:g} GHz, {power['activity']}"
        area = f", {tables.number(at['area_um2'], 2)} µm²"
        console.print(Text.assemble(("Power  ", "bold"), total + area))
    side = Table.grid(padding=(0, 4))
    side.add_row(*(_path(which, path) for which, path in record["critical_paths"].items()))
    console.print(side)


def _hold(hold: dict[str, Any]) -> str:
    slack = "no flip-flop feeds another" if hold["slack_ps"] is None else f"slack {hold['slack_ps']:.1f} ps"
    inputs = f"inputs held for {hold['inputs_ps']:.1f} ps" if hold["inputs_ps"] else "inputs need not be held"
    return hold["note"] or f"{slack}, {inputs} after the edge of an ideal clock"


def _print_assembly(record: dict[str, Any], console: Console) -> None:
    """A unit made of units: what each of its parts takes at the clock."""
    console.print()
    console.print(Text(record["spec"], "bold"), Text(record["description"], "dim"))
    console.print(Text(f"in {_ports(record['inputs'])}; out {_ports(record['outputs'])}", "dim"))
    if record["register_bits"]:
        console.print(Text(f"registers: {record['register_bits']:,} bits, clk", "dim"))
    at = record["at_clock"]
    if not at["met"]:
        fastest = f"; the fastest found takes {at['fastest_ps']:,.0f} ps" if "fastest_ps" in at else ""
        console.print(Text.assemble(("Power  ", "bold"), f"no circuit meets {at['frequency_ghz']:g} GHz{fastest}"))
        return
    table = _table("Part", "Times", "Area µm²", "of it", f"µW at {at['frequency_ghz']:g} GHz", "of it ")
    (activity, whole), *_ = at["power"].items()
    for part in sorted(at["parts"], key=lambda part: -part["count"] * part["area_um2"]):
        area, power = (part["count"] * x for x in (part["area_um2"], part["power"][activity]["total_uw"]))
        shares = [f"{100 * x / total:.1f} %" for x, total in ((area, at["area_um2"]), (power, whole["total_uw"]))]
        figures = [tables.number(area, 2), shares[0], tables.number(power, 2), shares[1]]
        table.add_row(part["spec"], f"{part['count']:,}", *figures)
    table.add_section()
    table.add_row("whole", "", tables.number(at["area_um2"], 2), "", tables.number(whole["total_uw"], 2), "")
    console.print(table)
    console.print(Text(f"{activity}; shortest period {at['delay_ps']:,.1f} ps, timed as one netlist", "dim"))
    console.print(Text(record["source"], "dim"))
    for part in at["parts"]:
        console.print(Text.assemble(("Proof  ", "bold"), f"{part['spec']}: {part['proof']}"))
    console.print(Text.assemble(("Proof  ", "bold"), f"the whole: {at['proof']}"))


def _path(which: str, path: dict[str, Any]) -> Table:
    table = _table(f"Critical path, {which}", "Load fF", "At ps")
    table.add_row(f"input {path['start']}", "", "0.0")
    for step in path["steps"]:
        name = f"{tables.short_cell(step['cell'])} {step['pin']} {'↑' if step['edge'] == 'rise' else '↓'}"
        table.add_row(name, tables.number(step["load_ff"], 2), tables.number(step["arrival_ps"], 1))
    return table


def print_fpga(record: dict[str, Any], console: Console) -> None:
    """What `carrysave synth --fpga` prints; with a device, the share of it that each design takes."""
    device = record["device"]
    columns = ["Design", "LUT", "Carry bits", "FF", "DSP", "BRAM18", "Logic ns (est.)"]
    table = _table(*columns, *(["LUTs of it"] if device else []))
    for row in record["rows"]:
        cells = [row["luts"], row["carry_bits"], row["ffs"], row["dsps"], row["bram18"]]
        share = [f"{100 * row['share']['lut']:.3f} %"] if device else []
        table.add_row(row["spec"], *map(str, cells), tables.number(row["logic_delay_ps"] / 1000, 2), *share)
    console.print(table)
    if device:
        there = ", ".join(f"{device[key]:,} {title}" for key, title in _THERE)
        console.print(Text(f"{device['part']}: {there}", "dim"))
    for row in record["rows"]:
        proof = row["proof"] or "not run: it has memories or DSPs"
        console.print(Text(f"{row['spec']}: {proof}", "dim"))
    console.print(Text(f"{record['source']}. {record['note']}", "dim"))


_THERE = (("luts", "LUT"), ("ffs", "FF"), ("dsps", "DSP"), ("bram18", "BRAM18"))
