"use strict";
const $ = id => document.getElementById(id);
const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const unit = m => m.title + (m.unit ? " (" + m.unit + ")" : "");
const show = (m, v) => v.toLocaleString("en", {minimumFractionDigits: m.decimals, maximumFractionDigits: m.decimals}) + (m.unit ? " " + m.unit : "");
const config = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};

function axis(title) {
  return {title: {text: title, font: {size: 13}}, gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false, ticks: "outside",
    tickcolor: colour("line"), automargin: true};
}
function layout(x, y) {
  return {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {family: getComputedStyle(document.body).fontFamily, size: 12.5,
    color: colour("soft")}, margin: {l: 64, r: 28, t: 28, b: 56}, xaxis: axis(x), yaxis: axis(y), showlegend: false, hovermode: "closest",
    modebar: {bgcolor: "rgba(0,0,0,0)", color: colour("line"), activecolor: colour("soft")},
    hoverlabel: {bgcolor: colour("card"), bordercolor: colour("line"), font: {color: colour("ink"), size: 13}, align: "left"}};
}

/* The rows that no other beats in both figures, along x. */
function front(points, x, y) {
  const sx = STUDY.metrics[x].less_is_better ? 1 : -1, sy = STUDY.metrics[y].less_is_better ? 1 : -1;
  const sorted = [...points].sort((a, b) => sx * (a.values[x] - b.values[x]) || sy * (a.values[y] - b.values[y]));
  const kept = [];
  for (const p of sorted) if (!kept.length || sy * p.values[y] < sy * kept[kept.length - 1].values[y]) kept.push(p);
  return kept;
}

/* Where each name goes: the first of eight places that meets neither a point, nor a name already placed, nor the frame. */
function place(points, best, x, y, xr, yr, box) {
  const px = p => (p.values[x] - xr[0]) / (xr[1] - xr[0]) * box.w, py = p => box.h - (p.values[y] - yr[0]) / (yr[1] - yr[0]) * box.h;
  const spots = [[1, 0], [-1, 0], [1, -1], [-1, -1], [1, 1], [-1, 1], [0, -1], [0, 1], [1, -2], [-1, -2], [1, 2], [-1, 2]];
  const taken = points.map(p => [px(p) - 6, py(p) - 6, px(p) + 6, py(p) + 6]);
  if (y === "accuracy") for (const p of points) {  /* intervals */
    const at = v => box.h - (v - yr[0]) / (yr[1] - yr[0]) * box.h;
    taken.push([px(p) - 1, at(p.high), px(p) + 1, at(p.low)]);
  }
  for (let i = 1; i < best.length; i++) {  /* the steps of the front */
    const [a, b] = [best[i - 1], best[i]], corner = STUDY.metrics[x].less_is_better ? [px(b), py(a)] : [px(a), py(b)];
    for (const end of [a, b]) taken.push([Math.min(px(end), corner[0]) - 1, Math.min(py(end), corner[1]) - 1,
      Math.max(px(end), corner[0]) + 1, Math.max(py(end), corner[1]) + 1]);
  }
  const order = points.map((p, i) => i).sort((a, b) => (points[b].front - points[a].front));
  const notes = [];
  for (const i of order) {
    const p = points[i], w = p.name.length * 6.7 + 4, h = 15;
    for (const [dx, dy] of spots) {
      const cx = px(p) + dx * (w / 2 + 9), cy = py(p) + dy * (dx ? 12 : 16);
      const b = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
      const hits = taken.some((t, j) => j !== i && t[0] < b[2] && b[0] < t[2] && t[1] < b[3] && b[1] < t[3]);
      if (hits || b[0] < 0 || b[2] > box.w || b[1] < 0 || b[3] > box.h) continue;
      taken.push(b);
      notes.push({x: p.values[x], y: p.values[y], text: p.name.replace(/</g, "&lt;"), showarrow: false, xshift: cx - px(p), yshift: py(p) - cy,
        font: {size: 12, color: colour(p.front || p.kind === "exact" ? "ink" : "soft")}});
      break;
    }
  }
  return notes;
}

function pad(values, share) {
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * share;
  return [low - room, high + room];
}

function drawPareto() {
  if (!$("pareto")) return;
  const x = $("x").value, y = $("y").value, zoom = $("zoom").value, mx = STUDY.metrics[x], my = STUDY.metrics[y];
  let points = STUDY.points.filter(p => p.values[x] !== null && p.values[y] !== null);
  const exact = STUDY.points.find(p => p.kind === "exact"), gone = [];
  if (zoom !== "all") points = points.filter(p => {
    const near = p.values.accuracy >= exact.values.accuracy - Number(zoom);
    if (!near) gone.push(p.name + " (" + p.values.accuracy.toFixed(1) + " %)");
    return near;
  });
  $("below").textContent = gone.length ? "Not shown: " + gone.join(", ") + "." : "";
  const best = front(points, x, y);
  points = points.map(p => ({...p, front: best.some(b => b.name === p.name)}));
  const bars = (axisName, p) => axisName === "accuracy" ? [p.values.accuracy - p.low, p.high - p.values.accuracy] : [0, 0];
  const error = name => ({type: "data", symmetric: false, array: points.map(p => bars(name, p)[1]), arrayminus: points.map(p => bars(name, p)[0]),
    thickness: 1, width: 3, color: colour("faint"), visible: name === "accuracy"});
  const ends = name => name === "accuracy" ? points.flatMap(p => [p.low, p.high]) : points.map(p => p.values[name]);
  const xr = pad(ends(x), .06), yr = pad(ends(y), .05);
  const line = {x: best.map(p => p.values[x]), y: best.map(p => p.values[y]), mode: "lines", hoverinfo: "skip",
    line: {color: colour("accent"), width: 1.8, shape: mx.less_is_better ? "hv" : "vh"}};
  const dots = {x: points.map(p => p.values[x]), y: points.map(p => p.values[y]), mode: "markers", error_x: error(x), error_y: error(y),
    marker: {size: points.map(p => p.kind === "exact" ? 12 : 9), symbol: points.map(p => p.kind === "exact" ? "diamond" : "circle"),
      color: points.map(p => p.kind === "exact" ? colour("exact") : p.front ? colour("accent") : colour("point")), line: {width: 1.5, color: colour("card")}},
    hovertemplate: points.map(p => "<b>" + p.name.replace(/</g, "&lt;") + "</b><br>accuracy " + p.values.accuracy.toFixed(2) + " % (" + p.low.toFixed(2) + "–" + p.high.toFixed(2) + ")" +
      (x !== "accuracy" ? "<br>" + mx.title.toLowerCase() + " " + show(mx, p.values[x]) : "") + (y !== "accuracy" ? "<br>" + my.title.toLowerCase() + " " + show(my, p.values[y]) : "") +
      (p.saving !== null && p.kind !== "exact" ? "<br>saves " + p.saving.toFixed(0) + " % of exact's area" + (p.energy_saving !== null ? ", " + p.energy_saving.toFixed(0) + " % of its energy" : "") : "") + "<extra></extra>")};
  const l = layout(unit(mx), unit(my)), rect = $("pareto").getBoundingClientRect();
  l.xaxis.range = xr; l.yaxis.range = yr;
  l.annotations = place(points, best, x, y, xr, yr, {w: rect.width - 92, h: rect.height - 84});
  Plotly.react("pareto", [line, dots], l, config);
}

function drawTradeOffs() {
  if (!$("tradeoffs")) return;
  const hues = ["#4477aa", "#cc6677", "#228833", "#b8901f", "#3aa6c4", "#aa3377", "#8a8a8a", "#e07b39", "#6a5acd", "#2a9d8f", "#9c755f", "#d37295"];
  const traces = STUDY.trade_offs.map((t, i) => ({name: t.name, x: t.delay_ps, y: t.area_um2, mode: "lines+markers", text: t.scripts,
    line: {width: t.name === "exact" ? 2.4 : 1.4, color: t.name === "exact" ? colour("exact") : hues[i % hues.length], dash: i > hues.length ? "dot" : "solid"},
    marker: {size: t.name === "exact" ? 7 : 6}, hovertemplate: "<b>%{fullData.name}</b><br>%{y:.1f} µm² at %{x:.0f} ps<br>script %{text}<extra></extra>"}));
  const l = layout("Critical path (ps)", "Area (µm²)"), wide = $("tradeoffs").getBoundingClientRect().width > 700;
  l.showlegend = true; l.yaxis.rangemode = "tozero";
  l.legend = wide ? {font: {size: 12}} : {orientation: "h", y: -0.25, font: {size: 11}};
  Plotly.react("tradeoffs", traces, l, config);
}

function sortBy(head) {
  const table = head.closest("table"), column = head.cellIndex, text = head.dataset.type === "text";
  const down = head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th[aria-sort]").forEach(h => h.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[column].dataset.v, body = table.tBodies[0];
  [...body.rows].sort((a, b) => {
    const u = key(a), v = key(b);
    if (u === "" || v === "") return (u === "") - (v === "");
    return (down ? -1 : 1) * (text ? u.localeCompare(v) : Number(u) - Number(v));
  }).forEach(row => body.append(row));
}

function draw() { drawPareto(); drawTradeOffs(); }

if ($("pareto")) for (const [id, chosen] of [["x", STUDY.x], ["y", STUDY.y]]) {
  for (const [name, m] of Object.entries(STUDY.metrics)) $(id).add(new Option(unit(m), name, false, name === chosen));
  $(id).addEventListener("change", drawPareto);
}
const accuracies = STUDY.points.map(p => p.values.accuracy), top1 = Math.max(...accuracies);
if ($("zoom")) $("zoom").addEventListener("change", drawPareto);
if ($("zoom") && accuracies.some(a => a < top1 - 10)) $("zoom").value = accuracies.some(a => a < top1 - 3 && a > top1 - 10) ? "10" : "3";
document.querySelectorAll(".sortable thead tr:last-child th:not(.plain)").forEach(head => {
  head.tabIndex = 0;
  head.addEventListener("click", () => sortBy(head));
  head.addEventListener("keydown", e => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sortBy(head); } });
});
$("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).getPropertyValue("--ground").trim() === "#14171a";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let waiting; addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawPareto, 150); });
draw();
