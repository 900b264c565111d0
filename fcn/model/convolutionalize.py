"""Dense layers become convolutions, exactly: the classifier then slides over a map of any size.

A dense layer on a flattened (h, w, c) map multiplies every number of the map by its own weight and adds up. So does a
convolution with an h x w window at one place. On a larger map the convolution does it at every place.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def dense_kernel_to_conv(kernel: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Dense kernel (h x w x c, units) -> convolution kernel (h, w, c, units), for the window (h, w).

    Keras flattens a map in the order (h, w, c), so no number moves. Caffe and torch store (units, c, h, w) and need a
    transpose (2, 3, 1, 0) instead; the wrong order would run, and have lost what was learned.
    """
    height, width = window
    return kernel.reshape(height, width, -1, kernel.shape[-1])


def convolutionalize(classifier: keras.Model) -> keras.Model:
    """The same network for images of any size, with a map of logits for the vector of logits.

    The first dense layer takes the window of the map that was flattened, with SAME padding; the later ones are 1x1.
    With an odd window (h, w) cell (i + h // 2, j + w // 2) of the map is the classifier's head on the window that
    begins at (i, j). Cells nearer to the border see zeros beyond it. Layers keep their names and weights.

    Args:
        classifier: a chain of layers with one Flatten before its dense layers, as `vgg.build_classifier` makes it.

    Returns:
        uint8 RGB (N, H, W, 3) -> float32 (N, ceil(H / 32), ceil(W / 32), C) for a VGG.
    """
    image = keras.Input((None, None, classifier.input.shape[-1]), dtype=classifier.input.dtype, name="image")
    x = image
    window = (1, 1)
    for layer in classifier.layers[1:]:
        if isinstance(layer, layers.Flatten):
            window = tuple(layer.input.shape[1:3])
            continue
        if isinstance(layer, layers.Dense):
            copy = layers.Conv2D(
                layer.units,
                window,
                padding="same",
                use_bias=layer.use_bias,
                activation=layer.activation,
                name=layer.name,
            )
            kernel, *bias = layer.get_weights()
            weights = [dense_kernel_to_conv(kernel, window), *bias]
            window = (1, 1)
        else:
            copy = type(layer).from_config(layer.get_config())
            weights = layer.get_weights()
        x = copy(x)
        copy.set_weights(weights)
    return keras.Model(image, x)
