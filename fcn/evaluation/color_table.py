"""The color-lookup baseline that a network must beat: the majority class of each RGB bin."""

from __future__ import annotations

import numpy as np

from fcn.datasets.dataset import Dataset
from fcn.images import IGNORE, Array

LEVELS = 16  # of each channel: 16 x 16 x 16 RGB bins


def fit_color_table(dataset: Dataset) -> Array:
    """The majority class of each RGB bin over a split, uint8 (4096,); of all pixels where a bin is empty."""
    classes = len(dataset.classes)
    counts = np.zeros(LEVELS**3 * classes, np.int64)
    for index in range(len(dataset)):
        image, label = dataset.read(index)
        valid = label != IGNORE
        counts += np.bincount(color_bins(image)[valid] * classes + label[valid], minlength=counts.size)
    table = counts.reshape(-1, classes)
    majority = np.where(table.any(axis=1), table.argmax(axis=1), table.sum(axis=0).argmax())
    return majority.astype(np.uint8)


def color_bins(image: Array) -> Array:
    """The RGB bin of each pixel, which is its index in a color table: uint8 (H, W, 3) -> int64 (H, W), 0 to 4095."""
    red, green, blue = np.moveaxis(image.astype(np.int64) * LEVELS // 256, -1, 0)
    return (red * LEVELS + green) * LEVELS + blue
