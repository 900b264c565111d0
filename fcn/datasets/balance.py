"""What a pixel of each class counts in the loss, from how often the class is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcn.config import TrainConfig
from fcn.datasets.dataset import Dataset
from fcn.errors import UserError
from fcn.images import Array


def class_weights(config: TrainConfig, training: Dataset) -> tuple[float, ...]:
    """The weight of each class as the config has it; frames are read where they are counted.

    Raises:
        UserError: the config gives another number of weights than there are classes.
    """
    classes = len(training.classes)
    if config.class_weights == "none":
        return (1.0,) * classes
    if config.class_weights == "given":
        if len(config.given_class_weights) != classes:
            given, names = len(config.given_class_weights), ", ".join(one.name for one in training.classes)
            raise UserError(f"train.given_class_weights: is {given} long; write one for each of {classes}: {names}")
        return config.given_class_weights
    counts, pixels = [], []
    for index in range(len(training)):
        label = training.read(index)[1]
        counts.append(np.bincount(label.reshape(-1), minlength=256)[:classes])
        pixels.append(label.size)
    return tuple(float(weight) for weight in median_frequency(counts, pixels) ** config.class_weight_power)


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
