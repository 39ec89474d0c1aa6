"""Liberty files (.lib, .lib.gz): reading any of them into a `Library`, and writing one that ABC's `read_lib` accepts.

Read are units, cells, areas, leakage, pins, Boolean functions, NLDM timing and constraint tables, internal power, and
the states of flip-flops and latches. Source of the grammar and of the attributes' meaning: the Liberty user guide.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from carrysave.hardware.functions import parse_function, pins_of
from carrysave.hardware.library import Arc, Cell, Library, LibraryError, Pin, Power, Table, from_data, to_json
from carrysave.paths import cache_dir, write_atomically

READER = "1"  # part of the cache's key: raise it when the reading changes
TIMING_TABLES = ("cell_rise", "cell_fall", "rise_transition", "fall_transition", "rise_constraint", "fall_constraint")


class LibertyError(LibraryError):
    """A Liberty file is damaged or says something that cannot be read; names file and line."""


# ---------------------------------------------------------------- syntax

_STATEMENT = re.compile(
    r"""(?:\s|\\|;|/\*.*?\*/|//[^\n]*)*
    (?: (?P<close>\})
      | (?P<name>[A-Za-z_][\w.]*) \s* (?:
            \( (?P<head>(?:"[^"]*"|[^()"])*) \) \s* (?P<open>\{)?
          | : \s* (?P<value>"(?:[^"])*"|[^;\n{}]*) )
      | (?P<end>\Z) )""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(eq=False)
class Group:
    """One `name (head) { ... }` of the file."""

    name: str
    head: str
    position: int
    values: dict[str, str] = field(default_factory=dict)  # simple attributes; the last one of a name wins
    calls: dict[str, str] = field(default_factory=dict)  # complex attributes: name (arguments);
    groups: list[Group] = field(default_factory=list)

    def of(self, *names: str) -> Iterator[Group]:
        return (group for group in self.groups if group.name in names)

    def title(self) -> str:
        return self.head.strip().strip('"').strip()


def parse_groups(text: str, name: str) -> Group:
    """The library group of a Liberty text. Raises LibertyError with the line where the text stops being Liberty."""
    top = Group("file", "", 0)
    stack, current = [], top
    position = 0
    for match in iter(_STATEMENT.scanner(text).match, None):  # type: ignore[attr-defined]  # scanner is not in the stubs
        kind = match.lastgroup
        if kind == "value":
            current.values[match["name"]] = match["value"].strip().strip('"').strip()
        elif kind == "head":
            current.calls[match["name"]] = match["head"]
        elif kind == "open":
            group = Group(match["name"], match["head"], match.start("name"))
            current.groups.append(group)
            stack.append(current)
            current = group
        elif kind == "close":
            if not stack:
                raise LibertyError(f"{name}, line {_line(text, match.start('close'))}: a '}}' closes nothing")
            current = stack.pop()
        else:
            break
        position = match.end()
    else:
        rest = text[position : position + 200].lstrip()[:40]
        raise LibertyError(
            f"{name}, line {_line(text, position)}: cannot read {rest!r} as Liberty; is the file damaged?"
        )
    if stack:
        line = _line(text, current.position)
        raise LibertyError(
            f"{name}: the file ends inside {current.name} ({current.title()}), which line {line} opens; it is truncated"
        )
    libraries = list(top.of("library"))
    if len(libraries) != 1:
        raise LibertyError(f"{name}: expected one library (...) group, found {len(libraries)}; is this a Liberty file?")
    return libraries[0]


def _line(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return text.count("\n", 0, position) + 1


# ---------------------------------------------------------------- units

_UNIT = re.compile(r'\s*"?\s*([\d.eE+-]*)\s*"?\s*,?\s*"?([a-zA-Z]+)')
_POWERS = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "": 0}


def _unit(text: str, base: str, where: str) -> float:
    """ "1ps", "10fF" or "1, pf" as a multiple of the base unit (s, f, w)."""
    match = _UNIT.match(text)
    letters = match[2].lower() if match else ""
    if not match or not letters.endswith(base) or letters[:-1] not in _POWERS:
        raise LibertyError(f"{where}: cannot read the unit {text!r}; expected something like 1p{base}")
    return float(match[1] or 1) * 10.0 ** _POWERS[letters[:-1]]


@dataclass(frozen=True)
class Units:
    """Factors to ps, fF, fJ, nW."""

    time: float
    load: float
    energy: float
    leakage: float


def _units(library: Group, where: str) -> Units:
    time = _unit(library.values.get("time_unit", "1ns"), "s", where) / 1e-12
    load = _unit(library.calls.get("capacitive_load_unit", "1, pf"), "f", where) / 1e-15
    volt = library.values.get("voltage_unit", "1V").lower().rstrip("v").rstrip("m")
    scale = (float(volt or 1)) * (1e-3 if "mv" in library.values.get("voltage_unit", "").lower() else 1.0)
    leakage = _unit(library.values.get("leakage_power_unit", "1nW"), "w", where) / 1e-9
    return Units(time, load, load * scale**2, leakage)  # an internal energy's unit is that of C V^2


# ---------------------------------------------------------------- meaning

_LOADS = ("total_output_net_capacitance", "equal_or_opposite_output_net_capacitance")


class _Reader:
    """Turns one library group into cells; keeps the file's units, templates and axes."""

    def __init__(self, library: Group, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.units = _units(library, where)
        self.templates = {group.title(): group for group in library.of("lu_table_template", "power_lut_template")}
        self.axes: dict[tuple[str, float], tuple[float, ...]] = {}

    def fail(self, group: Group, problem: str) -> LibertyError:
        line = _line(self.text, group.position)
        return LibertyError(f"{self.where}, line {line}: {group.name} ({group.title()}): {problem}")

    def number(self, group: Group, name: str, default: float | None = None) -> float:
        text = group.values.get(name)
        if text is None:
            if default is None:
                raise self.fail(group, f"has no {name}")
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.fail(group, f"{name} is {text!r}, which is no finite number")
        return value

    def axis(self, text: str, factor: float) -> tuple[float, ...]:
        key = (text, factor)
        if key not in self.axes:
            self.axes[key] = tuple(
                round(float(v) * factor, 9) for v in text.replace('"', "").replace("\\", "").split(",")
            )
        return self.axes[key]

    def table(self, group: Group, scale: float) -> Table:
        """A table with slew (or for constraints the constrained pin's slew) along its rows, in our units."""
        template = self.templates.get(group.title())
        shared, named = (template.calls, template.values) if template else ({}, {})
        axes, variables = [], []
        try:
            for n in ("1", "2"):
                text = group.calls.get("index_" + n, shared.get("index_" + n))
                variable = named.get("variable_" + n, "" if n == "1" else _LOADS[0])
                if text is not None and (template or "index_" + n in group.calls):
                    axes.append(self.axis(text, self.units.load if variable in _LOADS else self.units.time))
                    variables.append(variable)
            raw = group.calls["values"].replace('"', " ").replace("\\", " ").replace(",", " ")
            values = np.array(raw.split(), dtype=np.float64) * scale
        except KeyError:
            raise self.fail(group, "has no values") from None
        except ValueError:
            raise self.fail(group, "holds something that is no number") from None
        shape = tuple(map(len, axes))
        if values.size != int(np.prod(shape)) or any(
            b <= a for axis in axes for a, b in zip(axis, axis[1:], strict=False)
        ):
            raise self.fail(
                group, f"has {values.size} values on axes of {' x '.join(map(str, shape)) or 'no'} rising points"
            )
        if not np.isfinite(values).all():
            raise self.fail(group, "holds a value that is not finite")
        values = values.reshape(shape)
        if len(axes) == 2:
            swap = variables[0] in _LOADS
            return Table(axes[swap], axes[not swap], values.T.copy() if swap else values)
        if not axes:
            return Table((0.0,), (0.0,), values.reshape(1, 1))
        if variables[0] in _LOADS:
            return Table((0.0,), axes[0], values.reshape(1, -1))
        return Table(axes[0], (0.0,), values.reshape(-1, 1))

    def arcs(self, pin: Group) -> tuple[Arc, ...]:
        found = []
        for timing in pin.of("timing"):
            tables = {g.name: self.table(g, self.units.time) for g in timing.of(*TIMING_TABLES)}
            get = timing.values.get
            for related in get("related_pin", "").split():
                found.append(
                    Arc(
                        related,
                        get("timing_sense", "non_unate"),
                        get("timing_type", "combinational"),
                        get("when"),
                        tables,
                    )
                )
        return tuple(found)

    def powers(self, pin: Group, supplies: set[str]) -> tuple[Power, ...]:
        """Internal energies; those drawn from several supply pins under one condition are added up."""
        found: dict[tuple[str | None, str | None, str], Power] = {}
        for group in pin.of("internal_power"):
            get, supply = group.values.get, group.values.get("related_pg_pin", "")
            if supply and supplies and supply not in supplies:
                continue  # what flows into ground was drawn from the supply: counting it again would double it
            tables = {g.name: self.table(g, self.units.energy) for g in group.of("power", "rise_power", "fall_power")}
            both = tables.get("power")
            for related in get("related_pin", "").split() or [None]:
                power = Power(related, get("when"), tables.get("rise_power", both), tables.get("fall_power", both))
                key = (related, get("when"), supply)
                found[key] = power
        return _summed(found)

    def pin(self, group: Group, name: str, supplies: set[str]) -> Pin:
        direction = group.values.get("direction", "")
        if direction not in ("input", "output", "inout", "internal"):
            raise self.fail(group, f"has the direction {direction!r}; expected input, output, inout or internal")
        rise, fall = (self.number(group, f"{edge}_capacitance", 0.0) for edge in ("rise", "fall"))
        capacitance = self.number(group, "capacitance", (rise + fall) / 2)
        limit = self.number(group, "max_capacitance") if "max_capacitance" in group.values else None
        function = group.values.get("function")
        if function is not None:
            try:
                parse_function(function)
            except ValueError as error:
                raise self.fail(group, str(error)) from None
        return Pin(
            name,
            direction,
            capacitance * self.units.load,
            function,
            None if limit is None else limit * self.units.load,
            group.values.get("clock") == "true",
            self.arcs(group),
            self.powers(group, supplies),
        )

    def cell(self, group: Group) -> Cell:
        supplies = {g.title() for g in group.of("pg_pin") if g.values.get("pg_type", "").endswith("power")}
        pins = []
        for pin in group.of("pin"):
            for name in pin.head.replace('"', " ").replace(",", " ").split():
                pins.append(self.pin(pin, name, supplies))
        states, average = self.leakage(group, supplies)
        kind, state = self.kind(group, pins)
        dont_use = group.values.get("dont_use") == "true"
        area = self.number(group, "area", 0.0)
        if area < 0:
            raise self.fail(group, f"has the area {area:g}; an area is not negative")
        return Cell(group.title(), area, average, tuple(pins), kind, states, state, dont_use)

    def leakage(self, group: Group, supplies: set[str]) -> tuple[tuple[tuple[str, float], ...], float]:
        """Leakage per state, and the cell's: the file's own figure, else the mean over its states."""
        states: dict[str, float] = {}
        for power in group.of("leakage_power"):
            supply = power.values.get("related_pg_pin", "")
            if not (supply and supplies and supply not in supplies):
                when = power.values.get("when", "")
                states[when] = states.get(when, 0.0) + self.number(power, "value") * self.units.leakage
        plain = states.pop("", None)
        if "cell_leakage_power" in group.values:
            plain = self.number(group, "cell_leakage_power") * self.units.leakage
        if plain is None:
            plain = float(np.mean(list(states.values()))) if states else 0.0
        return tuple(states.items()), plain

    def kind(self, group: Group, pins: list[Pin]) -> tuple[str, dict[str, str]]:
        for register in group.of("ff", "latch"):
            names = [part.strip().strip('"') for part in register.head.split(",")]
            state = dict(zip(("q", "qn"), names, strict=False)) | register.values
            return ("flip_flop" if register.name == "ff" else "latch"), state
        odd = "clock_gating_integrated_cell" in group.values or any(
            g.name in ("statetable", "ff_bank", "latch_bank", "test_cell", "bus", "bundle") for g in group.groups
        )
        if (
            odd
            or any("three_state" in pin.values for pin in group.of("pin"))
            or any(pin.direction in ("inout", "internal") for pin in pins)
        ):
            return "other", {}
        inputs = {pin.name for pin in pins if pin.direction == "input"}
        outputs = [pin for pin in pins if pin.direction == "output"]
        known = bool(outputs) and all(
            pin.function is not None and inputs >= set(pins_of(parse_function(pin.function))) for pin in outputs
        )
        return ("combinational" if known else "other"), {}


def _summed(found: dict[tuple[str | None, str | None, str], Power]) -> tuple[Power, ...]:
    summed: dict[tuple[str | None, str | None], Power] = {}
    for (related, when, _), power in found.items():
        other = summed.get((related, when))
        summed[related, when] = (
            power if other is None else Power(related, when, _add(other.rise, power.rise), _add(other.fall, power.fall))
        )
    return tuple(summed.values())


def _add(a: Table | None, b: Table | None) -> Table | None:
    if a is None or b is None:
        return a or b
    if (a.slew, a.load) == (b.slew, b.load):
        return Table(a.slew, a.load, a.values + b.values)
    slew, load = np.meshgrid(a.slew, a.load, indexing="ij")
    return Table(a.slew, a.load, a.values + b.at(slew, load))


# ---------------------------------------------------------------- files


def read_liberty(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Library:
    """One library from one or several Liberty files (plain or gzip), merged in the order given.

    Reading is cached by content, for a kit's files can be tens of megabytes. Raises LibertyError for a damaged file
    (with its line), for a cell that two files define, or for files at different voltages; FileNotFoundError where a
    path leads nowhere.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise LibertyError("no Liberty file given")
    contents = [(Path(path).name, _content(Path(path))) for path in listed]
    digest = hashlib.sha256(READER.encode())
    for name, content in contents:
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    cached = cache_dir() / "liberty" / f"{digest.hexdigest()}.json"
    try:
        return from_data(json.loads(cached.read_bytes()))
    except (OSError, ValueError, LookupError, TypeError):
        pass  # not there yet, or damaged: read the files
    library = _merge([parse_liberty(content.decode("latin-1"), name) for name, content in contents], digest.hexdigest())
    if sum(len(content) for _, content in contents) > 500_000:
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cached, to_json(library))
    return library


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"Liberty file {path} does not exist")
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise LibertyError(f"{path.name}: the gzip file is damaged or truncated ({error})") from None


def parse_liberty(text: str, name: str) -> Library:
    """The library of one Liberty text; `name` is what errors and the library's source call it."""
    group = parse_groups(text, name)
    reader = _Reader(group, text, name)
    cells = {}
    for item in group.of("cell"):
        cell = reader.cell(item)
        if cell.name in cells:
            raise reader.fail(item, "is defined twice")
        cells[cell.name] = cell
    if not cells:
        raise LibertyError(f"{name}: library {group.title()} has no cells")
    voltage, temperature = (
        reader.number(group, f"nom_{what}", default) for what, default in (("voltage", 1.0), ("temperature", 25.0))
    )
    return Library(group.title(), voltage, temperature, cells, name, hashlib.sha256(text.encode("latin-1")).hexdigest())


def _merge(libraries: list[Library], digest: str) -> Library:
    first, cells = libraries[0], {}
    for library in libraries:
        if abs(library.voltage - first.voltage) > 1e-6 or abs(library.temperature - first.temperature) > 1e-6:
            raise LibertyError(
                f"{library.source} is at {library.voltage} V, {library.temperature} C, but {first.source} at "
                f"{first.voltage} V, {first.temperature} C; give files of one corner"
            )
        for name, cell in library.cells.items():
            if name in cells:
                raise LibertyError(f"cell {name} is defined twice, the second time in {library.source}")
            cells[name] = cell
    name = os.path.commonprefix([library.name for library in libraries]).rstrip("_") or first.name
    return replace(first, name=name, cells=cells, source=", ".join(lib.source for lib in libraries), digest=digest)
