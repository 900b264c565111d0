"""All scores of predictions on a split, gathered frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fcn.evaluation.boundaries import BoundaryScores
from fcn.evaluation.calibration import Calibration
from fcn.evaluation.metrics import ConfusionMatrix
from fcn.images import Array, SegmentationClass


class SplitScores(ConfusionMatrix):
    """Classes, boundaries and calibration over a split, and the score of each frame."""

    def __init__(self, classes: Sequence[SegmentationClass]):
        super().__init__(classes)
        self.boundaries = BoundaryScores(classes)
        self.calibration = Calibration()
        self.per_frame: list[dict[str, Any]] = []

    def add(self, name: str, label: Array, prediction: Any) -> None:
        """Adds a frame: label, and the predicted labels with their confidence (`Calibration.add`), None if unknown."""
        labels, confidence = prediction
        frame = ConfusionMatrix(self.classes)
        frame.add(name, label, labels)
        self.counts += frame.counts
        self.boundaries.add(label, labels)
        if confidence is not None:
            self.calibration.add(label, labels, confidence)
        scores = frame.scores()
        self.per_frame.append({"name": name, "miou": scores["miou"], "pixel_accuracy": scores["pixel_accuracy"]})

    def scores(self) -> dict[str, Any]:
        """Those of `ConfusionMatrix`, `BoundaryScores` and `Calibration`.

        Also `confusion`, the counts, and `per_frame`, the `name`, `miou` and `pixel_accuracy` of each frame.
        """
        return {
            **super().scores(),
            "confusion": self.counts.tolist(),
            **self.boundaries.scores(),
            **self.calibration.scores(),
            "per_frame": self.per_frame,
        }
