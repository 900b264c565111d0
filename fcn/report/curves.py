"""What runs leave in metrics.jsonl, and several runs side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys, settings
from fcn.errors import UserError, printable
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


def read_rows_of(run: RunPaths) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the training steps of a run, and those of its evaluations. Raises UserError where one is damaged."""
    training = [row for row in read_rows(run.metrics) if "loss" in row]
    for row in training:
        if not all(type(row.get(key)) in (int, float) and math.isfinite(row[key]) for key in ("loss", "learning_rate")):
            raise UserError(f"{run.metrics}: loss or rate of step {row['step']} is no number; resume or repeat the run")
    return training, list(read_curve(run).values())


def curve_table(curves: Mapping[str, Curve]) -> str:
    """Scores of runs side by side: mIoU at each step that all share, each class at the last of them.

    Of several runs also mean, lowest and highest. Raises UserError where the runs share no step, or have different
    classes.
    """
    steps = sorted(set.intersection(*(set(curve) for curve in curves.values())))
    classes = {tuple(row["iou"]) for curve in curves.values() for row in curve.values()}
    if not steps or len(classes) > 1:
        raise UserError(f"{', '.join(curves)}: share no evaluated step, or differ in classes; name other runs")
    lines = [f"run {number}: {printable(name)}" for number, name in enumerate(curves, start=1)]
    titles = [f"run {number}" for number in range(1, len(curves) + 1)]
    if len(curves) > 1:
        titles += ["mean", "lowest", "highest"]
    lines.append(_row("", titles))
    last = [curve[steps[-1]] for curve in curves.values()]
    lines.append(_row("minutes", [f"{row['run_seconds'] / 60:.1f}" for row in last]))
    for step in steps:
        lines.append(_row(f"miou, step {step}", _scores([curve[step]["miou"] for curve in curves.values()])))
    for name in last[0]["iou"]:
        lines.append(_row(f"iou {printable(name)}", _scores([row["iou"][name] for row in last])))
    return "\n".join(lines)


def changed_settings(configs: Mapping[str, Config]) -> str:
    """The settings that differ between runs, with the value of each run, as text."""
    first, *others = configs.values()
    changed = [key for key in settings() if any(key in changed_keys(first, other) for other in others)]
    if not changed:
        return "settings: the same"
    lines = ["settings that differ:"]
    for key in changed:
        values = [json.dumps(attrgetter(key)(config)) for config in configs.values()]
        lines.append(f"  {key}: {', '.join(values)}")
    return "\n".join(lines)


def _row(title: str, cells: Sequence[str]) -> str:
    return f"{title:<22}" + "".join(f"{cell:>9}" for cell in cells)


def _scores(scores: Sequence[float | None]) -> list[str]:
    """Each score, then mean, lowest and highest if there are several; '-' where a class does not occur."""
    known = [score for score in scores if score is not None]
    values = list(scores)
    if len(scores) > 1:
        values += [float(np.mean(known)), min(known), max(known)] if known else [None] * 3
    return ["-" if value is None else f"{value:.3f}" for value in values]
