"""Reproductions are found by name, show the paper's figure beside ours, and say where a check is missed."""

from __future__ import annotations

import io

import pytest

from carrysave.registry import SpecError
from carrysave.reproductions import REPRODUCTIONS, Check, Reproduction, Setting
from carrysave.reproductions.base import Bars, named, ratio, shown
from carrysave.reproductions.heam_designs import DESIGNS


def test_names():
    assert {"heam-table1", "heam-figure4", "compact-library"} <= REPRODUCTIONS.keys()
    with pytest.raises(SpecError, match="did you mean 'heam-table1'"):
        named("heam-tabel1")


def test_the_papers_ratios():
    # the abstract of the HEAM paper: 44.94 % less area and 47.63 % less power than exact; 15.76 % and 25.05 % than KMap
    paper = {design.name: design for design in DESIGNS}
    heam, exact, kmap = paper["HEAM"], paper["Exact"], paper["KMap"]
    assert ratio(heam.area_um2, exact.area_um2) == pytest.approx(1 - 0.4494, abs=5e-5)
    assert ratio(heam.power_uw, exact.power_uw) == pytest.approx(1 - 0.4763, abs=5e-5)
    assert ratio(heam.area_um2, kmap.area_um2) == pytest.approx(1 - 0.1576, abs=5e-5)
    assert ratio(heam.power_uw, kmap.power_uw) == pytest.approx(1 - 0.2505, abs=5e-5)
    assert ratio(paper["OU (L.3)"].area_um2, exact.area_um2) is None


@pytest.mark.parametrize(
    ("cell", "text"), [(None, "-"), (0.123456, "0.1235"), (12345.6, "12346"), (1e-15, "0"), ("a", "a"), (3, "3")]
)
def test_cells_as_text(cell, text):
    assert shown(cell) == text


def test_markdown_says_what_is_missed():
    checks = (Check("a / b", 0.5, "0.4 +- 0.05", False), Check("c", 1.0, "1", True))
    made = Reproduction("x", "A table", "paper, Table 1", ("design", "paper"), (("HEAM", None),), checks, ("a note",))
    text = made.markdown("carrysave reproduce x")
    assert "| HEAM | - |" in text and "| a / b | 0.5 | 0.4 +- 0.05 | MISSED |" in text and "| c | 1 | 1 | met |" in text
    assert "`carrysave reproduce x`" in text and text.endswith("a note\n")


def test_the_full_library_is_taken_from_the_data(shared_data, monkeypatch):
    monkeypatch.delenv("CARRYSAVE_DATA", raising=False)
    assert len(Setting(shared_data).library().cells) == 202
    assert len(Setting().library().cells) == 88
    with pytest.raises(ValueError, match="give the full library by --liberty"):
        REPRODUCTIONS["compact-library"].run(Setting())


def test_the_papers_figure_stands_beside_ours_in_the_terminal():
    from rich.console import Console

    from carrysave.report.reproduced import picture, print_reproduction

    columns = ("design", "area um2", "paper", "delay ps")
    curves = {"area um2|HEAM": [(1.0, 12.5), (2.0, 13.0)], "power uW|HEAM": [(1.0, 16.0)]}
    made = Reproduction("x", "A table", "paper", columns, (("HEAM", 14.17, 17.53, 262.0),), (), (), (), curves)
    console = Console(width=100, record=True, file=io.StringIO())
    print_reproduction(made, console)
    text = console.export_text()
    assert "area um2 (paper)" in text and "14.17 (17.53)" in text and "delay ps" in text and "262" in text
    drawn = picture(made)
    assert drawn is not None and drawn.startswith(b"\x89PNG")


def test_stacked_bars_are_drawn_and_nothing_is_not():
    from carrysave.report.reproduced import picture

    bars = (Bars("area um2", ("float32", "fixed4"), {"adders": (3.0, 1.0), "multipliers": (5.0, 0.5)}),)
    empty = Reproduction("x", "A table", "paper", ("design",), ())
    drawn = picture(Reproduction("x", "A table", "paper", ("design",), (), bars=bars))
    assert drawn is not None and drawn.startswith(b"\x89PNG") and picture(empty) is None
