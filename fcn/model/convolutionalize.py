"""Turns dense layers into convolutions, exactly: a dense layer on a flattened (h, w, c) map computes what a convolution
with an h x w window computes at one place. On a larger map the convolution does it at every place.
"""

# Shapes: N images, H x W pixels, h x w the flattened map, c its channels, C classes
from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def dense_kernel_to_conv(kernel: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Dense kernel (h * w * c, units) -> convolution kernel (h, w, c, units) for the window (h, w).

    Keras flattens (h, w, c), so no value moves. Caffe and torch store (units, c, h, w) and need transpose(2, 3, 1, 0);
    the wrong order runs without an error, but what was learned is lost.
    """
    return kernel.reshape(*window, -1, kernel.shape[-1])


def copy_weights(values: Sequence[keras.Variable | tf.Variable], model: keras.Model) -> None:
    """Sets the weights of a model to values in the same order, between a classifier and its converted network too.

    A dense kernel and the kernel of its convolution are the same numbers in another shape (`dense_kernel_to_conv`).
    Weights of the model beyond the values, such as upsampling kernels, stay.
    """
    for weight, value in zip(model.weights, values, strict=False):
        weight.assign(np.reshape(value.numpy(), weight.shape))


def convolutionalize(classifier: keras.Model) -> keras.Model:
    """The same network for images of any size: (N, H, W, 3) -> logits (N, ceil(H / 32), ceil(W / 32), C) for a VGG.

    The classifier is a chain of layers with one Flatten. The first dense layer becomes a SAME convolution whose window
    (h, w) is the flattened map; the later ones become 1x1 convolutions. Layers keep their names and weights. With an
    odd window, cell (i + h // 2, j + w // 2) of the result is the classifier's head on the window that begins at
    (i, j); cells closer to the border see zeros beyond it.
    """
    image = keras.Input((None, None, classifier.input.shape[-1]), dtype=classifier.input.dtype, name="image")
    x = image
    window = (1, 1)
    for layer in classifier.layers[1:]:
        if isinstance(layer, layers.Flatten):
            window = tuple(layer.input.shape[1:3])
            continue
        weights = layer.get_weights()
        if isinstance(layer, layers.Dense):
            copy = layers.Conv2D(
                layer.units,
                window,
                padding="same",
                use_bias=layer.use_bias,
                activation=layer.activation,
                name=layer.name,
            )
            weights[0] = dense_kernel_to_conv(weights[0], window)
            window = (1, 1)
        else:
            copy = type(layer).from_config(layer.get_config())
        x = copy(x)
        copy.set_weights(weights)
    return keras.Model(image, x)
