"""The report as ONE HTML file: plotly.js, pictures and data inside, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from carrysave.report import pictures, tables
from carrysave.report.pages import MAP_BITS, pages
from carrysave.results import METRICS, Results, Row


def render(results: Results, *, x: str = "area_um2", y: str = "accuracy") -> str:
    """The report; `x` and `y` are the axes that the Pareto plot opens with."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("carrysave.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = tables.number
    layers, plans = tables.plan_table(results)
    return environment.get_template("report.html.j2").render(
        results=results,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        conclusion=tables.conclusion(results),
        overview=tables.overview(results),
        remarks=tables.remarks(results),
        priced=any(row.cost for row in results.rows),
        summary=tables.summary(results),
        span=_span(results),
        maps=error_maps(results),
        pages=pages(results),
        parts=tables.PARTS,
        legend=pictures.legend(),
        layers=layers,
        plans=plans,
        histograms=[
            (layer, pictures.histogram_path(layer.activation), pictures.histogram_path(layer.weight))
            for layer in results.layers
        ],
        times=tables.times(results),
        plural=tables.plural,
        tolerance=tables.TOLERANCE,
        plot_json=_script_json(plot_data(results, x, y)),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
    )


def plot_data(results: Results, x: str, y: str) -> dict[str, Any]:
    """What the plots draw, as JSON values: rows with all metrics and intervals, mappings, axes to choose from."""
    points = [
        {
            "name": row.name,
            "kind": row.kind,
            "low": row.accuracy.low,
            "high": row.accuracy.high,
            "values": {name: row.value(name) for name in METRICS},
            "saving": results.saving_percent(row, "area_um2"),
            "energy_saving": results.saving_percent(row, "energy_nj"),
        }
        for row in results.rows
    ]
    usable = [name for name in METRICS if sum(p["values"][name] is not None for p in points) > 1]
    return {
        "points": points,
        "metrics": {
            name: asdict(METRICS[name]) | {"title": tables.metric_title(METRICS[name], results.frequency_ghz)}
            for name in usable
        },
        "trade_offs": [asdict(trade) for trade in tables.trade_offs(results)],
        "x": x,
        "y": y,
    }


def drawable_errors(results: Results) -> list[tuple[Row, Any]]:
    """(row, error map) of each row with one multiplier that is wrong somewhere and whose table can be drawn."""
    from carrysave.errors import error_map

    found = []
    for row in results.rows:
        m = (
            results.multipliers.get(row.multipliers[0])
            if len(row.multipliers) == 1 and row.kind == "multiplier"
            else None
        )
        if m is not None and max(m.a_bits, m.b_bits) <= MAP_BITS and (errors := error_map(m)).any():
            found.append((row, pictures.by_value(errors, m.signed)))
    return found


def error_maps(results: Results) -> list[tuple[str, str, Any]]:
    """(name, data URI, summary row) of each error map."""
    rows = {row.name: row for row in tables.summary(results)}
    return [
        (row.name, pictures.data_uri(pictures.error_map_png(errors)), rows[row.name])
        for row, errors in drawable_errors(results)
    ]


def _span(results: Results) -> tuple[float, float]:
    """Accuracy range of the table's interval bars: rows within 10 points of the best, the others are cut off."""
    best = max(row.accuracy.percent for row in results.rows)
    near = [row.accuracy for row in results.rows if row.accuracy.percent > best - 10]
    return min(accuracy.low for accuracy in near), max(accuracy.high for accuracy in near)


def _script_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
