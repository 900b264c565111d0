"""Scores over the minutes of training, of one run or of several seeds together: a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fcn.errors import UserError, printable
from fcn.files import write_file
from fcn.runs.log import read_rows
from fcn.runs.paths import RunPaths

Curve = dict[int, dict[str, Any]]


def read_curve(run: RunPaths) -> Curve:
    """Step -> the row of its evaluation. Raises UserError where the run has no such row, or one is damaged."""
    curve = {row["step"]: row for row in read_rows(run.metrics) if {"miou", "iou", "run_seconds"} <= row.keys()}
    for step, row in curve.items():
        scores: list[Any] = [row["miou"], *row["iou"].values()] if isinstance(row["iou"], dict) else [""]
        if not all(score is None or (type(score) in (int, float) and 0 <= score <= 1) for score in scores):
            raise UserError(f"{run.metrics}: the scores of step {step} are not from 0 to 1; resume or repeat the run")
    if not curve:
        raise UserError(f"{run.directory}: has no timed evaluation; train until the first one (train.evaluate_steps)")
    return curve


def curve_table(curves: Mapping[str, Curve]) -> str:
    """Mean, lowest and highest score over the runs: mIoU at each step that all share, each class at the last of them.

    Raises UserError where the runs share no step, or have different classes.
    """
    steps = sorted(set.intersection(*(set(curve) for curve in curves.values())))
    classes = {tuple(row["iou"]) for curve in curves.values() for row in curve.values()}
    if not steps or len(classes) > 1:
        raise UserError(f"{', '.join(curves)}: share no evaluated step, or differ in classes; name runs of one recipe")
    title = "1 run" if len(curves) == 1 else f"{len(curves)} runs"
    lines = [f"{title:<22}{'minutes':>9}    mean  lowest highest"]
    for step in steps:
        rows = [curve[step] for curve in curves.values()]
        minutes = np.median([row["run_seconds"] for row in rows]) / 60
        lines.append(f"{f'miou, step {step}':<22}{minutes:>9.1f}{_mean_and_range([row['miou'] for row in rows])}")
    for name in rows[0]["iou"]:
        lines.append(f"{f'iou {printable(name)}':<31}{_mean_and_range([row['iou'][name] for row in rows])}")
    return "\n".join(lines)


def _mean_and_range(scores: list[float | None]) -> str:
    """Mean, lowest and highest, in columns of eight; '-' where a class does not occur."""
    known = [score for score in scores if score is not None]
    return f"{np.mean(known):>8.3f}{min(known):>8.3f}{max(known):>8.3f}" if known else f"{'-':>8}"


def plot_curves(curves: Mapping[str, Curve], path: Path) -> None:
    """Writes a PNG of the mIoU over minutes, a line for each run. Raises UserError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"{path}: needs matplotlib; install it with `pip install matplotlib`") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes of training", ylabel="validation mIoU")
    for name, curve in curves.items():
        rows = curve.values()
        axes.plot([row["run_seconds"] / 60 for row in rows], [row["miou"] for row in rows], label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_file(path, picture.getvalue())
