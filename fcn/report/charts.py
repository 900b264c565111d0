"""Charts as SVG: a few lines of our own, so that a page holds them, they follow its theme, and no package is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from fcn.datasets.dataset import evenly_spaced
from fcn.errors import printable

WIDTH, HEIGHT = 400, 250  # units of a chart, which are CSS pixels unless it is scaled to a narrow window
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 30, 40  # margins around the plotted area
ROW = 16  # height of a row of text
COLORS = ("#2b7bba", "#d9730d", "#1f9d76", "#9a60d0", "#d1447c", "#8f7f1d")  # readable on white and on black
MAX_POINTS = 400  # of a line
MAX_NAME = 20  # characters of a class next to its row
GRAY = "#888888"


class Line(NamedTuple):
    """A line of a chart through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Axis:
    """A range of values on one side of a chart, with round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float):
        """`start` and `end` are the positions of the lowest and the highest value."""
        self.low = min(values)
        self.high = max(values)
        if self.low == self.high:
            self.low -= 0.5
            self.high += 0.5
        self.start = start
        self.end = end

    def at(self, value: float) -> float:
        """The position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Up to six round values within the range."""
        step = 10.0 ** math.floor(math.log10(self.high - self.low))
        factors = (0.1, 0.2, 0.5, 1.0, 2.0)
        step *= next(factor for factor in factors if (self.high - self.low) / (step * factor) <= 6)
        numbers = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [number * step for number in numbers]


def line_chart(title: str, lines: Sequence[Line], x_title: str, y_range: tuple[float, float] | None = None) -> str:
    """An SVG of lines, with a legend if there are several. Names are escaped. `y_range` is widened to the values."""
    points = [point for line in lines for point in line.points]
    x = Axis([0, *(one for one, _ in points)], LEFT, WIDTH - RIGHT)
    y = Axis([*(one for _, one in points), *(y_range or ())], HEIGHT - BOTTOM, TOP)
    parts = _frame(title, x, y, x_title)
    for number, line in enumerate(lines):
        color = GRAY if line.dashed else COLORS[number % len(COLORS)]
        style = f'stroke="{color}"' + (' stroke-dasharray="5 4"' if line.dashed else "")
        shown = [line.points[index] for index in evenly_spaced(len(line.points), MAX_POINTS)]
        path = " ".join(f"{x.at(one):.1f},{y.at(other):.1f}" for one, other in shown)
        parts.append(f'<polyline points="{path}" fill="none" stroke-width="1.8" {style}/>')
        if len(shown) == 1:
            parts.append(f'<circle cx="{x.at(shown[0][0]):.1f}" cy="{y.at(shown[0][1]):.1f}" r="3" fill="{color}"/>')
        if len(lines) > 1:
            row = HEIGHT + ROW * number
            parts.append(f'<line x1="{LEFT}" x2="{LEFT + 22}" y1="{row - 4}" y2="{row - 4}" stroke-width="2" {style}/>')
            parts.append(_text(LEFT + 28, row, line.name))
    return _svg(title, WIDTH, HEIGHT + ROW * len(lines) if len(lines) > 1 else HEIGHT, parts)


def reliability_chart(rows: Sequence[dict[str, Any]]) -> str:
    """An SVG of `Calibration.scores`' reliability: accuracy in each bin of confidence, and the line of equality."""
    title = "Accuracy of pixels by confidence"
    x = Axis([0, 1], LEFT, WIDTH - RIGHT)
    y = Axis([0, 1], HEIGHT - BOTTOM, TOP)
    parts = _frame(title, x, y, "confidence; darker: more pixels")
    most = max((row["share"] or 0 for row in rows), default=0)
    for row in rows:
        if row["accuracy"] is not None:
            left = x.at(row["from"])
            top = y.at(row["accuracy"])
            size = f'width="{x.at(row["to"]) - left - 1:.1f}" height="{y.start - top:.1f}"'
            strength = 0.35 + 0.65 * math.sqrt(row["share"] / most)
            hint = (
                f"confidence {row['confidence']:.3f}, accuracy {row['accuracy']:.3f}, {row['share']:.2%} of the pixels"
            )
            bar = f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{COLORS[0]}" fill-opacity="{strength:.2f}">'
            parts.append(f"{bar}<title>{hint}</title></rect>")
    ends = f'x1="{x.start}" y1="{y.start}" x2="{x.end}" y2="{y.end}"'
    parts.append(f'<line {ends} stroke="{GRAY}" stroke-dasharray="5 4"/>')
    return _svg(title, WIDTH, HEIGHT, parts)


def confusion_chart(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """An SVG of a confusion matrix: of each true class, a row, the percentage that is predicted as each class."""
    title = "Confusion matrix"
    cell = 30 if len(names) <= 24 else 12
    shown = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in names]
    left = 12 + 7 * max(map(len, shown))
    side = cell * len(names) - 1
    parts = [f'<rect x="{left}" y="0" width="{side}" height="{side}" fill="{GRAY}" fill-opacity="0.08"/>']
    for row, (name, values) in enumerate(zip(names, counts, strict=True)):
        total = sum(values)
        y = cell * row
        parts.append(_text(left - 6, y + cell / 2 + 4, shown[row], anchor="end", size=min(12, cell)))
        for column, count in enumerate(values):
            if not count:
                continue
            share = count / total
            hint = escape(printable(f"{name} predicted as {names[column]}: {share:.2%}, {count:,} pixels"))
            color = COLORS[2] if row == column else COLORS[1]
            place = f'x="{left + cell * column}" y="{y}" width="{cell - 1}" height="{cell - 1}"'
            opacity = f"{math.sqrt(share):.3f}"
            parts.append(f'<rect {place} fill="{color}" fill-opacity="{opacity}"><title>{hint}</title></rect>')
            if share >= 0.005 and cell == 30:
                middle = left + cell * column + cell / 2 - 0.5
                parts.append(_text(middle, y + cell / 2 + 4, f"{100 * share:.0f}", anchor="middle", size=11))
    bottom = cell * len(names)
    for column, name in enumerate(shown):
        x = left + cell * column + cell / 2
        turned = f'transform="rotate(-60 {x} {bottom + 10})"'
        parts.append(_text(x + 3, bottom + 12, name, anchor="end", size=min(12, cell), more=turned))
    width = left + cell * len(names) + 4
    return _svg(title, width, bottom + 14 + round(0.9 * left), parts)


def standalone(svg: str) -> str:
    """The SVG as a file of its own, whose text follows the reader's theme."""
    style = "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    head, _, rest = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


def _frame(title: str, x: Axis, y: Axis, x_title: str) -> list[str]:
    """Title, ticks and grid of a chart."""
    parts = [_text(LEFT, 16, title, size=13, more='font-weight="600"')]
    for value, label in zip(y.ticks(), _labels(y.ticks()), strict=True):
        row = y.at(value)
        ends = f'x1="{x.start}" x2="{x.end}" y1="{row:.1f}" y2="{row:.1f}"'
        parts.append(f'<line {ends} stroke="{GRAY}" stroke-opacity="0.25"/>')
        parts.append(_text(LEFT - 6, row + 4, label, anchor="end"))
    for value, label in zip(x.ticks(), _labels(x.ticks()), strict=True):
        parts.append(_text(x.at(value), y.start + 16, label, anchor="middle"))
    parts.append(_text((x.start + x.end) / 2, y.start + 33, x_title, anchor="middle"))
    return parts


def _labels(ticks: Sequence[float]) -> list[str]:
    """Ticks as text with as many digits as they need to differ."""
    step = min((after - before for before, after in pairwise(ticks)), default=1.0)
    largest = max(map(abs, ticks), default=0.0)
    if largest >= 1e5 or step < 1e-4:
        return [f"{tick:.2g}" for tick in ticks]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:,.{digits}f}" for tick in ticks]


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12, more: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="currentColor" {more}>{escape(printable(text))}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    font = 'font-family="system-ui, sans-serif"'
    view = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg {view} {font} role="img" aria-label="{escape(printable(title))}">{"".join(parts)}</svg>'
