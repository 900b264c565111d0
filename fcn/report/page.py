"""The report as one HTML page: no script, nothing fetched, light or dark, for phone and paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from fcn.errors import printable
from fcn.evaluation.evaluate import shown
from fcn.evaluation.kitti.benchmark import MEASURES
from fcn.images import SegmentationClass
from fcn.pictures import IGNORED
from fcn.report.charts import Line, confusion_chart, line_chart, reliability_chart
from fcn.report.frames import RIGHT, ShownFrame

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --dim: #5d6675; --page: #fff; --card: #f4f6f9; --line: #d5dae2;
  --bad: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ee; --dim: #98a2b3; --page: #14181f; --card: #1d232d;
  --line: #353d4a; --bad: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; } h3 { font-size: 1rem; }
p, li { max-width: 52rem; } .dim, figcaption { color: var(--dim); font-size: .87rem; }
.cards { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.cards div { background: var(--card); border-radius: .5rem; padding: .5rem .9rem; flex: 1 1 8.5rem; }
.cards b { display: block; font-size: 1.55rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.pair { display: flex; flex-wrap: wrap; gap: 0 2.5rem; } .pair > div { max-width: 100%; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .55rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { white-space: nowrap; } th { overflow-wrap: normal; }
th { color: var(--dim); font-weight: 500; } td.text, th.text { text-align: left; }
tr.worst td:nth-child(-n+2) { color: var(--bad); font-weight: 600; }
i.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border: 1px solid #8888; }
.frame { display: grid; grid-template-columns: repeat(4, 1fr); gap: .4rem; margin: .3rem 0 1rem; }
.frame figure { margin: 0; } .frame img { display: block; width: 100%; image-rendering: auto; }
.legend span { display: inline-block; margin-right: 1rem; }
@media (max-width: 700px) { .frame { grid-template-columns: 1fr 1fr; } }
@media print { body { max-width: none; } .frame, svg, tr { break-inside: avoid; } details { display: none; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # a browser then fetches and runs nothing


class Markup(str):
    """Text that is HTML already, made by `tag`."""

    __slots__ = ()


def tag(name: str, *content: object, **attributes: str) -> Markup:
    """An element. Content that is no `Markup` and values of attributes are escaped; `class_` is the attribute class."""
    pairs = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{pairs}>{join(content)}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    """Parts one after another, escaped where they are no `Markup`."""
    return Markup("".join(part if isinstance(part, Markup) else escape(printable(str(part))) for part in parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], text_columns: int = 1, worst: int = 0) -> Markup:
    """A table that scrolls sideways in a narrow window; its first `worst` rows are marked."""

    def row(kind: str, cells: Sequence[object]) -> Markup:
        classes = ["text" if column < text_columns else "number" for column in range(len(cells))]
        return join(tag(kind, cell, class_=name) for cell, name in zip(cells, classes, strict=True))

    body = [tag("tr", row("td", cells), class_="worst" if n < worst else "row") for n, cells in enumerate(rows)]
    return tag("div", tag("table", tag("thead", tag("tr", row("th", head))), tag("tbody", *body)), class_="wide")


def page(
    figures: dict[str, Any], classes: Sequence[SegmentationClass], shown_frames: dict[str, Sequence[ShownFrame]]
) -> str:
    """The page of the figures of `write_report`."""
    title = f"{figures['weights']}: {figures['frames']} frames of {figures['split']}"
    sections = [
        tag("h1", "Segmentation report"),
        tag("p", title, class_="dim"),
        _headline(figures),
        tag("h2", "Where the errors are"),
        tag("ul", *(tag("li", line) for line in findings(figures))),
        *_classes(figures, classes),
        tag("h2", "Worst frames"),
        _frames(shown_frames["worst"], classes),
        *([tag("h2", "Best frames"), _frames(shown_frames["best"], classes)] if shown_frames["best"] else []),
        *_boundaries(figures),
        *_calibration(figures),
        *_kitti(figures),
        *_curves(figures),
        *_settings(figures),
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    )
    return f"{head}{tag('title', title)}<style>{STYLE}</style></head><body>{join(sections)}</body></html>\n"


def findings(figures: dict[str, Any]) -> list[str]:
    """Sentences on the three worst classes and what they are taken for, on boundaries and on calibration."""
    lines = []
    names = list(figures["iou"])
    counts = figures["confusion"]
    known = {name: iou for name, iou in figures["iou"].items() if iou is not None}
    for name in sorted(known, key=known.__getitem__)[: min(3, len(known) - 1)]:
        row = counts[names.index(name)]
        found = figures["recall"][name]
        if found is None:
            lines.append(f"{name}: is predicted, and no pixel is labeled so.")
            continue
        text = f"{name}: IoU {shown(known[name])}; {_percent(found)} of its pixels are found"
        others = {other: count for other, count in zip(names, row, strict=True) if other != name and count}
        if others:
            taken = max(others, key=others.__getitem__)
            text += f", {_percent(others[taken] / sum(row))} are predicted as {taken}"
        precision = figures["precision"][name]
        if precision is not None:
            text += f"; {_percent(precision)} of what is predicted as {name} is right"
        lines.append(f"{text}.")
    near = figures["by_distance"][0]
    if near["errors"] is not None:
        text = f"{_percent(near['errors'])} of the wrong pixels are within {near['to']} pixels of a boundary"
        lines.append(f"{text}, where {_percent(near['share'])} of all pixels are.")
    if figures["ece"] is not None:
        used = [row for row in figures["reliability"] if row["share"]]
        surplus = sum(row["share"] * (row["confidence"] - row["accuracy"]) for row in used)
        kind = "overconfident" if surplus > 0 else "underconfident"
        lines.append(f"The confidence is {100 * figures['ece']:.1f} percentage points off; the network is {kind}.")
    return lines


def _headline(figures: dict[str, Any]) -> Markup:
    baseline = figures["baseline"] or {}
    cards = [
        ("mIoU", shown(figures["miou"]), f"color lookup {shown(baseline.get('miou'))}"),
        ("Pixel accuracy", shown(figures["pixel_accuracy"]), f"color lookup {shown(baseline.get('pixel_accuracy'))}"),
        ("Boundary F-score", shown(figures["mean_boundary_f"]), _tolerance(figures)),
        ("Calibration error", shown(figures["ece"]), "expected, 15 bins; 0 is best"),
        ("A frame", f"{figures['milliseconds']:.0f} ms", f"95 % within {figures['milliseconds_p95']:.0f} ms"),
    ]
    if "parameters" in figures:
        cost = f"parameters; {figures['gigaflops']:.1f} GFLOP a frame"
        cards.append(("Size", f"{figures['parameters'] / 1e6:.2f} M", cost))
    if "minutes" in figures:
        steps = f"step {figures['step']:,} is the best" if "step" in figures else ""
        cards.append(("Training", f"{figures['minutes']:.1f} min", steps))
    return tag(
        "div", *(tag("div", name, tag("b", value), tag("small", more)) for name, value, more in cards), class_="cards"
    )


def _classes(figures: dict[str, Any], classes: Sequence[SegmentationClass]) -> list[Markup]:
    names = list(figures["iou"])
    baseline = (figures["baseline"] or {}).get("iou", {})
    worst_first = sorted(classes, key=lambda one: (figures["iou"][one.name] is None, figures["iou"][one.name]))
    head = ["class", "IoU", "color lookup", "precision", "recall", "F1", "boundary F", "share of pixels"]
    measures = ("precision", "recall", "f1", "boundary_f")
    rows = []
    for one in worst_first:
        share = figures["share"][one.name]
        cells = [shown(figures["iou"][one.name]), shown(baseline.get(one.name))]
        cells += [shown(figures[measure][one.name]) for measure in measures]
        rows.append([_named(one), *cells, "-" if share is None else _percent(share)])
    text = (
        "Confusion matrix: rows: ground truth; columns: prediction; numbers: percent of the row; point at a cell for "
        "its pixels. Green is right, orange is wrong."
    )
    scores = tag("div", tag("h2", "Classes, worst first"), table(head, rows, worst=min(3, len(rows) - 1)))
    matrix = tag("div", tag("h2", "Confusion matrix"), Markup(confusion_chart(names, figures["confusion"])))
    return [tag("div", scores, matrix, class_="pair"), tag("p", text, class_="dim")]


def _frames(frames: Sequence[ShownFrame], classes: Sequence[SegmentationClass]) -> Markup:
    parts = []
    for frame in frames:
        scores = f": mIoU {shown(frame.miou)}, pixel accuracy {shown(frame.pixel_accuracy)}"
        pictures = [
            tag("figure", Markup(f'<img src="{address}" alt="{title}">'), tag("figcaption", title))
            for title, address in frame.pictures.items()
        ]
        parts += [tag("p", tag("b", frame.name), scores), tag("div", *pictures, class_="frame")]
    legend = [tag("span", _named(one)) for one in (*classes, IGNORED)]
    errors = tag("span", _named(RIGHT), "; a wrong pixel has the color of its ground truth")
    return join([*parts, tag("p", *legend, errors, class_="legend dim")])


def _boundaries(figures: dict[str, Any]) -> list[Markup]:
    text = (
        f"Boundary F-score {_tolerance(figures)} (Csurka et al. 2013): {shown(figures['mean_boundary_f'])}, the mean "
        "over the classes of the table above. Distances are in pixels at 360 rows and scale with the height."
    )
    rows = []
    for row in figures["by_distance"]:
        end = f"{row['from']} to {row['to']} px" if row["to"] is not None else f"beyond {row['from']} px"
        shares = [_percent(row[key]) if row[key] is not None else "-" for key in ("share", "errors")]
        rows.append([end, *shares, shown(row["pixel_accuracy"]), shown(row["miou"])])
    head = ["distance to a boundary", "of the pixels", "of the wrong pixels", "pixel accuracy", "mIoU"]
    return [tag("h2", "Boundaries"), tag("p", text), table(head, rows)]


def _calibration(figures: dict[str, Any]) -> list[Markup]:
    if figures["ece"] is None:
        return []
    text = (
        f"Expected calibration error {shown(figures['ece'])} (Guo et al. 2017, 15 bins). A bar below the dashed line: "
        "the network is surer than it is right."
    )
    return [tag("h2", "Calibration"), tag("p", text), Markup(reliability_chart(figures["reliability"]))]


def _kitti(figures: dict[str, Any]) -> list[Markup]:
    if "kitti_road" not in figures:
        return []
    parts = [tag("h2", "KITTI Road benchmark")]
    for space, title in (("image", "In the image"), ("bev", "In bird's-eye view")):
        categories = figures["kitti_road"][space].items()
        rows = [[category, *(shown(row[name]) for name in MEASURES)] for category, row in categories]
        parts += [tag("h3", title), table(["", *MEASURES], rows)]
    return parts


def _curves(figures: dict[str, Any]) -> list[Markup]:
    curves = figures.get("curves")
    if not curves:
        text = "The weights were named without their run, which has the curves: fcn report --run DIR."
        return [tag("h2", "Training"), tag("p", text, class_="dim")]
    charts = []
    for key, title in (("loss", "Loss"), ("learning_rate", "Learning rate")):
        points = [(row["step"], row[key]) for row in curves["training"]]
        if points:
            charts.append(line_chart(title, [Line(title, points)], "step", y_range=(0, 0)))
    points = [(row["step"], row["miou"] or 0.0) for row in curves["evaluations"]]
    if points:
        lines = [Line("network", points)]
        baseline = (figures["baseline"] or {}).get("miou")
        if baseline is not None:
            lines.append(Line("color lookup", [(step, baseline) for step, _ in points], dashed=True))
        charts.append(line_chart("mIoU on the validation set", lines, "step", y_range=(0, 1)))
    return [tag("h2", "Training"), tag("div", *map(Markup, charts), class_="charts")]


def _settings(figures: dict[str, Any]) -> list[Markup]:
    def rows(config: Iterable[dict[str, Any]]) -> list[list[object]]:
        return [
            [
                tag("b", one["key"]) if one["changed"] else one["key"],
                json.dumps(one["value"]),
                json.dumps(one["default"]),
            ]
            for one in config
        ]

    changed = [one for one in figures["config"] if one["changed"]]
    head = ["setting", "value", "default"]
    tables = [
        tag("h2", "Settings that differ from the defaults"),
        table(head, rows(changed), text_columns=3),
        tag("details", tag("summary", "All settings"), table(head, rows(figures["config"]), text_columns=3)),
    ]
    for line in figures["changes"]:
        tables.append(tag("p", line))
    for title, key in (("Trained on", "environment"), ("Scored on", "scored")):
        if figures.get(key):
            entries = [
                [name, value if isinstance(value, str) else json.dumps(value)] for name, value in figures[key].items()
            ]
            tables += [tag("h2", title), table(["", ""], entries, text_columns=2)]
    return tables


def _named(one: SegmentationClass) -> Markup:
    color = f"background:rgb({one.color[0]},{one.color[1]},{one.color[2]})"
    return join([tag("i", class_="swatch", style=color), one.name])


def _tolerance(figures: dict[str, Any]) -> str:
    return f"within {figures['boundary_tolerance']} px at 360 rows"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"
