"""The measures of the KITTI Road benchmark (Fritsch, Kuehnl and Geiger 2013), in the image and in bird's-eye view.

A confidence is an 8-bit number q for each pixel. At threshold k/255, k = 0 to 255, the pixels with q >= k are predicted
road; so two histograms of q, over the road pixels and over the others, hold all that a category's curve needs.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fcn.config.settings import DataConfig
from fcn.datasets import kitti_road
from fcn.datasets.dataset import png_color_type
from fcn.datasets.statistics import count_pairs
from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image
from fcn.evaluation.scores import SplitScores
from fcn.images import IGNORE, Array, read_label

CATEGORIES = {
    "UM": ("um_road",),
    "UMM": ("umm_road",),
    "UU": ("uu_road",),
    "URBAN": ("um_road", "umm_road", "uu_road"),  # one curve over all their pixels, not a mean of three
    "UM_LANE": ("um_lane",),
}
MEASURES = ("MaxF", "AP", "PRE", "REC", "FPR", "FNR", "threshold")
TINY = 1e-10  # in the benchmark's denominators
HISTOGRAMS = (2, 256)  # pixels of (label, confidence)


def measures(histograms: Array) -> dict[str, float] | None:
    """The benchmark's measures of the histograms (2, 256), fractions from 0 to 1; None where no pixel is road.

    MaxF: highest F1 of all thresholds; `threshold` is the lowest that has it, PRE, REC, FPR, FNR are taken there.
    AP: mean over the recalls 0, 0.1 ... 1 of the highest precision at that recall or more (PASCAL VOC 2007).
    """
    negatives, positives = histograms.sum(axis=1)
    if not positives:
        return None
    false_positives, true_positives = np.cumsum(histograms[:, ::-1], axis=1)[:, ::-1]  # [k]: pixels with q >= k
    # the benchmark leaves out thresholds without recall and precision; with an F1 of 0 they change nothing
    recall = true_positives / positives
    precision = true_positives / (true_positives + false_positives + TINY)
    f1 = 2 * precision * recall / (precision + recall + TINY)
    best = f1.argmax()
    return {
        "MaxF": float(f1[best]),
        "AP": float(np.mean([precision[recall >= least].max() for least in np.arange(0, 1.1, 0.1)])),
        "PRE": float(precision[best]),
        "REC": float(recall[best]),
        "FPR": float(false_positives[best] / max(negatives, 1)),
        "FNR": float(1 - recall[best]),
        "threshold": float(best / 255),
    }


class RoadScores(SplitScores):
    """Collects the benchmark's histograms, too; `problems`: a line for each frame left out of the bird's-eye scores."""

    def __init__(self, config: DataConfig):
        super().__init__(kitti_road.CLASSES)
        self.problems: list[str] = []
        self._config = config
        self._histograms = defaultdict[tuple[str, str], Array](lambda: np.zeros(HISTOGRAMS, np.int64))

    def add(self, name: str, label: Array, prediction: Any) -> None:
        """Counts a frame such as um_000000: label, and predicted labels and confidence of road, all uint8 (H, W)."""
        labels, confidence = prediction
        super().add(name, label, (labels, np.where(labels == kitti_road.ROAD, confidence, 255 - confidence)))
        self.add_confidence(kitti_road.truth_name(self._config, name), label, confidence)

    def add_confidence(self, name: str, label: Array, confidence: Array) -> None:
        """Counts a frame by its ground truth's name, such as um_road_000000, for the benchmark's measures only."""
        category, kind, number = name.split("_")
        self._histograms["image", f"{category}_{kind}"] += count_pairs(label, confidence, HISTOGRAMS)
        try:
            homography = road_to_image(kitti_road.tree_part(self._config) / f"calib/{category}_{number}.txt")
        except UserError as error:
            self.problems.append(f"{name}: is left out of the bird's-eye scores: {error}")
            return
        label, confidence = np.moveaxis(birds_eye(np.dstack([label, confidence]), homography, outside=IGNORE), -1, 0)
        pairs = count_pairs(label, confidence, HISTOGRAMS)
        if not pairs.any():
            problem = "by its calibration, it shows no pixel of the road's 40 m x 20 m that counts"
            self.problems.append(f"{name}: is left out of the bird's-eye scores: {problem}")
        self._histograms["bev", f"{category}_{kind}"] += pairs

    def scores(self) -> dict[str, Any]:
        """As `SplitScores.scores`, and `kitti_road`: "image", "bev" -> category with road pixels -> `measures`."""
        figures: dict[str, dict[str, dict[str, float]]] = {"image": {}, "bev": {}}
        for space, rows in figures.items():
            for category, kinds in CATEGORIES.items():
                found = measures(np.sum([self._histograms[space, kind] for kind in kinds], axis=0))
                if found is not None:
                    rows[category] = found
        return {**super().scores(), "kitti_road": figures}


def road_table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """`kitti_road` of `RoadScores` as the benchmark's server shows them: percent, a line for each category."""
    lines = []
    for space, title in (("image", "image"), ("bev", "bird's-eye view")):
        lines.append(f"{title:<16}" + "".join(f"{name:>10}" for name in MEASURES))
        for category, row in figures[space].items():
            percents = "".join(f"{row[name]:>10.2%}" for name in MEASURES[:-1])
            lines.append(f"{category:<16}{percents}{row['threshold']:>10.3f}")
    return "\n".join(lines)


def score_predictions(config: DataConfig, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Scores a folder of confidences: 8-bit PNGs named like the ground truth. Images are not needed.

    Returns the number of scored `frames` with `kitti_road` as in `RoadScores.scores`, and a line for each problem.
    Raises UserError where the folder holds no prediction, or there is no folder of ground truth.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise UserError(f"{folder}: holds no prediction; name a folder of files such as um_road_000000.png")
    label_folder = kitti_road.tree_part(config) / "gt_image_2"
    if not label_folder.is_dir():
        raise UserError(f"{label_folder}: no such folder; set data.root to KITTI's official tree")
    road = RoadScores(config)
    unreadable = []
    for path in tqdm(paths, "score", unit="frame", leave=False, disable=None):
        label_file = label_folder / path.name
        try:
            if not kitti_road.TRUTH_NAME.fullmatch(path.stem) or not label_file.is_file():
                raise UserError(f"{path}: has no ground truth {label_file}; rename or remove it")
            if png_color_type(path) not in (0, None):
                raise UserError(f"{path}: is not a gray PNG; a confidence is an 8-bit gray one, 255 where surely road")
            confidence = read_label(path, config.max_megapixels)
            label = kitti_road.decode_label(config, label_file)
            if confidence.shape != label.shape:
                sizes = "{1}x{0}, its ground truth {3}x{2}".format(*confidence.shape, *label.shape)
                raise UserError(f"{path}: is {sizes} (width x height); write confidences at the image's size")
        except UserError as error:
            unreadable.append(str(error))
        else:
            road.add_confidence(path.stem, label, confidence)
    record = {"frames": len(paths) - len(unreadable), "kitti_road": road.scores()["kitti_road"]}
    return record, unreadable + road.problems
