"""The baseline that a network must beat: what a pixel's own color says about its class."""

from __future__ import annotations

import numpy as np

from fcn.datasets.dataset import Dataset
from fcn.images import IGNORE, Array

LEVELS = 16  # of each channel: 16 x 16 x 16 cells of the RGB cube


def fit_color_table(dataset: Dataset) -> Array:
    """The most frequent class of each cell of the RGB cube over a split, uint8 (4096,).

    A color that does not occur gets the class that is most frequent in all.
    """
    classes = len(dataset.classes)
    counts = np.zeros(LEVELS**3 * classes, np.int64)
    for index in range(len(dataset)):
        image, label = dataset.read(index)
        valid = label != IGNORE
        counts += np.bincount(cells(image)[valid] * classes + label[valid], minlength=counts.size)
    table = counts.reshape(-1, classes)
    best = np.where(table.any(axis=1), table.argmax(axis=1), table.sum(axis=0).argmax())
    return best.astype(np.uint8)


def cells(image: Array) -> Array:
    """The cell of the RGB cube of each pixel: uint8 (H, W, 3) -> int64 (H, W), 0 to 4095; a table's index."""
    red, green, blue = np.moveaxis(image.astype(np.int64) * LEVELS // 256, -1, 0)
    return (red * LEVELS + green) * LEVELS + blue
