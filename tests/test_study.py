"""Study files: every error at once, each with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

import carrysave as cs
from carrysave.questions import study_recipe
from carrysave.study import Study, StudyError, load_recipes, load_study
from carrysave.toml_lines import line_of, toml_lines

STUDIES = Path(__file__).resolve().parent.parent / "studies"

WRONG = """\
netwrk = "lenet"
data = "mnst"
multipliers = [
  "exact",  # a comment, with [brackets]
  "drumm:k=6",
  "drum:k=99",
  "exact",
]
[calibration]
samples = "512"
ranges = "minmx"
[costs]
liberty = ["nowhere.lib"]
effort = "quik"
[[recipes]]
name = "mixed"
rules = [
  {layers = "*", float = true, multiplier = "exact"},
  {layer = "*"},
]
[[recipes]]
name = "mixed"
rules = []
"""

MESSAGES = {
    (1, "netwrk"): "unknown key (did you mean 'network'?)",
    (1, "network"): 'missing; a study says which network: network = "lenet" or network = "my_net.py:model"',
    (2, "data"): "unknown data set 'mnst' (did you mean 'mnist'?); known: digits, mnist, fashion_mnist, cifar10, cora",
    (5, "multipliers[2]"): "did you mean 'drum'?",
    (6, "multipliers[3]"): "drum",
    (7, "multipliers[4]"): "'exact' is listed twice",
    (10, "calibration.samples"): "input should be a valid integer, got '512'",
    (11, "calibration.ranges"): "did you mean 'minmax'?",
    (13, "costs.liberty[1]"): "no file",
    (14, "costs.effort"): "unknown value 'quik' (did you mean 'quick'?); known: quick, normal",
    (18, "recipes[1].rules[1]"): "float = true leaves no room for multiplier",
    (19, "recipes[1].rules[2].layers"): "missing; a rule says for which layers",
    (19, "recipes[1].rules[2].layer"): "unknown key (did you mean 'layers'?)",
    (22, "recipes[2].name"): "the name 'mixed' is taken",
    (23, "recipes[2].rules"): "must have at least 1 entry, got none",
}


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "study.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_error_is_reported_at_once_with_its_line(tmp_path: Path, newline: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(write(tmp_path, WRONG.replace("\n", newline)))
    found = {(problem.line, problem.where): problem.message for problem in caught.value.problems}
    assert set(found) == set(MESSAGES)
    for place, words in MESSAGES.items():
        assert words in found[place]
    text = str(caught.value).splitlines()
    assert text[0] == f"{tmp_path / 'study.toml'}: {len(MESSAGES)} errors"
    assert [int(line.split()[1].rstrip(":")) for line in text[1:]] == sorted(line for line, _ in MESSAGES)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (b'network = "lenet"\ndata = digits\n', 2, "invalid value"),
        (b'network = "lenet"\nnetwork = "lenet"\n', 2, "overwrite"),
        (b'network = "lenet"\nmultipliers = [\n  "exact"\n', 3, "unclosed array"),
        (b'network = "lenet"\ndata = "\xff"\n', 2, "not UTF-8"),
    ],
)
def test_what_is_no_toml_names_the_line(tmp_path: Path, text: bytes, line: int, words: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(write(tmp_path, text))
    (problem,) = caught.value.problems
    assert problem.line == line
    assert words in problem.message


def test_a_study_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="line 1: nothing to compare"):
        load_study(write(tmp_path, 'network = "lenet"\ndata = "digits"\n'))


UNFIT = """\
network = "lenet"
data = "digits"
multipliers = [
  "kulkarni",
  "exact:n=9",
]
formats.activation = "affine:bits=9"
[[recipes]]
name = "mixed"
rules = [
  {layers = "conv1", multiplier = "exact:n=10"},
  {layers = "*", multiplier = "mitchell_w:w=6"},
]
"""


def test_formats_that_do_not_fit_are_reported_with_their_lines(tmp_path: Path) -> None:
    def problems(text: str) -> dict[str, str]:
        with pytest.raises(StudyError) as caught:
            load_study(write(tmp_path, text))
        return {f"{problem.line} {problem.where}": problem.message for problem in caught.value.problems}

    found = problems(UNFIT)
    assert list(found) == ["4 multipliers[1]", "12 recipes[1].rules[2]"]
    assert found["4 multipliers[1]"].startswith("kulkarni: the activation format affine:bits=9 has codes 0 to 511, but")
    assert found["12 recipes[1].rules[2]"].startswith("mitchell_w:w=6: the activation format")
    found = problems(UNFIT.replace('"exact:n=9"', '"drum:n=9,k=6"'))
    assert found["7 formats"].startswith("the baseline, exact: the activation format affine:bits=9")


def test_values_of_another_kind_are_answered_in_plain_words(tmp_path: Path) -> None:
    start = 'network = "lenet"\ndata = "digits"\nmultipliers = ["exact"]\n'
    for text, words in (
        ('costs = "quick"\n', "costs: must be a table with liberty or effort or frequency_ghz, got 'quick'"),
        ('[costs]\neffort = "slow"\n', "costs.effort: unknown value 'slow'; known: quick, normal"),
        ("recipes = [3]\n", "recipes[1]: must be a table with name or rules, got 3"),
        ('[[recipes]]\nname = ""\nrules = [{layers = "*"}]\n', "recipes[1].name: must not be empty"),
        ("xyzzy = 1\n", "xyzzy: unknown key; known: network, data, title"),
    ):
        with pytest.raises(StudyError) as caught:
            load_study(write(tmp_path, start + text))
        (line,) = str(caught.value).splitlines()[1:]
        assert line.split(": ", 1)[1].startswith(words), line


def test_a_file_of_ones_own_must_be_there_and_name_an_object(tmp_path: Path) -> None:
    text = 'network = "net.py"\ndata = "data.py:test"\nmultipliers = ["exact"]\n'
    with pytest.raises(StudyError) as caught:
        load_study(write(tmp_path, text))
    assert "names a file without saying which object in it" in str(caught.value)
    assert f"line 2: data: no file {tmp_path / 'data.py'}" in str(caught.value)


def test_a_right_study_keeps_its_values_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("model = None\n")
    text = """
    network = "net.py:model"
    data = "digits"
    test_images = 100
    formats.weight_scales = "channel"
    [[recipes]]
    name = "first exact"
    [[recipes.rules]]
    layers = "conv1"
    multiplier = "exact"
    [[recipes.rules]]
    layers = "*"
    float = true
    """
    study = load_study(write(tmp_path, text))
    assert (study.test_images, study.seed, study.formats.weight_scales) == (100, 0, "channel")
    assert [(rule.layers, rule.multiplier, rule.float) for rule in study.recipes[0].rules] == [
        ("conv1", "exact", False),
        ("*", None, True),
    ]
    assert study.beside("net.py") == tmp_path / "net.py"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_studies_of_the_project_are_right(path: Path) -> None:
    assert isinstance(load_study(path), Study)


DOCUMENT = '''\
title = """
two lines, "quoted" # no comment
"""
"quoted key".inner = 'literal # [no comment]'

list = [ 1, [2,
  3],
  {a = 4, b = "}"}]  # ]
when = 1979-05-27T07:32:00Z
[table]  # [not.this]
x.y = 1.5
[[array]]
name = "first"
[array.sub]
z = true
[[array]]
[[array.deep]]
q = 0
'''


def test_lines_of_every_key_and_element() -> None:
    tomllib.loads(DOCUMENT)
    lines = toml_lines(DOCUMENT)
    expected = {
        ("title",): 1,
        ("quoted key", "inner"): 4,
        ("list", 0): 6,
        ("list", 1, 0): 6,
        ("list", 1, 1): 7,
        ("list", 2, "a"): 8,
        ("list", 2, "b"): 8,
        ("when",): 9,
        ("table",): 10,
        ("table", "x", "y"): 11,
        ("array",): 12,
        ("array", 0, "name"): 13,
        ("array", 0, "sub", "z"): 15,
        ("array", 1): 16,
        ("array", 1, "deep", 0): 17,
        ("array", 1, "deep", 0, "q"): 18,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert line_of(lines, ("array", 1, "missing", "key")) == 16
    assert line_of(lines, ("missing",)) == 1


def test_every_value_that_tomllib_reads_has_a_line() -> None:
    def paths(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [at, *(path for key, part in inner for path in paths(part, (*at, key)))]

    for text in (DOCUMENT, *(path.read_text() for path in STUDIES.glob("*.toml"))):
        lines = toml_lines(text)
        assert set(paths(tomllib.loads(text))) <= set(lines)


def test_files_of_multipliers_lie_beside_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder: table:FILE and compressed:FILE.json in the list, and in a recipe's rules."""
    folder, elsewhere = tmp_path / "studies", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    np.save(folder / "exact.npy", np.outer(np.arange(256), np.arange(256)))
    (folder / "design.json").write_text(cs.multiplier("compressed:heam").design.json)
    path = write(
        folder,
        'network = "lenet"\ndata = "digits"\n'
        'multipliers = ["table:exact.npy", "compressed:design.json", "compressed:heam"]\n'
        '[[recipes]]\nname = "own"\nrules = [{layers = "*", multiplier = "table:file=exact.npy"}]\n',
    )
    study = load_study(path)
    table, design, heam = (cs.multiplier(spec) for spec in study.multipliers)
    assert table.file == str(folder / "exact.npy") and (table.entries[7, 9], table.entries[255, 255]) == (63, 65025)
    assert design.key == heam.key and heam.source == "heam"
    assert cs.multiplier(study.recipes[0].rules[0].multiplier) == table
    assert [recipe.name for recipe in load_recipes(path).recipes] == ["own"]
    path.write_text('network = "lenet"\ndata = "digits"\nmultipliers = ["table:absent.csv"]\n')
    with pytest.raises(StudyError, match=r"line 3: multipliers\[1\]: .*no table file .*studies.absent\.csv"):
        load_study(path)


def test_recipes_alone(tmp_path: Path) -> None:
    path = write(tmp_path, '[formats]\nweight = "affine:bits=4"\n[[recipes]]\nname = "a"\nrules = [{layers = "fc*"}]\n')
    found = load_recipes(path)
    rule = study_recipe(found, found.recipes[0].rules).rules[0]
    assert rule.pattern == "fc*" and rule.arithmetic == cs.Arithmetic(weight="affine:bits=4")
    path.write_text("[[recipe]]\nname = 'a'\n")
    with pytest.raises(
        StudyError, match=r"(?s)recipes: missing; .*line 1: recipe: unknown key \(did you mean 'recipes'\?\)"
    ):
        load_recipes(path)
