"""Batch normalization's statistics of given weights, taken anew over frames that are not varied."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from fcn.datasets.dataset import Dataset, evenly_spaced

BATCH = 4  # frames that are normalized together, as many as in a step by default
SIDE = 1024  # pixels of a frame's height and width that are looked at, so that memory is bounded


def recompute_batch_norm_statistics(
    model: keras.Model, dataset: Dataset, frames: int, poll: Callable[[], None]
) -> None:
    """Puts the statistics over the frames in place of the running ones ("precise": Wu and Johnson 2021, section 3).

    Batches count alike: of their means m and variances v they are mean(m) and mean(v + m^2) - mean(m)^2.

    Args:
        model: whose statistics are taken; it is called as in training, so it may have no dropout.
        dataset: the frames; those of a batch are cut to the middle that all have.
        frames: how many, spread evenly over the split.
        poll: called before each batch.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    indices = evenly_spaced(len(dataset), frames if norms else 0)
    if not indices:
        return
    momenta, count, found = [layer.momentum for layer in norms], -(-len(indices) // BATCH), []
    try:
        for layer in norms:
            layer.momentum = 0.0  # a batch's statistics take the place of those before
        for number in range(count):
            poll()
            images = [dataset.read(index)[0] for index in indices[number::count]]  # far apart, not neighbors
            size = np.min([image.shape[:2] for image in images] + [(SIDE, SIDE)], axis=0)
            model(tf.stack([middle(image, *size) for image in images]), training=True)
            found.append([(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in norms])
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    for layer, batches in zip(norms, zip(*found, strict=True), strict=True):
        means, variances = np.array(batches, np.float64).swapaxes(0, 1)
        mean = means.mean(axis=0)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign((variances + means**2).mean(axis=0) - mean**2)


def middle(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of an image (H, W, 3): (height, width, 3)."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
