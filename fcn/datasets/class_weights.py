"""Per-class loss weights, from how often each class is seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fcn.config.settings import TrainConfig
from fcn.datasets.dataset import Dataset
from fcn.images import Array


def class_weights(config: TrainConfig, training: Dataset) -> tuple[float, ...]:
    """The configured loss weight of each class."""
    classes = len(training.classes)
    if config.class_weights == "none":
        return (1.0,) * classes
    labels = (training.read(index)[1] for index in range(len(training)))
    weights = median_frequency([(count_classes(label, classes), label.size) for label in labels])
    return tuple(float(weight) for weight in weights**config.class_weight_power)


def count_classes(label: Array, classes: int) -> Array:
    """Pixels of each class in a label map uint8 (H, W), without ignored ones: int64 (C,)."""
    return np.bincount(label.reshape(-1), minlength=256)[:classes].copy()


def median_frequency(frames: Iterable[tuple[Array, int]]) -> Array:
    """Class weights float64 (C,) by median frequency balancing (Eigen and Fergus 2015); 1 for a class without pixels.

    A frame is given by the pixels of each class (C,) and the number of all its pixels. The frequency of a class is its
    share of all pixels, ignored ones too, of the frames that show it.
    """
    counts, pixels = (np.array(numbers) for numbers in zip(*frames, strict=True))
    seen = counts.sum(axis=0) > 0
    frequency = counts.sum(axis=0)[seen] / (pixels @ (counts > 0))[seen]
    weights = np.ones(len(seen))
    weights[seen] = np.median(frequency) / frequency
    return weights
