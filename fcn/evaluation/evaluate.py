"""A split and a way to predict -> its scores at native resolution; every frame once, one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from fcn.datasets.dataset import Dataset
from fcn.evaluation.color_table import cells, fit_color_table
from fcn.evaluation.metrics import count_pixels, scores
from fcn.images import Array


def evaluate(dataset: Dataset, predict: Callable[[Array], Array]) -> dict[str, Any]:
    """Scores predictions on all frames of a split; a bar shows the progress on a terminal.

    Args:
        dataset: the split, C classes.
        predict: image uint8 (H, W, 3) -> class indices uint8 (H, W).

    Returns:
        `split`, `frames` and what `confusion.scores` gives.
    """
    classes = len(dataset.classes)
    matrix = np.zeros((classes, classes), np.int64)
    for index in tqdm(range(len(dataset)), "evaluate", unit="frame", leave=False, disable=None):
        image, truth = dataset.read(index)
        matrix += count_pixels(truth, predict(image), classes)
    return {"split": dataset.split, "frames": len(dataset), **scores(matrix, dataset.classes)}


def timed(predict: Callable[[Array], Array], seconds: list[float]) -> Callable[[Array], Array]:
    """The same function; how long each call took is added to `seconds`."""

    def timed_predict(image: Array) -> Array:
        started = time.perf_counter()
        result = predict(image)
        seconds.append(time.perf_counter() - started)
        return result

    return timed_predict


def evaluate_color_table(training: Dataset, dataset: Dataset) -> dict[str, Any]:
    """The scores of the baseline: a color table fitted on one split, scored on another. Returns as `evaluate`."""
    table = fit_color_table(training)
    return evaluate(dataset, lambda image: table[cells(image)])


def score_table(columns: dict[str, dict[str, Any]]) -> str:
    """Scores side by side as text, a line a measure and a class; '-' for a class that does not occur."""
    lines = [f"{'':<16}" + "".join(f"{title:>14}" for title in columns)]
    several = list(columns.values())
    for measure in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou"):
        lines.append(_line(measure, [one[measure] for one in several]))
    lines += [_line(f"iou {name}", [one["iou"][name] for one in several]) for name in several[0]["iou"]]
    return "\n".join(lines)


def _line(title: str, values: list[float | None]) -> str:
    return f"{title:<16}" + "".join(f"{shown(value):>14}" for value in values)


def shown(value: float | None) -> str:
    """A score with four digits; '-' where nothing was counted."""
    return "-" if value is None else f"{value:.4f}"
