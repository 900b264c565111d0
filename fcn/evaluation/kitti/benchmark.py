"""The measures of the KITTI Road benchmark (Fritsch, Kuehnl and Geiger 2013), in the image and in bird's-eye view.

A confidence is an 8-bit number q a pixel. At each threshold k/255, k = 0 to 255, the pixels with q >= k are road; so
two histograms of q, of the pixels that are road and of those that are not, hold all that a category's curve needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fcn.config.data_settings import DataConfig
from fcn.datasets.dataset import Dataset
from fcn.datasets.kitti_road import (
    TRUTH_NAME,
    calibration_file,
    decode_label,
    part_of_tree,
    read_confidence,
    truth_name,
)
from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.evaluation.metrics import count_pixels, scores
from fcn.images import IGNORE, Array

CATEGORIES = {
    "UM": ("um_road",),
    "UMM": ("umm_road",),
    "UU": ("uu_road",),
    "URBAN": ("um_road", "umm_road", "uu_road"),  # one curve over all their pixels, not a mean of three
    "UM_LANE": ("um_lane",),
}
MEASURES = ("MaxF", "AP", "PRE", "REC", "FPR", "FNR", "threshold")
TINY = 1e-10  # in the benchmark's denominators
LEVELS = 256


def count_confidences(truth: Array, confidence: Array) -> Array:
    """The histograms of a frame; those of several frames are added.

    Args:
        truth: uint8 (H, W): 0 not road, 1 road, or IGNORE, which is not counted.
        confidence: uint8 (H, W).

    Returns:
        int64 (2, 256): pixels of [truth, confidence].
    """
    valid = truth != IGNORE
    return np.bincount(truth[valid].astype(np.int64) * LEVELS + confidence[valid], minlength=2 * LEVELS).reshape(
        2, LEVELS
    )


def measures(histograms: Array) -> dict[str, float] | None:
    """The benchmark's measures of the histograms (2, 256), fractions from 0 to 1; None where no pixel is road.

    Returns:
        MaxF: highest F1 of all thresholds; `threshold` is the lowest that has it, PRE, REC, FPR, FNR are taken there.
        AP: mean over the recalls 0, 0.1 ... 1 of the highest precision at that recall or more (PASCAL VOC 2007).
    """
    negatives, positives = histograms.sum(axis=1)
    if not positives:
        return None
    false, true = np.cumsum(histograms[:, ::-1], axis=1)[:, ::-1]  # [k]: pixels with q >= k
    # the benchmark leaves out thresholds without recall and precision; with an F1 of 0 they change nothing
    recall, precision = true / positives, true / (true + false + TINY)
    f1 = 2 * precision * recall / (precision + recall + TINY)
    best = f1.argmax()
    figures = (
        f1[best],
        np.mean([precision[recall >= least].max() for least in np.arange(0, 1.1, 0.1)]),
        precision[best],
        recall[best],
        false[best] / max(negatives, 1),
        1 - recall[best],
        best / 255,
    )
    return dict(zip(MEASURES, map(float, figures), strict=True))


class RoadScores:
    """Frame by frame the histograms of the benchmark's categories; no frame is kept.

    Attributes:
        mistakes: a line for each frame whose calibration is missing or bad; bird's-eye scores are without it.
    """

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self._histograms = {space: defaultdict[str, Array | int](int) for space in ("image", "bev")}

    def add(self, name: str, truth: Array, confidence: Array, calibration: Path) -> None:
        """Counts a frame by its truth's name, such as um_road_000000: truth and confidence uint8 (H, W)."""
        kind = name.rpartition("_")[0]
        self._histograms["image"][kind] += count_confidences(truth, confidence)
        try:
            homography = road_to_image(calibration)
        except UserError as error:
            self.mistakes.append(f"{name}: is left out of the bird's-eye scores: {error}")
            return
        seen = birds_eye(np.dstack([truth, confidence]), homography, outside=IGNORE)
        self._histograms["bev"][kind] += count_confidences(seen[..., 0], seen[..., 1])

    def figures(self) -> dict[str, dict[str, dict[str, float]]]:
        """Space ("image", "bev") -> category -> `measures`; categories without frames or without road are absent."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for space, histograms in self._histograms.items():
            summed = {name: sum(histograms.get(kind, 0) for kind in kinds) for name, kinds in CATEGORIES.items()}
            found = {name: measures(both) for name, both in summed.items() if isinstance(both, np.ndarray)}
            result[space] = {name: figures for name, figures in found.items() if figures}
        return result


def road_table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """What `RoadScores.figures` gives as the benchmark's server shows it: percent, a line a category."""
    lines = []
    for space, title in (("image", "image"), ("bev", "bird's-eye view")):
        lines.append(f"{title:<16}" + "".join(f"{name:>10}" for name in MEASURES))
        for category, row in figures[space].items():
            percents = "".join(f"{row[name]:>10.2%}" for name in MEASURES[:-1])
            lines.append(f"{category:<16}{percents}{row['threshold']:>10.3f}")
    return "\n".join(lines)


def evaluate_road(
    config: DataConfig, dataset: Dataset, predict: Callable[[Array], Array]
) -> tuple[dict[str, Any], list[str]]:
    """Scores a network on a split with truth, each frame once, one at a time.

    Args:
        config: of the split.
        dataset: the split, of the classes background and road.
        predict: image uint8 (H, W, 3) -> class index and confidence of road, uint8 (H, W, 2).

    Returns:
        What `evaluate` gives and, as `kitti_road`, `RoadScores.figures`; and `RoadScores.mistakes`.
    """
    matrix, road = np.zeros((2, 2), np.int64), RoadScores()
    for index in tqdm(range(len(dataset)), "evaluate", unit="frame", leave=False, disable=None):
        image, truth = dataset.read(index)
        label, confidence = np.moveaxis(predict(image), -1, 0)
        matrix += count_pixels(truth, label, 2)
        name = dataset.names[index]
        road.add(truth_name(config, name), truth, confidence, calibration_file(config, name))
    record = {"split": dataset.split, "frames": len(dataset), **scores(matrix, dataset.classes)}
    return {**record, "kitti_road": road.figures()}, road.mistakes


def score_predictions(config: DataConfig, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Scores the confidences in a folder, 8-bit PNGs called like the truth, which alone is read with the calibration.

    Returns:
        `frames` that were scored and, as `kitti_road`, `RoadScores.figures`; and a line for all that is wrong.

    Raises:
        UserError: there is no such folder, no prediction or no truth at all.
    """
    paths, training, road, mistakes, frames = sorted(folder.glob("*.png")), part_of_tree(config), RoadScores(), [], 0
    if not paths:
        raise UserError(f"{folder}: holds no prediction; name a folder of files such as um_road_000000.png")
    if not (training / "gt_image_2").is_dir():
        raise UserError(f"{training / 'gt_image_2'}: no such folder; set data.root to KITTI's official tree")
    for path in tqdm(paths, "score", unit="frame", leave=False, disable=None):
        truth_file = training / "gt_image_2" / path.name
        try:
            if not (match := TRUTH_NAME.fullmatch(path.stem)) or not truth_file.is_file():
                raise UserError(f"{path}: has no truth {truth_file}; rename or remove it")
            confidence, truth = read_confidence(config, path), decode_label(config, truth_file)
            if confidence.shape != truth.shape:
                sizes = "{1}x{0}, its truth {3}x{2}".format(*confidence.shape, *truth.shape)
                raise UserError(f"{path}: is {sizes} (width x height); write confidences at the image's size")
        except UserError as error:
            mistakes.append(str(error))
            continue
        road.add(path.stem, truth, confidence, calibration_file(config, f"{match[1]}_{match[2]}"))
        frames += 1
    return {"frames": frames, "kitti_road": road.figures()}, mistakes + road.mistakes
