"""Scores from one integer confusion matrix over a whole split, so they do not depend on how frames were grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn.datasets.statistics import count_pairs
from fcn.images import Array, SegmentationClass


class ConfusionMatrix:
    """Counts pixels by their true and their predicted class: `counts`, int64 (C, C), rows are the true classes."""

    def __init__(self, classes: Sequence[SegmentationClass]):
        self.classes = tuple(classes)
        self.counts = np.zeros((len(self.classes), len(self.classes)), np.int64)

    def add(self, name: str, label: Array, prediction: Any) -> None:  # noqa: ARG002 - subclasses need the name
        """Counts a frame: label uint8 (H, W) of class indices and IGNORE, prediction uint8 (H, W) of class indices."""
        self.counts += count_pairs(label, prediction, self.counts.shape)

    def scores(self) -> dict[str, Any]:
        """Measures of Shelhamer, Long and Darrell 2017, section 5, and more: fractions, None where nothing was counted.

        miou: mean of `iou` over the classes in labels or predictions. A rare class counts as much as a frequent one,
            which is why it is the headline; it does not show where in the image the mistakes are.
        iou: class name -> intersection over union of label and prediction; None where the class is in neither.
        pixel_accuracy: share of correct pixels; high already where one class fills the frame.
        mean_accuracy: mean over the labeled classes of the share of their pixels that was found.
        fw_iou: mean of `iou` weighted by the class's share of the labeled pixels.
        precision: class name -> share of the pixels predicted as the class that are of it.
        recall: class name -> share of the pixels of the class that were found.
        f1: class name -> harmonic mean of both.
        share: class name -> share of the labeled pixels.
        """
        correct = np.diag(self.counts)
        labeled = self.counts.sum(axis=1)
        predicted = self.counts.sum(axis=0)
        union = labeled + predicted - correct
        total = labeled.sum()
        iou = correct[union > 0] / union[union > 0]
        accuracy = correct[labeled > 0] / labeled[labeled > 0]

        def by_class(counts: Array, of: Array) -> dict[str, float | None]:
            pairs = zip(self.classes, counts, of, strict=True)
            return {one.name: float(count / whole) if whole else None for one, count, whole in pairs}

        return {
            "miou": float(iou.mean()) if iou.size else None,
            "iou": by_class(correct, union),
            "pixel_accuracy": float(correct.sum() / total) if total else None,
            "mean_accuracy": float(accuracy.mean()) if accuracy.size else None,
            "fw_iou": float((iou * labeled[union > 0]).sum() / total) if total else None,
            "precision": by_class(correct, predicted),
            "recall": by_class(correct, labeled),
            "f1": by_class(2 * correct, labeled + predicted),
            "share": by_class(labeled, np.full(len(labeled), total)),
        }
