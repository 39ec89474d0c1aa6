"""The report: its rows without pixels, then that each drawing is whole and loads nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.text import Text

from carrysave import report
from carrysave.errors import error_map
from carrysave.multipliers import MULTIPLIERS
from carrysave.report import pictures, tables
from carrysave.report.pages import pages
from carrysave.report.terminal import summary_table
from carrysave.results import (
    METRICS,
    AccuracyFigure,
    CostFigure,
    Kind,
    Layer,
    LayerPlan,
    Paired,
    Point,
    PowerFigure,
    Ran,
    Results,
    Row,
)


def make_power(activity: str, area: float) -> PowerFigure:
    """Of a circuit of three parts: 2 uW for each um2 at 2 GHz."""
    return PowerFigure(
        activity=activity,
        frequency_ghz=2.0,
        load_ff=8.6,
        area_um2=area,
        delay_ps=490.0,
        script="lean/490ps",
        switching_uw=1.5 * area,
        internal_uw=0.4 * area,
        leakage_uw=0.1 * area,
        standard_error_uw=0.25,
        vectors=8192,
        notes=("few vectors <here>",),
        area_parts={"terms": 0.25 * area, "reduction": 0.5 * area, "final adder": 0.25 * area},
        energy_parts={"inputs": 0.1 * area, "terms": 0.2 * area, "reduction": 0.5 * area, "final adder": 0.15 * area},
        matched=0.9,
        path={
            "start": "a[3]",
            "delay_ps": 490.0,
            "steps": [
                {"cell": "NAND2xp5_ASAP7_75t_R", "pin": "A", "net": "n1", "edge": "fall", "delay_ps": 490.0,
                 "arrival_ps": 490.0, "load_ff": 1.5}
            ],
        },
    )  # fmt: skip


def make_row(name: str, kind: Kind, correct: int, area: float, delay: float, paired: Paired | None = None) -> Row:
    percent = correct / 10
    cost = CostFigure(name, (Point(area, 2 * delay, "area"), Point(2 * area, delay, "fast")), 9, "made up")
    errors = {"mean_error": -1.0, "mean_absolute_error": area, "mred": 0.01, "worst_case": 8.0}
    plans = (
        LayerPlan("conv1", "Conv2d", name, "factored", 2, "why <so>"),
        LayerPlan("fc", "Linear", name, "table", None, "x"),
    )
    known = kind != "float"
    return Row(
        name=name,
        kind=kind,
        multipliers=(name,) if known else (),
        accuracy=AccuracyFigure(correct, 1000, percent, percent - 1, min(100.0, percent + 1)),
        against_exact=paired,
        cost=cost if known else None,
        uniform=errors if known else None,
        own=errors if known else None,
        plans=plans if known else (),
        left=(("pool", "no products"),) if known else (),
        seconds=1.0,
        power=make_power("input toggle rate 0.1", area) if known else None,
        own_power=make_power("this network's operands", 2 * area) if known else None,
        macs=1_000_000 if known else 0,
        operands=((1 / 256,) * 256, (0.5, *(0.0,) * 254, 0.5)) if known else None,
    )


@pytest.fixture
def results() -> Results:
    rows = (
        make_row("exact", "exact", 980, 20, 300),
        make_row("float", "float", 982, 0, 0, Paired(4, 2)),
        make_row("kulkarni", "multiplier", 900, 15, 280, Paired(0, 80)),
        make_row("drum:k=6", "multiplier", 978, 16, 330, Paired(5, 7)),
        make_row("truncated:c=6", "multiplier", 979, 18, 290, Paired(1, 2)),
        make_row("mitchell", "multiplier", 975, 18, 320, Paired(1, 6)),
    )
    specs = [name for row in rows for name in row.multipliers]
    return Results(
        title="Which </script> is <b>best</b>?",
        network="lenet",
        data="digits (1,000 test images)",
        rows=rows,
        layers=(Layer("conv1", "Conv2d", 1234, (0.5, 0.0, 0.5, 0.0), (0.25,) * 4),),
        ran=(
            Ran("cost", "exact", 2.5, "here", "2026-01-01T00:00:00+00:00", True),
            Ran("cost", "kulkarni", 1, "here", "", False),
        ),
        sources=(("area", "made up"),),
        multipliers={spec: MULTIPLIERS.parse(spec) for spec in specs},
        frequency_ghz=2.0,
    )


def test_front_is_what_no_other_row_beats(results: Results) -> None:
    def dominated(row: Row, others: tuple[Row, ...], x: str, y: str) -> bool:
        def key(r: Row) -> list[float]:
            return [(r.value(m) or 0) * (1 if METRICS[m].less_is_better else -1) for m in (x, y)]

        mine = key(row)
        return any(all(a <= b for a, b in zip(key(o), mine, strict=True)) and key(o) != mine for o in others)

    for x, y in (
        ("area_um2", "accuracy"),
        ("delay_ps", "accuracy"),
        ("area_um2", "delay_ps"),
        ("accuracy", "area_um2"),
    ):
        pareto = results.pareto(x, y)
        assert {row.name for row in pareto.points} == {row.name for row in results.rows if row.cost}
        expected = {row.name for row in pareto.points if not dominated(row, pareto.points, x, y)}
        assert {row.name for row in pareto.front} == expected
    assert [row.name for row in results.pareto().front] == ["kulkarni", "drum:k=6", "truncated:c=6", "exact"]


def test_an_unknown_metric_or_row_answers_with_the_nearest(results: Results) -> None:
    with pytest.raises(ValueError, match="unknown metric 'area' .did you mean 'area_um2'"):
        results.pareto("area", "accuracy")
    with pytest.raises(ValueError, match="no row 'drum:k=7' .did you mean 'drum:k=6'"):
        results.row("drum:k=7")


def test_savings_are_against_exact(results: Results) -> None:
    rows = {row.name: row for row in tables.summary(results)}
    assert list(rows) == ["float", "exact", "kulkarni", "drum:k=6", "truncated:c=6", "mitchell"]
    assert rows["drum:k=6"].area_saving == pytest.approx(20.0)
    assert rows["drum:k=6"].delay_saving == pytest.approx(-10.0)
    assert rows["exact"].area_saving == 0
    assert rows["float"].area_um2 is None and rows["float"].area_saving is None
    assert rows["kulkarni"].points == pytest.approx(-8.0)
    assert (rows["kulkarni"].difference, rows["exact"].difference) == ("0 gained, 80 lost", "")
    assert [row.tolerated for row in rows.values()] == [False, True, False, True, True, True]
    assert [row.may_be_chance for row in rows.values()] == [True, False, False, True, True, True]


def test_mcnemar_p_values() -> None:
    assert Paired(5, 5).p_value == 1
    assert Paired(0, 0).p_value == 1
    assert Paired(0, 5).p_value == pytest.approx(2 / 32)
    assert Paired(1, 9).p_value == pytest.approx(2 * 11 / 1024)
    assert 0 <= Paired(300, 9000).p_value < 1e-300


def test_conclusion_names_what_saves_most_within_the_tolerance(results: Results) -> None:
    text = tables.conclusion(results).replace("\u00a0", " ")
    assert text == (
        "drum:k=6 saves 20 % of an exact multiplier's area and loses 0.20 points of accuracy: "
        "97.80 % against 98.00 % on 1,000 images, a difference these images cannot tell from chance."
    )
    text = tables.conclusion(results, tolerance=10).replace("\u00a0", " ")
    assert text.startswith("kulkarni saves 25 % of an exact multiplier's area and loses 8.00 points")
    assert "chance" not in text
    text = tables.conclusion(results, tolerance=0.01).replace("\u00a0", " ")
    assert text == (
        "Nothing smaller than exact stays within 0.01 points of its 98.00 %; "
        "the closest, truncated:c=6, saves 10 % of the area and loses 0.10 points."
    )
    only = dataclasses.replace(results, rows=results.rows[:2])
    assert tables.conclusion(only).startswith("Nothing compared here is smaller than exact")
    assert tables.overview(results).replace("\u00a0", " ") == (
        "Of 4 approximate candidates 3 stay within 0.5 points of exact. "
        "The number format alone (exact multipliers) costs 0.20 points against float's 98.20 %."
    )


def unpriced(results: Results, **changes: Any) -> Results:
    rows = tuple(
        dataclasses.replace(row, cost=None, power=None, own_power=None, **(changes if row.kind != "float" else {}))
        for row in results.rows
    )
    return dataclasses.replace(results, rows=rows)


def test_nothing_is_claimed_without_a_cost_to_compare_with(results: Results, tmp_path: Path) -> None:
    failed = unpriced(results, uncosted=(("exact", "exact: no Yosys"),))
    assert tables.conclusion(failed) == "No saving can be stated: exact has no cost to compare with."
    assert tables.remarks(failed) == ["exact has no cost: no Yosys"]
    alone = dataclasses.replace(failed, rows=(results.rows[0], *failed.rows[1:]))
    assert tables.conclusion(alone) == "No saving can be stated: no candidate has a cost to compare with exact's."
    one = unpriced(results, stays_float=(("lstm", "a LSTM cannot be emulated"),))
    assert tables.conclusion(one) == (
        "No saving can be claimed for lenet: 1 layer that multiplies stays float (lstm), "
        "so the accuracies here are of a network that is emulated only in part."
    )
    assert tables.remarks(one) == ["lstm stays float: a LSTM cannot be emulated"]
    recipe = dataclasses.replace(results.rows[2], name="own", kind="recipe", stays_float=(("fc", "rule 'fc'"),))
    some = dataclasses.replace(results, rows=(*results.rows, dataclasses.replace(recipe, cost=None)))
    assert tables.remarks(some) == ["fc stays float: rule 'fc' (in own)"]
    assert tables.conclusion(some) == tables.conclusion(results)
    text = one.save(tmp_path / "r.html").read_text()
    assert 'id="pareto"' not in text and 'id="tradeoffs"' not in text and 'href="#trade"' not in text
    assert "lstm stays float" in text
    assert one.save(tmp_path / "r.png").stat().st_size > 1000
    assert report.save_figures(one, tmp_path / "figures")


def test_one_rule_says_what_is_tolerated(results: Results) -> None:
    """Half a point is what the table prints: 0.502 lost is 0.50, and within the tolerance, everywhere."""

    def lost(correct: int) -> tables.SummaryRow:
        accuracy = AccuracyFigure(correct, 100_000, correct / 1000, 97.0, 98.0)
        rows = (results.rows[0], dataclasses.replace(results.rows[2], accuracy=accuracy))
        return tables.summary(dataclasses.replace(results, rows=rows))[-1]

    assert lost(97_498).tolerated and tables.number(lost(97_498).points, 2) == "−0.50"
    assert not lost(97_494).tolerated and tables.number(lost(97_494).points, 2) == "−0.51"
    accuracy = AccuracyFigure(97_498, 100_000, 97.498, 97.0, 98.0)
    both = dataclasses.replace(results, rows=(results.rows[0], dataclasses.replace(results.rows[2], accuracy=accuracy)))
    assert "1 stays within 0.5 points" in tables.overview(both)
    (name,) = [cell for cell in summary_table(both, 160).columns[0].cells if str(cell).startswith("kulkarni")]
    assert isinstance(name, Text) and "dim" not in str(name.style)


def test_plans_and_mappings_and_times(results: Results) -> None:
    layers, plans = tables.plan_table(results)
    assert layers == ["conv1", "fc"]
    assert [plan.name for plan in plans] == ["exact", "kulkarni", "drum:k=6", "truncated:c=6", "mitchell"]
    assert plans[0].cells == (("factored\u00a0×2", "why <so>"), ("table", "x"))
    trades = tables.trade_offs(results)
    assert trades[1] == tables.TradeOff("kulkarni", (15, 30), (560, 280), ("area", "fast"))
    assert tables.times(results) == [("cost", 2, 1, 3.5)]


def test_numbers() -> None:
    assert tables.number(None) == "–"
    assert tables.number(1234.56, 1) == "1\u202f234.6"
    assert tables.number(-0.04, 1) == "0.0"
    assert tables.number(-2.0, 0) == "−2"
    assert tables.number(2.0, 1, sign=True) == "+2.0"


def test_error_steps_are_signs_and_doublings() -> None:
    errors = np.array([[0, 1, 2, 3, 4, 1023, 1024, 10**7], [0, -1, -2, -3, -4, -1023, -1024, -(10**7)]])
    above = np.array([0, 1, 2, 2, 3, 10, 11, 15])
    assert (pictures.error_steps(errors).astype(int) - pictures.STEPS == np.array([above, -above])).all()
    assert len(pictures.palette()) == len(pictures.legend()) == 2 * pictures.STEPS + 1


def test_shrinking_keeps_the_largest_error_of_each_block() -> None:
    errors = np.random.default_rng(0).integers(-99, 100, (16, 8))
    small = pictures.shrink(errors, 4)
    assert small.shape == (4, 4)
    for i in range(4):
        for j in range(4):
            block = errors[4 * i : 4 * i + 4, 2 * j : 2 * j + 2]
            assert abs(small[i, j]) == np.abs(block).max() and small[i, j] in block
    assert (pictures.shrink(errors, 256) == errors).all()


def test_signed_maps_run_from_the_most_negative_operand() -> None:
    m = MULTIPLIERS.parse("truncated:c=3,n=4,signed=true")
    errors, values = error_map(m), np.arange(-8, 8)
    by_value = pictures.by_value(errors, True)
    assert all(by_value[i, j] == errors[x % 16, y % 16] for i, x in enumerate(values) for j, y in enumerate(values))
    assert pictures.by_value(errors, False) is errors


def test_the_png_of_an_error_map_shows_weights_upwards() -> None:
    from PIL import Image

    errors = error_map(MULTIPLIERS.parse("or_compressed"))
    image = Image.open(io.BytesIO(pictures.error_map_png(errors)))
    assert image.size == (256, 256)
    pixels = np.asarray(image.convert("RGB"))
    for x, y in ((0, 0), (255, 0), (0, 255), (3, 200), (200, 3), (255, 255)):
        assert (pixels[255 - y, x] == pictures.palette()[pictures.error_steps(errors[x, y])]).all()


class _Page(HTMLParser):
    """Checks that every element is closed, and collects what would be loaded and what is shown."""

    EMPTY = frozenset({"meta", "img", "br", "line", "path", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.loads += [value or "" for key, value in attrs if key in ("src", "srcset", "data", "poster")]
        self.loads += [
            value or "" for key, value in attrs if key in ("href", "xlink:href") and not (value or "").startswith("#")
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def parse(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


def test_the_report_is_one_whole_file_that_loads_nothing(results: Results, tmp_path: Path) -> None:
    page = parse(results.save(tmp_path / "report.html"))
    assert all(url.startswith("data:image/png;base64,") for url in page.loads)
    assert len(page.loads) == 3 * 4  # for each multiplier that is wrong somewhere: its map, again beside the weighted
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("script") == 3
    own = (tmp_path / "report.html").read_text()
    style = own[own.index("<style>") : own.index("</style>")]
    assert "@import" not in style and "url(" not in style


def test_the_report_says_what_the_rows_say_and_escapes_names(results: Results, tmp_path: Path) -> None:
    page = parse(results.save(tmp_path / "report.html"))
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert "Which </script> is <b>best</b>?" in text
    assert tables.conclusion(results).replace("\u00a0", " ") in text.replace("\u00a0", " ")
    for row in tables.summary(results):
        assert row.name in text and f"{row.low:.2f}–{row.high:.2f}" in text
    assert "1,234 products per image" in text and "made up" in text


def test_the_plots_of_the_report_have_the_rows_and_the_axes_asked_for(results: Results, tmp_path: Path) -> None:
    text = results.pareto("delay_ps", "accuracy").save(tmp_path / "report.html").read_text()
    found = re.search(r"const STUDY = (\{.*?\});</script>", text)
    assert found is not None
    study: dict[str, Any] = json.loads(found[1])
    assert (study["x"], study["y"]) == ("delay_ps", "accuracy")
    assert set(study["metrics"]) == set(METRICS)
    points = {point["name"]: point for point in study["points"]}
    assert points["drum:k=6"]["values"]["area_um2"] == 16
    assert points["drum:k=6"]["saving"] == pytest.approx(20)
    assert points["float"]["values"]["area_um2"] is None


def test_power_and_energy_are_figures_of_a_row(results: Results) -> None:
    row = results.row("drum:k=6")
    assert row.value("power_uw") == pytest.approx(2 * 16)
    assert row.value("energy_fj") == pytest.approx(2 * 32 / 2.0)  # uW at 2 GHz
    assert row.value("energy_nj") == pytest.approx(32.0 * 1_000_000 * 1e-6)
    assert results.row("float").value("energy_nj") is None
    assert results.saving_percent(row, "energy_nj") == pytest.approx(20)
    assert str(row.power) == "32 ± 0.25 µW at 2 GHz, input toggle rate 0.1"
    assert [r.name for r in results.pareto("energy_nj", "accuracy").front][0] == "kulkarni"
    record = results.to_dict()["rows"][3]
    assert record["figures"]["energy_nj"] == pytest.approx(32) and record["power"]["vectors"] == 8192
    # a row whose circuits all miss the clock has no figure, and says so
    late = dataclasses.replace(row, power=None, own_power=None)
    assert late.value("power_uw") is None and late.value("energy_nj") is None
    missed = pages(dataclasses.replace(results, rows=(results.exact, late)))[1]
    assert ("power", "– no mapping meets 2 GHz") in missed.figures and not missed.bars


def test_the_pages_show_parts_path_and_both_maps(results: Results, tmp_path: Path) -> None:
    page = {page.name: page for page in pages(results)}["drum:k=6"]
    area, toggled, own = page.bars
    assert (area.title, area.total) == ("area", "16.00 µm²")
    assert [(part, share) for part, share, _ in area.segments] == [
        ("terms", 25.0),
        ("reduction", 50.0),
        ("final adder", 25.0),
    ]
    assert toggled.title == "energy, input toggle rate 0.1" and own.total == "30.40 fJ"
    assert sum(share for _, share, _ in own.segments) == pytest.approx(100)
    assert page.steps == (("NAND2xp5", "↓", "490", "1.5"),) and page.start == "a[3]"
    assert [title for title, _ in page.maps] == ["all operand pairs alike", "weighted by this network's operands"]
    assert page.notes == ("few vectors <here>",)
    text = "".join(parse(results.save(tmp_path / "report.html")).text)
    assert "few vectors <here>" in text and "multipliers only" in text and "90 % of the gates" in text


def test_weighted_maps_halve_from_the_largest_contribution() -> None:
    steps = pictures.weighted_steps(np.array([[8.0, -4.0, 3.9], [1e-9, 0.0, -8.0]])).astype(int) - pictures.STEPS
    assert steps.tolist() == [[15, -14, 13], [0, 0, -15]]
    wide = np.zeros((8, 2))
    wide[0:4, 0] = (1.0, 2.0, -3.0, 0.5)
    assert pictures.weighted_steps(wide, side=2).astype(int).tolist() == [[30, 15], [15, 15]]  # 0.5 is all there is


def test_few_images_give_wide_intervals_and_still_a_report(results: Results, tmp_path: Path) -> None:
    wide = AccuracyFigure(2, 4, 50.0, 15.0, 85.0)
    rows = tuple(dataclasses.replace(row, accuracy=wide) for row in results.rows[:2])
    page = parse(dataclasses.replace(results, rows=rows, layers=(), ran=()).save(tmp_path / "report.html"))
    assert "15.00–85.00" in "".join(page.text)


def test_saving_by_the_ending_of_the_name(results: Results, tmp_path: Path) -> None:
    assert results.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in results.save(tmp_path / "a.svg").read_bytes()[:600]
    record = json.loads(results.save(tmp_path / "a.json").read_text())
    assert [row["name"] for row in record["rows"]] == [row.name for row in results.rows]
    assert record["rows"][3]["area_saving_percent"] == pytest.approx(20)
    with pytest.raises(ValueError, match=r"cannot save results as '.*a\.docx'; the name ends in \.html"):
        results.save(tmp_path / "a.docx")


def test_figures_are_written_as_png_and_svg_and_again_the_same(results: Results, tmp_path: Path) -> None:
    names = {"pareto_area", "pareto_delay", "pareto_energy", "parts", "area_delay", "error_maps", "operands"}
    names.add("error_maps_weighted")
    written = report.save_figures(results, tmp_path / "one")
    assert {path.name for path in written} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    report.save_figures(results, tmp_path / "two")
    for path in written:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        if path.suffix == ".svg":
            assert "<dc:date>" not in path.read_text()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_table_fits_and_concludes(results: Results, width: int) -> None:
    from rich.console import Console

    from carrysave.report.terminal import print_results

    console = Console(width=width, record=True, file=io.StringIO())
    print_results(results, console)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert "drum:k=6 saves 20" in text
    order = [
        line.split()[0] for line in text.splitlines() if re.match(r" *(float|exact|kulk|drum|trunc|mitch)\S* ", line)
    ][:6]
    assert order == ["float", "exact", "truncated:c=6", "drum:k=6", "mitchell", "kulkarni"]
