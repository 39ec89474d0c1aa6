"""Results and single multipliers as tables in the terminal, readable for a newcomer."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from carrysave.report import pictures, tables
from carrysave.results import Results


def _table(*columns: tuple[str, str], title: str | None = None) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", header_style="bold", pad_edge=False
    )
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return table


def _saving(value: float | None) -> Text:
    if value is None:
        return Text("–", "dim")
    return Text(f"{tables.number(value, 0)} %", "green" if value >= 0.5 else "red" if value <= -0.5 else "")


# title, narrowest terminal that has room for the column
_COLUMNS = (
    ("Accuracy %", 0),
    ("95 % interval", 72),
    ("vs exact", 0),
    ("Area µm²", 0),
    ("saved", 0),
    ("Delay ps", 112),
    ("saved", 136),
    ("Energy nJ", 96),
    ("saved", 96),
    ("Mean |error|", 128),
)


def summary_table(results: Results, width: int = 120) -> Table:
    """The main table, most accurate first under float and exact; a narrow terminal gets fewer columns."""
    shown = [index for index, (_, least) in enumerate(_COLUMNS) if width >= least]
    table = _table(("Arithmetic", "left"), *((_COLUMNS[index][0], "right") for index in shown))
    rows = tables.summary(results)
    fixed = [row for row in rows if row.kind in ("float", "exact")]
    for row in [*fixed, *sorted((row for row in rows if row not in fixed), key=lambda row: -row.percent)]:
        name = Text(row.name, "bold" if row.kind in ("float", "exact") else "" if row.tolerated else "dim")
        if row.on_front:
            name.append(" *", "cyan")
        cells = _cells(row)
        table.add_row(name, *(cells[index] for index in shown))
    return table


def _cells(row: tables.SummaryRow) -> list[Text | str]:
    against = Text("" if row.points is None else tables.number(row.points, 2, sign=True))
    against.append(" ≈" if row.may_be_chance and row.points else "  ", "dim")
    return [
        Text(tables.number(row.percent, 2), "" if row.tolerated or row.kind == "float" else "dim"),
        Text(f"{row.low:.2f}–{row.high:.2f}", "dim"),
        against,
        tables.number(row.area_um2, 1),
        _saving(row.area_saving),
        tables.number(row.delay_ps, 0),
        _saving(row.delay_saving),
        tables.number(row.energy_nj, 2),
        _saving(row.energy_saving),
        tables.number(row.mean_absolute_error, 1),
    ]


def print_results(results: Results, console: Console) -> None:
    """Table, legend, conclusion."""
    console.print()
    console.print(Text(results.title, "bold"))
    console.print(Text(f"{results.network} on {results.data}", "dim"))
    console.print(summary_table(results, console.width))
    console.print(
        Text(
            "* no other row is better in both area and accuracy   "
            "≈ these images cannot tell the difference from chance\n"
            "Area: smallest mapping; delay: fastest mapping of one multiplier. Energy: of all multiplications of one "
            f"inference, at {results.frequency_ghz:g} GHz, under this network's operands. "
            f"Grey: loses more than {tables.TOLERANCE:g} points.",
            "dim",
        )
    )
    console.print()
    console.print(
        Panel(
            Group(
                Text(tables.conclusion(results), "bold"),
                Text(tables.overview(results)),
                *(Text(remark, "yellow") for remark in tables.remarks(results)),
            ),
            box=box.ROUNDED,
            expand=False,
        )
    )


def map_text(errors: Any, side: int = 64) -> Text:
    """An error map as half blocks, two rows of the picture in each line; `side` is a power of two."""
    picture = pictures.error_steps(pictures.shrink(errors, side)).T[::-1]
    colours = [f"rgb({r},{g},{b})" for r, g, b in pictures.palette()]
    text = Text()
    for line in range(0, len(picture) - 1, 2):
        for upper, lower in zip(picture[line], picture[line + 1], strict=True):
            text.append("▀", f"{colours[upper]} on {colours[lower]}")
        text.append("\n")
    return text


def legend_text() -> Text:
    text = Text("too small ", "dim")
    for colour, _ in pictures.legend()[::2]:
        text.append("  ", f"on {colour}")
    return text.append(" too large; one step per doubling of the error", "dim")


def _power(power: dict[str, Any]) -> Group:
    """Power, and where area and energy go."""
    areas, energies = power["parts"]["area_um2"], power["parts"]["energy_fj"]
    whole = (sum(areas.values()) or 1.0, sum(energies.values()) or 1.0)
    table = _table(("Part", "left"), ("Area µm²", "right"), ("%", "right"), ("Energy fJ", "right"), ("%", "right"))
    for part in tables.in_order({**areas, **energies}):
        cells = []
        for values, total in zip((areas, energies), whole, strict=True):
            value = values.get(part)
            cells += ["", ""] if value is None else [tables.number(value, 2), tables.number(100 * value / total, 0)]
        table.add_row(tables.PARTS[part], *cells)
    split = ", ".join(
        f"{what} {tables.number(power[f'{what}_uw'], 2)}" for what in ("switching", "internal", "leakage")
    )
    lines = [
        Text.assemble(("Power  ", "bold"), power["text"]),
        Text(
            f"{split} µW; {tables.number(power['energy_fj'], 1)} fJ per product; smallest mapping that meets the "
            f"clock: {power['script']}, {tables.number(power['area_um2'], 2)} µm²",
            "dim",
        ),
        *(Text(note, "dim") for note in power["notes"]),
        table,
        Text(f"Dynamic energy; {100 * power['parts']['matched']:.0f} % of the gates recognised directly\n", "dim"),
    ]
    return Group(*lines)


def _paths(paths: dict[str, Any]) -> Table:
    """Critical paths side by side: cell, load, arrival."""
    side = Table.grid(padding=(0, 4))
    found = []
    for which, path in paths.items():
        table = _table((f"Critical path, {which}", "left"), ("Load fF", "right"), ("At ps", "right"))
        table.add_row(f"input {path['start']}", "", "0.0")
        for step in path["steps"]:
            name = f"{tables.short_cell(step['cell'])} {step['pin']} {'↑' if step['edge'] == 'rise' else '↓'}"
            table.add_row(name, tables.number(step["load_ff"], 2), tables.number(step["arrival_ps"], 1))
        found.append(table)
    side.add_row(*found)
    return side


def print_clocks(record: dict[str, Any], console: Console) -> None:
    """What `carrysave synth` prints: designs by rows, one line per clock."""
    activities = record["activities"]
    table = _table(
        ("Design", "left"),
        ("Clock GHz", "right"),
        ("Area µm²", "right"),
        ("Delay ps", "right"),
        *((f"µW, {activity}", "right") for activity in activities),
        *((f"fJ, {activity}", "right") for activity in activities[-1:]),
    )
    last = None
    for row in record["rows"]:
        name = row["spec"] if row["spec"] != last else ""
        last = row["spec"]
        if not row["met"]:
            fastest = f"≥ {tables.number(row['fastest_ps'], 1)}" if "fastest_ps" in row else "-"
            table.add_row(name, f"{row['frequency_ghz']:g}", "not met", fastest, *["-"] * (len(activities) + 1))
            continue
        figures = [row["power"][activity] for activity in activities]
        table.add_row(
            name,
            f"{row['frequency_ghz']:g}",
            tables.number(row["area_um2"], 2),
            tables.number(row["delay_ps"], 1),
            *(f"{tables.number(p['total_uw'], 2)} ± {tables.number(p['standard_error_uw'], 2)}" for p in figures),
            tables.number(figures[-1]["energy_fj"], 2),
        )
    console.print(table)
    for note in record["notes"]:
        console.print(Text(note, "dim"))
    console.print(Text(record["source"], "dim"))


def print_multiplier(record: dict[str, Any], errors: Any, console: Console) -> None:
    """What `carrysave show` prints; `record` is what its --json prints, `errors` the error map or None."""
    console.print()
    console.print(Text(record["spec"], "bold"), Text(record["description"], "dim"))
    console.print(Text(f"{record['operands']}\n", "dim"))
    figures = _table(("Errors", "left"), ("", "right"))
    for title, value in record["error_lines"]:
        figures.add_row(title, value)
    costs = _table(("Mapping", "left"), ("Area µm²", "right"), ("Delay ps", "right"))
    for point in record["cost"]["pareto"] if record["cost"] else []:
        costs.add_row(point["script"], tables.number(point["area_um2"], 2), tables.number(point["delay_ps"], 1))
    side = Table.grid(padding=(0, 4))
    side.add_row(figures, costs) if record["cost"] else side.add_row(figures)
    console.print(side)
    if record["cost"]:
        console.print(Text(record["cost"]["source"], "dim"))
    else:
        console.print(Text.assemble(("No cost  ", "bold"), record["cost_note"]))
    if record.get("power"):
        console.print(_power(record["power"]))
    if record.get("critical_paths"):
        console.print(_paths(record["critical_paths"]))
    console.print(Text.assemble(("Emulation  ", "bold"), record["plan"]["text"]))
    if errors is not None and errors.any() and console.is_terminal:
        console.print(Text("\nError map  activation to the right, weight upwards", "bold"))
        console.print(map_text(errors), end="")
        console.print(legend_text())
