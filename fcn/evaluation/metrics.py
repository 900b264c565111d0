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
        """The measures of Shelhamer, Long and Darrell 2017, section 5: fractions, None where nothing was counted.

        miou: mean of `iou` over the classes in labels or predictions. A rare class counts as much as a frequent one,
            which is why it is the headline; it does not show where in the image the mistakes are.
        iou: class name -> intersection over union of label and prediction; None where the class is in neither.
        pixel_accuracy: share of correct pixels; high already where one class fills the frame.
        mean_accuracy: mean over the labeled classes of the share of their pixels that was found.
        fw_iou: mean of `iou` weighted by the class's share of the labeled pixels.
        """
        correct = np.diag(self.counts)
        labeled = self.counts.sum(axis=1)
        union = labeled + self.counts.sum(axis=0) - correct
        total = labeled.sum()
        iou = correct[union > 0] / union[union > 0]
        accuracy = correct[labeled > 0] / labeled[labeled > 0]
        names = [one.name for one in self.classes]
        return {
            "miou": float(iou.mean()) if iou.size else None,
            "iou": {name: float(correct[i] / union[i]) if union[i] else None for i, name in enumerate(names)},
            "pixel_accuracy": float(correct.sum() / total) if total else None,
            "mean_accuracy": float(accuracy.mean()) if accuracy.size else None,
            "fw_iou": float((iou * labeled[union > 0]).sum() / total) if total else None,
        }
