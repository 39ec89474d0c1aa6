"""The report's figures in matplotlib, for papers and slides: PNG, SVG or PDF."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from carrysave.report import pictures, tables
from carrysave.results import METRICS, Metric, Results, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, ACCENT, POINT = "#1c2127", "#5c6670", "#1f5fa8", "#7d93ab"
PART_COLOURS = {
    "inputs": "#a9b2bb",
    "terms": "#4477aa",
    "reduction": "#5fb3c4",
    "final adder": "#d9a441",
    "outside load": "#d5d9dd",
}
FAR = 10.0  # rows this many points below exact are named under the plot instead of squeezing the others

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#c4c9ce",
    "axes.labelcolor": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#eceeef",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "carrysave",
}


def canvas(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure outside pyplot, so that nothing global is opened or has to be closed, and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def to_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as "png", "svg" or "pdf"; the same figure gives the same bytes."""
    import matplotlib

    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=160, metadata=undated)
    return buffer.getvalue()


def _label(metric: Metric, frequency_ghz: float) -> str:
    title = tables.metric_title(metric, frequency_ghz)
    return f"{title} ({metric.unit})" if metric.unit else title


def pareto_figure(results: Results, x: str = "area_um2", y: str = "accuracy") -> Figure:
    """Rows over two metrics with 95 % intervals, and the front through those that no other beats in both."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(7.6, 4.6)
        axis, pareto = axes[0, 0], results.pareto(x, y)
        near = [row for row in pareto.points if row.accuracy.percent > results.exact.accuracy.percent - FAR]
        front = [row for row in pareto.front if row in near]
        for row in near:
            _point(axis, row, x, y, row in front)
        axis.step(
            [_at(row, x) for row in front],
            [_at(row, y) for row in front],
            color=ACCENT,
            linewidth=1.5,
            zorder=2,
            where="post" if METRICS[x].less_is_better else "pre",
        )
        axis.margins(0.08)
        _name_points(figure, axis, near, front, x, y)
        axis.set_xlabel(_label(METRICS[x], results.frequency_ghz))
        axis.set_ylabel(_label(METRICS[y], results.frequency_ghz))
        axis.set_title(results.title, loc="left", fontsize=11.5, fontweight="bold", pad=12)
        far = [f"{row.name} {row.accuracy.percent:.1f} %" for row in pareto.points if row not in near]
        if far:
            figure.supxlabel("not shown: " + ", ".join(far), fontsize=8, color=SOFT, x=0.99, ha="right")
        return figure


def _at(row: Row, metric: str) -> float:
    value = row.value(metric)
    assert value is not None  # the rows of a Pareto have both figures
    return value


def _point(axis: Any, row: Row, x: str, y: str, on_front: bool) -> None:
    colour = INK if row.kind == "exact" else ACCENT if on_front else POINT
    bar = [[row.accuracy.percent - row.accuracy.low], [row.accuracy.high - row.accuracy.percent]]
    axis.errorbar(
        _at(row, x),
        _at(row, y),
        yerr=bar if y == "accuracy" else None,
        xerr=bar if x == "accuracy" else None,
        fmt="D" if row.kind == "exact" else "o",
        markersize=7 if row.kind == "exact" else 6,
        color=colour,
        ecolor="#b3bac1",
        elinewidth=1,
        capsize=2,
        markeredgecolor="white",
        markeredgewidth=1,
        zorder=3,
    )


def _name_points(figure: Figure, axis: Any, rows: list[Row], front: list[Row], x: str, y: str) -> None:
    """Write each name at the first of fourteen places where it covers neither a point nor a name already written."""
    figure.draw_without_rendering()
    to_pixel, scale = axis.transData.transform, figure.dpi / 72
    centres = {row.name: to_pixel((_at(row, x), _at(row, y))) for row in rows}
    taken = [(px - 5 * scale, py - 5 * scale, px + 5 * scale, py + 5 * scale) for px, py in centres.values()]
    if y == "accuracy":
        ends = [[to_pixel((_at(row, x), end)) for end in (row.accuracy.low, row.accuracy.high)] for row in rows]
        taken += [(low[0] - scale, low[1], high[0] + scale, high[1]) for low, high in ends]
    taken += _segments([to_pixel((_at(row, x), _at(row, y))) for row in front], METRICS[x].less_is_better)
    frame = axis.get_window_extent()
    spots = [
        (1, 0),
        (-1, 0),
        (1, 1),
        (-1, 1),
        (1, -1),
        (-1, -1),
        (0, 1.2),
        (0, -1.2),
        (1, 2),
        (-1, 2),
        (1, -2),
        (-1, -2),
        (1, 3),
        (1, -3),
    ]
    for row in sorted(rows, key=lambda row: row not in front):
        px, py = centres[row.name]
        width, height = len(row.name) * 4.9 * scale, 10 * scale
        own = (px - 5 * scale, py - 5 * scale, px + 5 * scale, py + 5 * scale)
        found = []
        for dx, dy in spots:
            cx, cy = px + dx * (width / 2 + 7 * scale), py + dy * 9 * scale
            box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            if frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1:
                found.append((sum(_meet(box, other) for other in taken if other != own), len(found), cx, cy, box))
        if not found or (min(found)[0] and row not in front and row.kind != "exact"):
            continue  # crowded out; on the front every point is named, over something else if need be
        _, _, cx, cy, box = min(found)
        taken.append(box)
        offset = ((cx - px) / scale, (cy - py) / scale)
        axis.annotate(
            row.name,
            (_at(row, x), _at(row, y)),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            color=INK if row in front or row.kind == "exact" else SOFT,
        )


def _segments(front: list[Any], rising: bool) -> list[tuple[float, float, float, float]]:
    boxes = []
    for (ax, ay), (bx, by) in zip(front, front[1:], strict=False):
        cx, cy = (bx, ay) if rising else (ax, by)
        for ex, ey in ((ax, ay), (bx, by)):
            boxes.append((min(ex, cx) - 1, min(ey, cy) - 1, max(ex, cx) + 1, max(ey, cy) + 1))
    return boxes


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def trade_off_figure(results: Results) -> Figure:
    """Every multiplier's mappings: area over critical path."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(7.6, 4.6)
        axis = axes[0, 0]
        for index, trade in enumerate(tables.trade_offs(results)):
            exact = trade.name == results.exact.name
            colour = INK if exact else matplotlib.colormaps["tab20"](index % 20)
            axis.plot(
                trade.delay_ps,
                trade.area_um2,
                "o-",
                color=colour,
                linewidth=2 if exact else 1.2,
                markersize=3.5,
                label=trade.name,
            )
        axis.set_ylim(bottom=0)
        axis.set_xlabel("Critical path (ps)")
        axis.set_ylabel("Area (µm²)")
        axis.set_title("Area against delay", loc="left", fontsize=11.5, fontweight="bold")
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
        return figure


def error_map_figure(maps: list[tuple[str, Any]]) -> Figure:
    """Error maps [2^a, 2^b] with a common scale, one colour step per doubling."""
    import matplotlib
    import numpy as np
    from matplotlib.colors import ListedColormap

    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        columns = min(4, max(1, len(maps)))
        rows = -(-len(maps) // columns)
        figure, axes = canvas(2.3 * columns + 0.9, 2.5 * rows, rows, columns)
        colours = ListedColormap(pictures.palette() / 255)
        picture = None
        for axis, (name, errors) in zip(axes.flat, maps, strict=False):
            picture = axis.imshow(
                pictures.error_steps(pictures.shrink(errors)).T,
                origin="lower",
                cmap=colours,
                vmin=-0.5,
                vmax=2 * pictures.STEPS + 0.5,
                interpolation="nearest",
                extent=(0, errors.shape[0], 0, errors.shape[1]),
                aspect="auto",
            )
            axis.set_title(name, fontsize=9)
            axis.tick_params(labelsize=7)
        for axis in axes.flat[len(maps) :]:
            axis.set_axis_off()
        if picture is not None:
            labels = [(i, text) for i, (_, text) in enumerate(pictures.legend()) if text]
            bar = figure.colorbar(
                picture, ax=axes, ticks=np.array([i for i, _ in labels]), shrink=min(1.0, 1.8 / rows), pad=0.02
            )
            bar.ax.set_yticklabels([text for _, text in labels], fontsize=7)
            bar.set_label("approximate − exact", fontsize=8)
        return figure


def weighted_map_figure(maps: list[tuple[str, Any]]) -> Figure:
    """Palette steps of errors weighted by operands, each picture on its own scale."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        columns = min(4, max(1, len(maps)))
        rows = -(-len(maps) // columns)
        figure, axes = canvas(2.3 * columns, 2.5 * rows + 0.4, rows, columns)
        colours = ListedColormap(pictures.palette() / 255)
        for axis, (name, steps) in zip(axes.flat, maps, strict=False):
            span = {"vmin": -0.5, "vmax": 2 * pictures.STEPS + 0.5}
            axis.imshow(steps.T, origin="lower", cmap=colours, interpolation="nearest", aspect="auto", **span)
            axis.set_title(name, fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
        for axis in axes.flat[len(maps) :]:
            axis.set_axis_off()
        what = "error × how often its operands occur; darkest: the largest share, each lighter step half of it"
        figure.supxlabel(what, fontsize=8, color=SOFT)
        return figure


def parts_figure(results: Results) -> Figure:
    """Per multiplier, area and energy by part: stacked bars."""
    import matplotlib
    from matplotlib.patches import Patch

    rows = [row for row in results.rows if row.power][::-1]
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = canvas(9.6, 0.32 * len(rows) + 1.3, 1, 3)
        titles = ["area (µm²)", "energy (fJ), toggle rate 0.1", "energy (fJ), network's operands"]
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=9, color=SOFT, loc="left")
            axis.set_yticks(range(len(rows)), [row.name for row in rows] if axis is axes[0, 0] else [""] * len(rows))
        for y, row in enumerate(rows):
            assert row.power is not None
            own = row.own_power.energy_parts if row.own_power else {}
            for axis, parts in zip(axes[0], (row.power.area_parts, row.power.energy_parts, own), strict=True):
                left = 0.0
                for part in tables.in_order(parts):
                    axis.barh(y, parts[part], left=left, height=0.7, color=PART_COLOURS[part], linewidth=0)
                    left += parts[part]
        handles = [Patch(color=PART_COLOURS[part], label=name) for part, name in tables.PARTS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
        return figure


def operand_figure(results: Results) -> Figure:
    """Per layer, how often each activation and weight code occurs (square-root scale)."""
    import matplotlib
    import numpy as np

    with matplotlib.rc_context(STYLE):
        layers = results.layers
        figure, axes = canvas(7.6, 1.3 * len(layers) + 0.5, len(layers), 2)
        for line, layer in zip(axes, layers, strict=True):
            for axis, shares in zip(line, (layer.activation, layer.weight), strict=True):
                axis.fill_between(
                    np.arange(len(shares)), np.sqrt(np.asarray(shares)), step="mid", color=POINT, linewidth=0
                )
                axis.set_yticks([])
                axis.margins(x=0)
                axis.set_ylim(bottom=0)
            line[0].set_ylabel(layer.name, rotation=0, ha="right", va="center")
        axes[0, 0].set_title("activation codes", fontsize=9, color=SOFT)
        axes[0, 1].set_title("weight codes", fontsize=9, color=SOFT)
        return figure


def all_figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """(file name without ending, figure) of everything the report draws."""
    from carrysave.report.html import drawable_errors
    from carrysave.report.pages import maps as maps_of

    priced = any(row.cost for row in results.rows)
    if priced:
        yield "pareto_area", pareto_figure(results, "area_um2", "accuracy")
        yield "pareto_delay", pareto_figure(results, "delay_ps", "accuracy")
    if any(row.power for row in results.rows):
        yield "pareto_energy", pareto_figure(results, "energy_nj", "accuracy")
        yield "parts", parts_figure(results)
    if priced:
        yield "area_delay", trade_off_figure(results)
    maps = [(row.name, errors) for row, errors in drawable_errors(results)]
    if maps:
        yield "error_maps", error_map_figure(maps)
    weighted = [(row.name, picture) for row in results.rows for _, picture in maps_of(results, row)[1:]]
    if weighted:
        yield "error_maps_weighted", weighted_map_figure(weighted)
    if results.layers:
        yield "operands", operand_figure(results)
