"""Liberty text: for `read_lib` of ABC a library's combinational cells, one worst delay arc per pin pair, no power; for
`dfflibmap` of Yosys what its flip-flops do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from carrysave.hardware.liberty import TIMING_TABLES
from carrysave.hardware.library import Arc, Cell, Library, Table


def worst_arc(arcs: Iterable[Arc], related_pin: str) -> Arc | None:
    """All delay arcs from one pin as one: the largest of each table's entries, and non-unate where they differ in
    sense.
    """
    delays = {"cell_rise", "cell_fall"}
    chosen = [arc for arc in arcs if arc.related_pin == related_pin and delays & set(arc.tables)]
    if not chosen:
        return None
    tables: dict[str, Table] = {}
    for name in TIMING_TABLES[:4]:
        for table in (arc.tables[name] for arc in chosen if name in arc.tables):
            seen = tables.get(name)
            if seen is None:
                tables[name] = table
                continue
            slew, load = np.meshgrid(seen.slew, seen.load, indexing="ij")
            same = (seen.slew, seen.load) == (table.slew, table.load)
            other = table.values if same else table.at(slew, load)
            tables[name] = Table(seen.slew, seen.load, np.maximum(seen.values, other))
    senses = {arc.sense for arc in chosen}
    return Arc(related_pin, senses.pop() if len(senses) == 1 else "non_unate", "combinational", None, tables)


def write_liberty(library: Library) -> str:
    """The combinational cells as Liberty in ps and fF, for ABC's `read_lib`: one worst arc per pin pair, no power.

    ABC aborts where a table's size differs from its template's, so each size has a template of its own.
    """
    sizes: set[tuple[int, int]] = set()
    body = "\n".join(_write_cell(cell, sizes) for cell in library.combinational())
    templates = "".join(
        f"  lu_table_template (t{rows}x{columns}) {{\n    variable_1 : input_net_transition;\n"
        f'    variable_2 : total_output_net_capacitance;\n    index_1 ("{_numbers(range(1, rows + 1))}");\n'
        f'    index_2 ("{_numbers(range(1, columns + 1))}");\n  }}\n'
        for rows, columns in sorted(sizes)
    )
    return (
        f'library ({library.name}) {{\n  delay_model : table_lookup;\n  time_unit : "1ps";\n'
        f'  capacitive_load_unit (1,ff);\n  leakage_power_unit : "1nW";\n  voltage_unit : "1V";\n'
        f"  nom_voltage : {library.voltage:g};\n  nom_temperature : {library.temperature:g};\n{templates}{body}\n}}\n"
    )


def write_flops(library: Library, cells: Iterable[Cell]) -> str:
    """Flip-flops as Liberty for Yosys: area, pins, functions and the state, no timing."""
    lines = [f"library ({library.name}) {{"]
    for cell in cells:
        state = cell.state
        lines += [f"  cell ({cell.name}) {{", f"    area : {cell.area_um2:.7g};"]
        lines += [
            f"    ff ({state['q']},{state.get('qn') or state['q'] + 'N'}) {{",
            *(f'      {name} : "{state[name]}";' for name in ("clocked_on", "next_state")),
            "    }",
        ]
        for pin in cell.pins:
            function = f' function : "{pin.function}";' if pin.function else ""
            lines.append(f"    pin ({pin.name}) {{ direction : {pin.direction};{function} }}")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.7g}" for value in values)


def _write_cell(cell: Cell, sizes: set[tuple[int, int]]) -> str:
    lines = [
        f"  cell ({cell.name}) {{",
        f"    area : {cell.area_um2:.7g};",
        f"    cell_leakage_power : {cell.leakage_nw:.7g};",
    ]
    for pin in cell.inputs:
        lines += [
            f"    pin ({pin.name}) {{",
            "      direction : input;",
            f"      capacitance : {pin.capacitance_ff:.7g};",
            "    }",
        ]
    for pin in cell.outputs:
        lines += [f"    pin ({pin.name}) {{", "      direction : output;", f'      function : "{pin.function}";']
        if pin.max_capacitance_ff is not None:
            lines.append(f"      max_capacitance : {pin.max_capacitance_ff:.7g};")
        for related in cell.inputs:
            arc = worst_arc(pin.arcs, related.name)
            if arc is not None:
                lines += _write_arc(arc, sizes)
        lines.append("    }")
    return "\n".join([*lines, "  }"])


def _write_arc(arc: Arc, sizes: set[tuple[int, int]]) -> list[str]:
    lines = ["      timing () {", f'        related_pin : "{arc.related_pin}";', f"        timing_sense : {arc.sense};"]
    for name, table in arc.tables.items():
        sizes.add(table.values.shape)
        rows = ", ".join(f'"{_numbers(row)}"' for row in table.values)
        lines += [
            f"        {name} (t{len(table.slew)}x{len(table.load)}) {{",
            f'          index_1 ("{_numbers(table.slew)}");',
            f'          index_2 ("{_numbers(table.load)}");',
            f"          values ({rows});",
            "        }",
        ]
    return [*lines, "      }"]
