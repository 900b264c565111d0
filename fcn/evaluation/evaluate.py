"""A split and a way to predict -> its scores at native resolution; every frame once, one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from fcn.config.settings import Config, DataConfig
from fcn.datasets import open_split
from fcn.datasets.dataset import Dataset, evenly_spaced
from fcn.datasets.kitti_road import ROAD
from fcn.datasets.statistics import SplitStatistics, check_frames, frame_statistics
from fcn.errors import UserError
from fcn.evaluation.color_table import fit_color_table, score_color_table
from fcn.evaluation.kitti.benchmark import RoadScores
from fcn.evaluation.metrics import ConfusionMatrix
from fcn.evaluation.scores import SplitScores
from fcn.images import Array
from fcn.inference.predictor import Predictor, Variation, load_predictor
from fcn.inference.runtimes import ExportedModel
from fcn.runs.trained import TrainedModel

Scores = dict[str, Any]
TIMED_FRAMES = 30


def evaluate(dataset: Dataset, predict: Callable[[Array], Any], accumulator: ConfusionMatrix | None = None) -> Scores:
    """`split`, `frames` and the scores of predictions on all frames of a split; a bar shows the progress on a terminal.

    `predict` maps an image uint8 (H, W, 3) to class indices uint8 (H, W), or to what the given accumulator takes.
    """
    accumulator = accumulator or ConfusionMatrix(dataset.classes)
    add_frames(accumulator, dataset, range(len(dataset)), predict)
    return {"split": dataset.split, "frames": len(dataset), **accumulator.scores()}


def add_frames(
    accumulator: ConfusionMatrix, dataset: Dataset, indices: Sequence[int], predict: Callable[[Array], Any]
) -> None:
    """Adds predictions on some frames of a split to the accumulator; as `evaluate`."""
    for index in tqdm(indices, "evaluate", unit="frame", leave=False, disable=None):
        image, label = dataset.read(index)
        accumulator.add(dataset.names[index], label, predict(image))


def evaluate_color_table(training: SplitStatistics, scored: SplitStatistics) -> Scores:
    """Scores as `evaluate` of the baseline that a network must beat, fitted on one split and scored on another."""
    matrix = score_color_table(fit_color_table(training), scored)
    return {"split": scored.split, "frames": scored.frames, **matrix.scores()}


def evaluate_trained(
    trained: TrainedModel | ExportedModel, config: Config, dataset: Dataset, tta: Sequence[Variation] = ()
) -> tuple[Scores, Predictor, list[str]]:
    """Scores a trained network on a split, by its config (whose `data` may differ); `tta` is that of `Predictor`.

    Returns all scores of `SplitScores`, and what a frame costs: `milliseconds` and `milliseconds_p95` (median and 95th
    percentile of labeling up to 30 frames) and, of a Keras network, `parameters` and `gigaflops` (of one pass over the
    first frame); then the predictor; then a line for each problem.
    """
    predictor = load_predictor(trained, config, tta=tta, max_height=None)
    road = RoadScores(config.data) if config.data.kind == "kitti_road" else None
    has_confidence = road is not None or tta or predictor.network.has_probabilities

    def predict(image: Array) -> Any:
        if not has_confidence:
            return predictor.labels(image), None
        return predictor.labels_and_confidence(image, ROAD if road else None)

    scores = evaluate(dataset, predict, road or SplitScores(dataset.classes))
    height, width = dataset.read(0)[0].shape[:2]
    if predictor.model is not None:
        from fcn.evaluation.cost import gigaflops  # imports TensorFlow

        scores["parameters"] = predictor.model.count_params()
        scores["gigaflops"] = gigaflops(predictor.model, height, width)
    times = _milliseconds(predictor, dataset)
    scores["milliseconds"] = float(np.median(times))
    scores["milliseconds_p95"] = float(np.percentile(times, 95))
    if tta:
        scores["tta"] = list(tta)
    return scores, predictor, road.problems if road else []


def _milliseconds(predictor: Predictor, dataset: Dataset) -> list[float]:
    """Times of labeling evenly spaced frames, of which the first of a size is labeled once before."""
    times = []
    shapes = set()
    for index in evenly_spaced(len(dataset), TIMED_FRAMES):
        image, _ = dataset.read(index)
        if image.shape not in shapes:
            predictor.labels(image)
            shapes.add(image.shape)
        started = time.perf_counter()
        predictor.labels(image)
        times.append(1000 * (time.perf_counter() - started))
    return times


def find_baseline(config: DataConfig, dataset: Dataset) -> tuple[Scores | None, list[str]]:
    """Scores of the color-lookup baseline on a split; None without a training split, with a line that says why."""
    try:
        datasets = [open_split(config, "train"), dataset]
        # what a training has found of these two is used again
        statistics = frame_statistics(config, datasets) if dataset.split == "val" else check_frames(datasets)
    except UserError as error:
        return None, [f"no color-lookup baseline, which is fitted on the training split: {error}"]
    return evaluate_color_table(*statistics.splits), []


def score_table(network: Scores, baseline: Scores | None) -> str:
    """Scores of a network next to those of the color-lookup baseline as text, a line for each measure and class."""
    columns = [network] if baseline is None else [network, baseline]
    rows = {"": ["network", "color lookup"][: len(columns)]}
    for measure in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou"):
        rows[measure] = [shown(scores[measure]) for scores in columns]
    for name in network["iou"]:
        rows[f"iou {name}"] = [shown(scores["iou"][name]) for scores in columns]
    return "\n".join(f"{title:<16}" + "".join(f"{cell:>14}" for cell in cells) for title, cells in rows.items())


def shown(value: float | None) -> str:
    """A score with four digits; '-' where nothing was counted."""
    return "-" if value is None else f"{value:.4f}"
