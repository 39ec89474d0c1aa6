"""Imports run one way, and `import carrysave` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import carrysave

SOURCE = Path(carrysave.__file__).parent

# From left to right; a part may import its own line and the lines above, those inside functions included.
# A new part of the package takes its place here.
ORDER = [
    {"paths", "bits", "adder_graphs", "planes", "registry", "native", "toml_lines", "table_files"},
    {"formats"},
    {"multipliers"},
    {"tables", "errors"},
    {"hardware"},
    {"data", "histograms", "ranges", "recipes", "quantizers", "running"},
    {"engines"},
    {"slopes", "settings", "retraining", "preparation", "gradients", "operators"},
    {"layers", "functional", "emulation", "calibration"},
    {"training", "quantized_training", "onnx_import"},
    {"evaluation", "networks", "bench"},
    {"methods"},
    {"study", "results", "store", "trials", "loading", "questions", "records", "exploration", "powers"},
    {"samples", "toolbox"},
    {"reproductions"},
    {"report"},
    {"description", "clocked"},
    {"run_command", "design_command", "assembly_command", "unit_command"},
    {"cli"},
]
PLACE = {part: place for place, parts in enumerate(ORDER) for part in parts}
APART = {"engines": "hardware", "layers": "hardware", "emulation": "hardware", "calibration": "hardware"}
DRAWN = {("results", "report")}  # results.save("report.html") reaches the drawing inside a function, as users expect
HEAVY = ("sklearn", "scipy", "matplotlib", "plotly", "optuna", "pyosys", "amaranth", "pyscipopt")

FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each import that runs, `from carrysave import x` as carrysave.x."""
    tree = ast.parse(path.read_text(), str(path))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def loaded_after(program: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `program`."""
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*{{m.split('.')[0] for m in sys.modules}})"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=SOURCE.parent)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_every_part_has_its_place():
    parts = {part_of(path) for path in FILES}
    assert parts <= PLACE.keys(), f"{parts - PLACE.keys()}: give them a line of ORDER in {__file__}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_from_left_to_right(path):
    part = part_of(path)
    if part not in PLACE:
        pytest.skip("test_every_part_has_its_place speaks of it")
    for line, name in imports(path):
        words = name.split(".")
        if words[0] != "carrysave" or words[1] not in PLACE:
            continue  # `from carrysave import multiplier`, a name of the package itself
        if (part, words[1]) in DRAWN:
            continue
        assert PLACE[words[1]] <= PLACE[part], f"{path}:{line}: {part} imports {name}, which stands to its right"
        assert APART.get(part) != words[1], f"{path}:{line}: {part} and {words[1]} know nothing of each other"


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) == "multipliers"], ids=lambda path: path.name)
def test_multipliers_see_only_words(path):
    for line, name in imports(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or top == "carrysave", f"{path}:{line}: multipliers do not import {name}"


def test_importing_carrysave_is_light():
    loaded = loaded_after("import carrysave")
    assert not loaded & {*HEAVY, "torch"}, "left to the functions that need them"


def test_the_parts_load_no_more_than_they_may():
    assert not loaded_after("import carrysave.multipliers") & {"amaranth", "torch"}
    hardware = [
        ".".join(("carrysave", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for path in FILES
        if part_of(path) == "hardware"
    ]
    assert not loaded_after(f"import {', '.join(hardware)}") & {"torch", "sklearn", "matplotlib"}
    learning = "import carrysave.data, carrysave.networks, carrysave.training, carrysave.evaluation"
    assert not loaded_after(learning) & {*HEAVY}
