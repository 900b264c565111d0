"""Batch-normalization statistics of given weights, recomputed over frames without augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from fcn.datasets.dataset import Dataset, evenly_spaced

BATCH = 4  # frames that are normalized together: train.batch_size by default
SIDE = 1024  # pixels; larger frames are cropped to this height and width, so that memory is bounded


def recompute_batch_norm_statistics(
    model: keras.Model, dataset: Dataset, frames: int, poll: Callable[[], None]
) -> None:
    """Replaces the running statistics by those over the frames ("precise BN": Wu and Johnson 2021, section 3).

    From the means m and variances v of all batches follow mean(m) and mean(v + m^2) - mean(m)^2. The model is called in
    training mode and must have no dropout. `frames` are evenly spaced over the split; 0 changes nothing. `poll` is
    called before each batch and may raise to stop.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    indices = evenly_spaced(len(dataset), frames if norms else 0)
    if not indices:
        return
    momenta = [layer.momentum for layer in norms]
    batches = math.ceil(len(indices) / BATCH)
    found = []
    try:
        for layer in norms:
            layer.momentum = 0.0  # the statistics of a batch replace those before
        for number in range(batches):
            poll()
            images = [dataset.read(index)[0] for index in indices[number::batches]]  # far apart, not neighbors
            height, width = np.min([image.shape[:2] for image in images] + [(SIDE, SIDE)], axis=0)
            model(tf.stack([center_crop(image, height, width) for image in images]), training=True)
            found.append([(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in norms])
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
    for layer, of_batches in zip(norms, zip(*found, strict=True), strict=True):
        means, variances = np.array(of_batches, np.float64).swapaxes(0, 1)
        mean = means.mean(axis=0)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign((variances + means**2).mean(axis=0) - mean**2)


def synchronize_batch_norm(model: keras.Model) -> None:
    """Lets the layers normalize over the batches of all devices in training, as Keras' `synchronized` does.

    Unlike the fused op, Keras' layer takes the biased estimate of the variance into the moving one.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def center_crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The center of an image (H, W, 3): (height, width, 3)."""
    top = (image.shape[0] - height) // 2
    left = (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
