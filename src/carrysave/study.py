"""A study file: the question, as data. Every error in it is reported at once, each with its line.

```toml
title = "Which multiplier does a small LeNet tolerate?"
network = "lenet"               # or "my_net.py:model", a Python file beside the study (it is executed)
data = "digits"                 # or "my_data.py:test"
multipliers = ["exact", "kulkarni", "drum:k=6"]    # "table:products.csv" lies beside the study
seed = 0

[calibration]
samples = 512
ranges = "minmax"

[costs]
effort = "quick"
frequency_ghz = 1.0             # the clock at which power and energy are stated

[[recipes]]                     # as many as wanted, beside the plain multipliers
name = "first layer exact"
rules = [{layers = "conv1", multiplier = "exact"}, {layers = "*", multiplier = "drum:k=6"}]
```
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from carrysave import data, networks
from carrysave.registry import nearest
from carrysave.toml_lines import line_of, toml_lines


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a study file: its line (from 1), the key's path as text, what to do."""

    line: int
    where: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.where}: {self.message}" if self.where else f"line {self.line}: {self.message}"


class StudyError(ValueError):
    """All problems of one study file."""

    def __init__(self, path: Path, problems: Iterable[Problem]):
        self.path = path
        self.problems = sorted(problems, key=lambda problem: problem.line)
        count = len(self.problems)
        head = f"{path}: {count} error{'s' if count > 1 else ''}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


def _multiplier(spec: str, info: ValidationInfo) -> str:
    from carrysave.multipliers import MULTIPLIERS

    found = beside(spec, Path((info.context or {}).get("folder", ".")))
    MULTIPLIERS.parse(found)
    return found


def beside(spec: str, folder: Path) -> str:
    """A multiplier's spec with the file that it names taken from `folder`: table:FILE, compressed:FILE.json."""
    name, _, arguments = spec.strip().partition(":")
    parts = arguments.split(",")
    for index, part in enumerate(parts):
        key, equals, value = (word.strip() for word in part.partition("="))
        file = value if equals else key
        named = (name == "table" and key == "file") or (name == "compressed" and key == "source")
        if (named or not equals) and (name == "table" or (name == "compressed" and file.endswith(".json"))):
            parts[index] = f"{key}={folder / file}" if equals else str(folder / file)
            return f"{name}:{','.join(parts)}"
    return spec


def _format(spec: str) -> str:
    from carrysave.formats import FORMATS

    FORMATS.parse(spec)
    return spec


def _ranges(spec: str) -> str:
    from carrysave.ranges import RANGES

    RANGES.parse(spec)
    return spec


def is_file_name(text: str) -> bool:
    """`my_net.py:model` names an object in a Python file; anything else is a name of carrysave's own."""
    return re.search(r"\.py(:|$)", text) is not None


def _known(kind: str, names: tuple[str, ...], example: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if is_file_name(text):
            if not re.fullmatch(r".+\.py:[A-Za-z_]\w*", text):
                raise ValueError(f"'{text}' names a file without saying which object in it; write {example}")
        elif text not in names:
            known = ", ".join(names)
            raise ValueError(f"unknown {kind} '{text}'{nearest(text, names)}; known: {known}, or your own: {example}")
        return text

    return check


MultiplierSpec = Annotated[str, AfterValidator(_multiplier)]
FormatSpec = Annotated[str, AfterValidator(_format)]
NetworkName = Annotated[str, AfterValidator(_known("network", networks.NAMES, "my_net.py:model"))]
DataName = Annotated[str, AfterValidator(_known("data set", data.NAMES, "my_data.py:test"))]
RangesSpec = Annotated[str, AfterValidator(_ranges)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Formats(_Table):
    """Number formats of all layers that a recipe does not treat otherwise.

    By default each multiplier's usual ones: unsigned affine as wide as its operands, fixed point if it is signed.
    """

    activation: FormatSpec | None = None
    weight: FormatSpec | None = None
    weight_scales: Literal["tensor", "channel"] = "tensor"


class CalibrationTable(_Table):
    """Where ranges and histograms come from: `samples` of `data` (default: the training half of the study's)."""

    samples: int = Field(default=512, ge=1)
    data: DataName | None = None
    ranges: RangesSpec = "minmax"


class Costs(_Table):
    """Standard cells to synthesise with (Liberty files; empty: the compact library), how hard to try, and the clock at
    which power and energy are stated.
    """

    liberty: list[str] = []
    effort: Literal["quick", "normal"] = "normal"
    frequency_ghz: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)


class RuleTable(_Table):
    """What layers whose name or class matches `layers` compute with; `float = true` leaves them as they are."""

    layers: str
    multiplier: MultiplierSpec | None = None
    activation: FormatSpec | None = None
    weight: FormatSpec | None = None
    ranges: RangesSpec | None = None
    float: bool = False


class RecipeTable(_Table):
    """A named recipe: rules in order, the first match wins."""

    name: str = Field(min_length=1)
    rules: list[RuleTable] = Field(min_length=1)


class RecipeFile(_Table):
    """The recipes of a file, with what the rules leave open; a study is one, and may say more."""

    recipes: list[RecipeTable] = Field(min_length=1)
    formats: Formats = Formats()
    calibration: CalibrationTable = CalibrationTable()


class Study(_Table):
    """A checked study file. `folder` is where relative paths in it start."""

    network: NetworkName
    data: DataName
    title: str = ""
    multipliers: list[MultiplierSpec] = []
    recipes: list[RecipeTable] = []
    formats: Formats = Formats()
    calibration: CalibrationTable = CalibrationTable()
    costs: Costs = Costs()
    test_images: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    folder: str = Field(default=".", exclude=True)

    def beside(self, name: str) -> Path:
        """A path named in the file, relative to the file's own folder."""
        return Path(self.folder) / name


_HINTS = {
    "network": 'a study says which network: network = "lenet" or network = "my_net.py:model"',
    "data": 'a study says on which data: data = "digits" or data = "my_data.py:test"',
    "layers": 'a rule says for which layers: layers = "conv1" or layers = "*"',
    "name": 'a recipe needs a name: name = "first layer exact"',
    "recipes": "name recipes with [[recipes]]",
    "rules": 'a recipe needs rules = [{layers = "*", multiplier = "drum:k=6"}]',
}


def _dotted(path: tuple[Any, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields_at(path: tuple[Any, ...]) -> list[str]:
    """The keys that the table at `path` may have, or a table in the list there."""
    model: Any = Study
    for part in path:
        if isinstance(part, str):
            model = model.model_fields[part].annotation
            if get_origin(model) is list:
                model = get_args(model)[0]
    return [name for name in model.model_fields if name != "folder"]


def _friendly(error: Any) -> str:
    kind, path, given = error["type"], error["loc"], error["input"]
    if kind == "missing":
        return f"missing; {_HINTS.get(str(path[-1]), 'it must be given')}"
    if kind == "extra_forbidden":
        keys = _fields_at(path[:-1])
        return f"unknown key{nearest(str(path[-1]), keys) or '; known: ' + ', '.join(keys)}"
    if kind == "literal_error":
        field = error["ctx"]["expected"].replace("' or '", "', '").strip("'").split("', '")
        return f"unknown value {given!r}{nearest(str(given), field)}; known: {', '.join(field)}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in ("model_type", "model_attributes_type"):
        return f"must be a table with {' or '.join(_fields_at(path))}, got {given!r}"
    if kind in ("too_short", "string_too_short"):
        return "must have at least 1 entry, got none" if kind == "too_short" else "must not be empty"
    message = error["msg"]
    return f"{message[0].lower()}{message[1:]}, got {given!r}"


def _tables(value: Any) -> list[dict[str, Any]]:
    return [table if isinstance(table, dict) else {} for table in value] if isinstance(value, list) else []


def _consistency(values: dict[str, Any], folder: Path) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """What no single key can show: files that are not there, names given twice, rules that say nothing.

    Reads the unchecked document, so that these are reported together with everything that pydantic finds.
    """
    given = values.get("multipliers")
    specs: list[Any] = given if isinstance(given, list) else []
    recipes = _tables(values.get("recipes"))
    if not values.get("multipliers") and not values.get("recipes"):
        yield (), 'nothing to compare; give multipliers = ["kulkarni", "drum:k=6"] or [[recipes]]'
    for index, spec in enumerate(specs):
        if spec in specs[:index]:
            yield ("multipliers", index), f"'{spec}' is listed twice"
    for index, recipe in enumerate(recipes):
        name = recipe.get("name")
        if name is not None and name in [*specs, "float", "exact", *(other.get("name") for other in recipes[:index])]:
            yield ("recipes", index, "name"), f"the name '{name}' is taken; choose another"
        for number, rule in enumerate(_tables(recipe.get("rules"))):
            said = [key for key in ("multiplier", "activation", "weight", "ranges") if key in rule]
            if rule.get("float") is True and said:
                yield ("recipes", index, "rules", number), f"float = true leaves no room for {', '.join(said)}"
    yield from _missing_files(values, folder)


def _missing_files(values: dict[str, Any], folder: Path) -> Iterable[tuple[tuple[str | int, ...], str]]:
    def section(key: str) -> dict[str, Any]:
        return values[key] if isinstance(values.get(key), dict) else {}

    named: list[tuple[tuple[str | int, ...], Any]] = [
        (("network",), values.get("network")),
        (("data",), values.get("data")),
        (("calibration", "data"), section("calibration").get("data")),
    ]
    for path, name in named:
        if isinstance(name, str) and is_file_name(name) and not (folder / name.rsplit(":", 1)[0]).is_file():
            yield path, f"no file {folder / name.rsplit(':', 1)[0]}"
    liberty = section("costs").get("liberty")
    for index, name in enumerate(liberty if isinstance(liberty, list) else []):
        if isinstance(name, str) and not (folder / name).is_file():
            yield ("costs", "liberty", index), f"no file {folder / name}"


def _misfits(study: Study) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Formats that do not fit the multipliers they meet."""
    from carrysave.questions import arithmetic_for, candidates_of, study_recipe

    def problem(check: Callable[[], Any]) -> str:
        try:
            check()
        except ValueError as error:
            return str(error)
        return ""

    for index, spec in enumerate(study.multipliers):
        if message := problem(lambda spec=spec: arithmetic_for(spec, study.formats)):
            yield ("multipliers", index), message
    listed = any(spec.partition(":")[0] == "exact" for spec in study.multipliers)
    if not listed and (message := problem(lambda: candidates_of([], {}, study.formats))):
        yield ("formats",), f"the baseline, {message}; or list the exact multiplier that is meant, such as exact:n=9"
    for index, recipe in enumerate(study.recipes):
        for number, rule in enumerate(recipe.rules):
            if message := problem(lambda rule=rule: study_recipe(study, [rule])):
                yield ("recipes", index, "rules", number), message


def load_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises StudyError with all its problems, OSError if it cannot be read.
    """
    path = Path(path)
    text, values = _document(path)
    found = list(_consistency(values, path.parent))
    study = None
    try:
        study = Study.model_validate({**values, "folder": str(path.parent)}, context={"folder": path.parent})
    except ValidationError as error:
        found += [(e["loc"], _friendly(e)) for e in error.errors(include_url=False)]
    if study is not None and not found:
        found += _misfits(study)
    if found or study is None:
        raise _study_error(path, text, found)
    return study


def load_recipes(path: str | Path) -> RecipeFile:
    """The recipes of a TOML file: [[recipes]], and [formats] and [calibration] as a study has them.

    Raises StudyError with all its problems, OSError if it cannot be read.
    """
    path = Path(path)
    text, values = _document(path)
    wanted = {
        key: value for key, value in values.items() if key in RecipeFile.model_fields or key not in _fields_at(())
    }
    try:
        return RecipeFile.model_validate(wanted, context={"folder": path.parent})
    except ValidationError as error:
        raise _study_error(path, text, [(e["loc"], _friendly(e)) for e in error.errors(include_url=False)]) from None


def _document(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and what it says. Raises StudyError, OSError."""
    raw = path.read_bytes()
    try:
        text = raw.decode().replace("\r\n", "\n")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StudyError(path, [Problem(line, "", "not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(path, [_syntax(str(error), text)]) from None


def _study_error(path: Path, text: str, found: Iterable[tuple[tuple[Any, ...], str]]) -> StudyError:
    lines = toml_lines(text)
    return StudyError(path, [Problem(line_of(lines, at), _dotted(at), message) for at, message in found])


def study_of_network(network: str, options: dict[str, Any]) -> Study:
    """A study from the command line: `options` are data, multiplier, calibration_data, effort, frequency_ghz and
    seed as given.

    Raises ValueError with everything that is wrong.
    """
    values: dict[str, Any] = {"network": network, "data": options["data"], "multipliers": options["multiplier"]}
    values["calibration"] = {"data": options["calibration_data"]} if "calibration_data" in options else {}
    values["costs"] = {key: options[key] for key in ("effort", "frequency_ghz") if key in options}
    values["seed"] = options.get("seed", 0)
    found = list(_consistency(values, Path(".")))
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        found += [(e["loc"], _friendly(e)) for e in error.errors(include_url=False)]
        study = None
    if found or study is None:
        raise ValueError("; ".join(message for _, message in found))
    return study


def _syntax(message: str, text: str) -> Problem:
    place = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", message)
    line = int(place[1]) if place and place[1] else max(1, len(text.splitlines()))
    words = re.sub(r"\s*\(at .*\)$", "", message)
    return Problem(line, "", f"not valid TOML: {words[0].lower()}{words[1:]}")
