"""Scores from one integer confusion matrix over a whole split, so they do not depend on how frames were grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcn.images import IGNORE, Array, SegmentationClass


def count_pixels(truth: Array, prediction: Array, classes: int) -> Array:
    """The confusion matrix of a frame; matrices of several frames are added.

    Args:
        truth: uint8 (H, W), class indices and IGNORE; ignored pixels are not counted.
        prediction: uint8 (H, W), class indices.
        classes: number of classes C.

    Returns:
        int64 (C, C): pixels of class [truth, prediction].
    """
    counted = truth != IGNORE
    pairs = truth[counted].astype(np.int64) * classes + prediction[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(matrix: Array, classes: Sequence[SegmentationClass]) -> dict[str, Any]:
    """The scores of a confusion matrix (C, C), as defined by Shelhamer, Long and Darrell 2017, section 5.

    Returns:
        Fractions from 0 to 1, None where nothing was counted:
        miou: mean of `iou` over the classes that occur in truth or prediction. Every class counts the same however
            rare, which is why it is the headline; it says nothing about where in the picture the mistakes are.
        iou: class name -> intersection over union of truth and prediction; None where the class occurs in neither.
        pixel_accuracy: share of the pixels that are right; high already where one class fills the frame.
        mean_accuracy: mean over the classes of the truth of their share that was found.
        fw_iou: mean of `iou` weighted with the class's share of the truth.
    """
    right = np.diag(matrix)
    truth = matrix.sum(axis=1)
    union = truth + matrix.sum(axis=0) - right
    total = truth.sum()
    iou = right[union > 0] / union[union > 0]
    accuracy = right[truth > 0] / truth[truth > 0]
    by_class = {one.name: right[i] / union[i] if union[i] else None for i, one in enumerate(classes)}
    return {
        "miou": float(iou.mean()) if iou.size else None,
        "iou": {name: None if value is None else float(value) for name, value in by_class.items()},
        "pixel_accuracy": float(right.sum() / total) if total else None,
        "mean_accuracy": float(accuracy.mean()) if accuracy.size else None,
        "fw_iou": float((iou * truth[union > 0]).sum() / total) if total else None,
    }
