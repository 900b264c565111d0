"""Where masks are wrong: how well boundaries between classes are met, and scores by the distance from a boundary.

Distances are in pixels of a frame with 360 rows and scale with the height, so that scores of other sizes compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn.datasets.statistics import count_pairs
from fcn.evaluation.metrics import ConfusionMatrix
from fcn.images import IGNORE, Array, SegmentationClass

REFERENCE_HEIGHT = 360  # rows
TOLERANCE = 2  # pixels: 0.3 % of the diagonal of 360x480, within the 0.75 % that Csurka et al. take
DISTANCES = (2, 4, 8, 16)  # pixels at which one band of `BoundaryScores` ends and the next begins


def pixels_at(height: int, distance: int) -> int:
    """A distance at 360 rows in pixels of frames of another height; at least 1."""
    return max(1, round(distance * height / REFERENCE_HEIGHT))


class BoundaryScores:
    """Sums over frames for the boundary F-score of each class, and a confusion matrix for each distance band."""

    def __init__(self, classes: Sequence[SegmentationClass]):
        self.classes = tuple(classes)
        self.f_sums = np.zeros(len(classes))
        self.f_frames = np.zeros(len(classes), np.int64)
        self.bands = np.zeros((len(DISTANCES) + 1, len(classes), len(classes)), np.int64)

    def add(self, label: Array, prediction: Array) -> None:
        """Adds a frame: label uint8 (H, W) of class indices and IGNORE, prediction uint8 (H, W) of class indices."""
        height = len(label)
        radius = pixels_at(height, TOLERANCE)
        is_unknown = within(label == IGNORE, radius)  # an ignored pixel may hide a boundary
        true = boundary(label)
        predicted = boundary(np.where(label == IGNORE, IGNORE, prediction))
        f_score = _f_scores(
            true=_counts(true, ~is_unknown, len(self.classes)),
            found=_counts(true, ~is_unknown & matched(true, predicted, radius), len(self.classes)),
            predicted=_counts(predicted, ~is_unknown, len(self.classes)),
            correct=_counts(predicted, ~is_unknown & matched(predicted, true, radius), len(self.classes)),
        )
        self.f_sums += np.nan_to_num(f_score)
        self.f_frames += ~np.isnan(f_score)

        band = np.full(label.shape, len(DISTANCES))
        edges = changes(label)
        for number, distance in reversed(list(enumerate(DISTANCES))):
            band[within(edges, pixels_at(height, distance) - 1)] = number  # the pixels at a boundary are 1 from it
        pairs = count_pairs(label, band * len(self.classes) + prediction, (len(self.classes), self.bands[:, 0].size))
        self.bands += pairs.reshape(len(self.classes), *self.bands[:, 0].shape).swapaxes(0, 1)

    def scores(self) -> dict[str, Any]:
        """Fractions, None where nothing was counted.

        boundary_f: class name -> boundary F-score (BF; Csurka, Larlus and Perronnin 2013). In a frame it is the
            harmonic mean of precision, the share of the predicted boundary within `boundary_tolerance` of the true one,
            and recall, the share of the true boundary within that of the predicted one. The mean is over the frames
            whose ground truth has a boundary of the class. Boundaries within the tolerance of an ignored pixel do not
            count.
        mean_boundary_f: mean of `boundary_f` over the classes that have one.
        boundary_tolerance: in pixels at 360 rows; straight-line distance.
        by_distance: a row for each band of distances `from`, `to` (None: no end) in pixels at 360 rows, along rows or
            columns, whichever is longer, to the nearest change of class in the ground truth, from or to ignored pixels
            too: `share` of the labeled pixels, `errors` (share of the wrong pixels), `pixel_accuracy`, `miou`, `iou`.
        """
        names = [one.name for one in self.classes]
        f_scores = [self.f_sums[i] / self.f_frames[i] if self.f_frames[i] else None for i in range(len(names))]
        known = [score for score in f_scores if score is not None]
        wrong = self.bands.sum() - np.trace(self.bands, axis1=1, axis2=2).sum()
        rows = []
        for counts, start, end in zip(self.bands, (0, *DISTANCES), (*DISTANCES, None), strict=True):
            matrix = ConfusionMatrix(self.classes)
            matrix.counts += counts
            scores = matrix.scores()
            share = float(counts.sum() / self.bands.sum()) if self.bands.any() else None
            errors = float((counts.sum() - np.trace(counts)) / wrong) if wrong else None
            row = {name: scores[name] for name in ("pixel_accuracy", "miou", "iou")}
            rows.append({"from": start, "to": end, "share": share, "errors": errors, **row})
        return {
            "boundary_f": dict(zip(names, f_scores, strict=True)),
            "mean_boundary_f": float(np.mean(known)) if known else None,
            "boundary_tolerance": TOLERANCE,
            "by_distance": rows,
        }


def boundary(labels: Array) -> Array:
    """The class of the pixels next to another class, above, below, left or right; IGNORE elsewhere: uint8 (H, W).

    A change from or to IGNORE is no boundary.
    """
    return np.where(changes(labels, but_not=IGNORE), labels, IGNORE).astype(np.uint8)


def changes(labels: Array, but_not: int | None = None) -> Array:
    """Whether a pixel's label differs from one above, below, left or right, bool (H, W).

    `but_not` is a label whose changes do not count.
    """
    found = np.zeros(labels.shape, bool)
    for marks, values in ((found, labels), (found.T, labels.T)):
        differs = values[1:] != values[:-1]
        if but_not is not None:
            differs &= (values[1:] != but_not) & (values[:-1] != but_not)
        marks[1:] |= differs
        marks[:-1] |= differs
    return found


def within(marks: Array, radius: int) -> Array:
    """Whether a marked pixel lies in the square of 2 x radius + 1 pixels around a pixel, bool (H, W)."""
    for _ in range(2):  # along columns, then along rows
        sums = np.pad(marks, ((radius + 1, radius), (0, 0))).cumsum(axis=0, dtype=np.int32)
        marks = (sums[2 * radius + 1 :] > sums[: -2 * radius - 1]).T
    return marks


def matched(one: Array, other: Array, radius: int) -> Array:
    """Whether a pixel of `boundary` has one of the same class in another within a radius in pixels, bool (H, W)."""
    height, width = one.shape
    padded = np.pad(other, radius, constant_values=IGNORE)
    found = np.zeros(one.shape, bool)
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            if row**2 + column**2 <= radius**2:
                found |= padded[radius + row :, radius + column :][:height, :width] == one
    return found & (one != IGNORE)


def _counts(classes: Array, counted: Array, count: int) -> Array:
    """How many of the counted pixels each class has, int64 (C,)."""
    return np.bincount(classes[counted], minlength=256)[:count]


def _f_scores(true: Array, found: Array, predicted: Array, correct: Array) -> Array:
    """F-score of each class from its numbers of boundary pixels; NaN where there is no true one."""
    recall = found / np.maximum(true, 1)
    precision = correct / np.maximum(predicted, 1)
    total = precision + recall
    scores = 2 * precision * recall / np.where(total > 0, total, 1)
    return np.where(true > 0, scores, np.nan)
