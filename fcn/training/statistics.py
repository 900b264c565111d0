"""Batch normalisation's statistics of given weights, taken anew over frames as they are scored."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from fcn.datasets.dataset import Dataset, spread

BATCH = 4  # frames that are normalised together, as many as in training


def take_statistics(model: keras.Model, dataset: Dataset, frames: int) -> None:
    """Puts the mean of the batches' statistics in place of the running ones ("precise", Wu and Johnson 2021).

    Those of training are of scaled, recoloured and padded crops; frames at their own size have others.

    Args:
        model: whose statistics are taken; it is called as in training, so it may have no dropout.
        dataset: the frames; where the sizes of a batch differ, all are cut to the smallest height and width.
        frames: how many, spread evenly over the split.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    indices = spread(len(dataset), frames if norms else 0)
    count = -(-len(indices) // BATCH)
    for number in range(count):
        images = [dataset.read(index)[0] for index in indices[number::count]]  # far apart, not neighbours
        height, width = np.min([image.shape[:2] for image in images], axis=0)
        for layer in norms:
            layer.momentum = number / (number + 1)  # so the running mean is the mean of all so far
        model(tf.stack([image[:height, :width] for image in images]), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
