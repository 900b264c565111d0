"""The color-lookup baseline that a network must beat: the majority class of each RGB bin."""

from __future__ import annotations

import numpy as np

from fcn.datasets.dataset import Dataset
from fcn.evaluation.metrics import count_pairs
from fcn.images import Array

LEVELS = 16  # of each channel: 16 x 16 x 16 RGB bins


def fit_color_table(training: Dataset) -> Array:
    """The majority class of each RGB bin over a split, uint8 (4096,); of all pixels where a bin is empty."""
    counts = np.zeros((len(training.classes), LEVELS**3), np.int64)
    for index in range(len(training)):
        image, label = training.read(index)
        counts += count_pairs(label, color_bins(image), counts.shape)
    majority = np.where(counts.any(axis=0), counts.argmax(axis=0), counts.sum(axis=1).argmax())
    return majority.astype(np.uint8)


def color_bins(image: Array) -> Array:
    """The RGB bin of each pixel, the index into a color table: uint8 (H, W, 3) -> int64 (H, W), 0 to 4095."""
    red, green, blue = np.moveaxis(image.astype(np.int64) * LEVELS // 256, -1, 0)
    return (red * LEVELS + green) * LEVELS + blue
