"""Per-class loss weights, from how often each class is seen."""

from __future__ import annotations

import numpy as np

from fcn.config.settings import TrainConfig
from fcn.datasets.statistics import SplitStatistics
from fcn.images import Array


def class_weights(config: TrainConfig, training: SplitStatistics) -> tuple[float, ...]:
    """The configured loss weight of each class."""
    if config.class_weights == "none":
        return (1.0,) * len(training.classes)
    weights = median_frequency(training.bins.sum(axis=1), training.shown)
    return tuple(float(weight) for weight in weights**config.class_weight_power)


def count_classes(label: Array, classes: int) -> Array:
    """Pixels of each class in a label map uint8 (H, W), without ignored ones: int64 (C,)."""
    return np.bincount(label.reshape(-1), minlength=256)[:classes].copy()


def median_frequency(counts: Array, shown: Array) -> Array:
    """Class weights float64 (C,) by median frequency balancing (Eigen and Fergus 2015); 1 for a class without pixels.

    The frequency of a class is its share, `counts` int64 (C,), of all pixels, ignored ones too, of the frames that show
    it, `shown` int64 (C,).
    """
    seen = counts > 0
    frequency = counts[seen] / shown[seen]
    weights = np.ones(len(seen))
    weights[seen] = np.median(frequency) / frequency
    return weights
