"""How often classes are seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcn.images import Array


def count_classes(label: Array, classes: int) -> Array:
    """Pixels of each class in a label map uint8 (H, W), without those ignored: int64 (C,)."""
    return np.bincount(label.reshape(-1), minlength=256)[:classes].copy()


def median_frequency(counts: Sequence[Array], pixels: Sequence[int]) -> Array:
    """Class weights float64 (C,) by median frequency balancing (Eigen and Fergus 2015); 1 for a class without pixels.

    The frequency of a class is its share of all pixels, ignored ones too, of the frames that show it.

    Args:
        counts: pixels of each class (C,), a frame each.
        pixels: all pixels of each frame.
    """
    by_frame, shown_in = np.array(counts), np.array(pixels)[:, np.newaxis]
    there = by_frame.any(axis=0)
    frequency = by_frame.sum(axis=0)[there] / (shown_in * (by_frame > 0)).sum(axis=0)[there]
    weights = np.ones(by_frame.shape[1])
    weights[there] = np.median(frequency) / frequency
    return weights
