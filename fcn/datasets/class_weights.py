"""Per-class loss weights, from how often each class is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcn.config.settings import TrainConfig
from fcn.datasets.dataset import Dataset
from fcn.errors import UserError
from fcn.images import Array


def class_weights(config: TrainConfig, training: Dataset) -> tuple[float, ...]:
    """The configured loss weight of each class; reads every frame for `median_frequency`.

    Raises:
        UserError: the config gives another number of weights than there are classes.
    """
    classes = len(training.classes)
    if config.class_weights == "none":
        return (1.0,) * classes
    if config.class_weights == "given":
        given = len(config.given_class_weights)
        if given != classes:
            names = ", ".join(one.name for one in training.classes)
            raise UserError(f"train.given_class_weights: has {given} weights; write one for each of {classes}: {names}")
        return config.given_class_weights
    counts = []
    pixels = []
    for index in range(len(training)):
        _, label = training.read(index)
        counts.append(count_classes(label, classes))
        pixels.append(label.size)
    return tuple(float(weight) for weight in median_frequency(counts, pixels) ** config.class_weight_power)


def count_classes(label: Array, classes: int) -> Array:
    """Pixels of each class in a label map uint8 (H, W), without ignored ones: int64 (C,)."""
    return np.bincount(label.reshape(-1), minlength=256)[:classes].copy()


def median_frequency(counts: Sequence[Array], pixels: Sequence[int]) -> Array:
    """Class weights float64 (C,) by median frequency balancing (Eigen and Fergus 2015); 1 for a class without pixels.

    The frequency of a class is its share of all pixels, ignored ones too, of the frames that show it.

    Args:
        counts: pixels of each class (C,) in each frame.
        pixels: all pixels of each frame.
    """
    by_frame = np.array(counts)
    frame_pixels = np.array(pixels)[:, np.newaxis]
    seen = by_frame.any(axis=0)
    frequency = by_frame.sum(axis=0)[seen] / (frame_pixels * (by_frame > 0)).sum(axis=0)[seen]
    weights = np.ones(by_frame.shape[1])
    weights[seen] = np.median(frequency) / frequency
    return weights
