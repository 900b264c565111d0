"""The network as it runs after training: the same function in fewer operations.

Batch normalization is folded into the convolution before it. The last upsampling is a sub-pixel convolution (Shi et al.
2016): a 2x2 convolution whose channels are the s x s pixels of each cell, with the products of the transposed one. The
most probable class is found before pixels are put in their order, so scores of full size need not exist.
"""

# Shapes: N images, H x W pixels, C classes, h x w the map before the last upsampling, s its factor
from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

MAX_SPLIT_FACTOR = 4  # up to 16 pixels a cell, separate maps are faster than one with another axis


def subpixel_kernel(kernel: np.ndarray) -> np.ndarray:
    """Kernel (2s, 2s, C, C) of a transposed convolution with stride s -> kernel (2, 2, C, s * s * C) of a convolution.

    Pixel r of the s between the centers of two neighboring cells sees the first through row s + r of the kernel and
    the second through row r; the same holds for columns.
    """
    factor = len(kernel) // 2
    classes = kernel.shape[-1]
    result = np.empty((2, 2, classes, factor, factor, classes), kernel.dtype)
    for row in range(2):
        for column in range(2):
            top = factor * (1 - row)
            left = factor * (1 - column)
            window = kernel[top : top + factor, left : left + factor]  # s, s, out, in
            result[row, column] = window.transpose(3, 0, 1, 2)
    return result.reshape(2, 2, classes, -1)


class InferenceForm(tf.Module):
    """A network of `build_fcn` for inference. Its methods take uint8 RGB (N, H, W, 3).

    The weights are those that `model` had in `__init__` or at the last `update`.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self.model = model
        normalized = {layer.name.removesuffix("_norm") for layer in model.layers if _is_norm(layer)}

        def without_norm(layer: layers.Layer) -> layers.Layer:
            if _is_norm(layer):
                return layers.Identity(name=layer.name)
            settings = layer.get_config()
            if "kernel_initializer" in settings:
                settings["kernel_initializer"] = "zeros"  # `update` follows
            if layer.name in normalized:
                settings["use_bias"] = True
            return type(layer).from_config(settings)

        folded = keras.models.clone_model(model, clone_function=without_norm)
        self.upsampling = [layer for layer in model.layers if isinstance(layer, layers.Conv2DTranspose)][-1]
        self.factor = self.upsampling.strides[0]
        self.classes = self.upsampling.filters
        # N, h + 2, w + 2, C: the edge cells are repeated
        self.trunk = keras.Model(folded.input, folded.get_layer(self.upsampling.name).input)
        self.kernel = tf.Variable(subpixel_kernel(self.upsampling.get_weights()[0]), trainable=False)
        self.update()

    def update(self) -> None:
        """Takes the weights that `model` has now."""
        for layer in self.trunk.layers:
            source = self.model.get_layer(layer.name)
            if not layer.weights:
                continue
            weights = source.get_weights()
            if len(layer.weights) > len(weights):  # a bias in place of batch normalization
                norm = self.model.get_layer(f"{layer.name}_norm")
                gamma, beta, mean, variance = norm.get_weights()
                scale = gamma / np.sqrt(variance + norm.epsilon)
                weights = [weights[0] * scale, beta - mean * scale]
            layer.set_weights(weights)
        self.kernel.assign(subpixel_kernel(self.upsampling.get_weights()[0]))

    def scores(self, image: tf.Tensor) -> tf.Tensor:
        """Logits float32 (N, h + 1, w + 1, s * s * C): s x s pixels from the center of each cell to the next."""
        return tf.nn.conv2d(self.trunk(image, training=False), self.kernel, strides=1, padding="VALID")

    def pixels(self, values: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        """Values (N, h + 1, w + 1, s * s * c) of pixels -> (N, H, W, c)."""
        shuffled = tf.nn.depth_to_space(values, self.factor)
        offset = self.factor // 2  # the first cell is the repeated edge
        height = tf.shape(image)[1]
        width = tf.shape(image)[2]
        return tf.slice(shuffled, [0, offset, offset, 0], tf.stack([-1, height, width, shuffled.shape[-1]]))

    def __call__(self, image: tf.Tensor, *outputs: str) -> dict[str, tf.Tensor]:
        """The outputs named: `labels` uint8 (N, H, W), `logits` or `probabilities` float32 (N, H, W, C)."""
        scores = self.scores(image)
        results = {}
        if "labels" in outputs:
            results["labels"] = self.pixels(self._labels(scores), image)[..., 0]
        if "logits" in outputs:
            results["logits"] = self.pixels(scores, image)
        if "probabilities" in outputs:
            results["probabilities"] = tf.nn.softmax(self.pixels(scores, image))
        return results

    def _labels(self, scores: tf.Tensor) -> tf.Tensor:
        """Class of each pixel, uint8 (N, h + 1, w + 1, s * s)."""
        count = self.factor**2
        if self.factor <= MAX_SPLIT_FACTOR:
            labels = [tf.argmax(one, axis=-1, output_type=tf.int32) for one in tf.split(scores, count, axis=-1)]
            return tf.stack([tf.cast(one, tf.uint8) for one in labels], axis=-1)
        shape = tf.shape(scores)
        by_class = tf.reshape(scores, tf.stack([shape[0], shape[1], shape[2] * count, self.classes]))
        labels = tf.cast(tf.argmax(by_class, axis=-1, output_type=tf.int32), tf.uint8)
        return tf.reshape(labels, tf.stack([shape[0], shape[1], shape[2], count]))


def _is_norm(layer: layers.Layer) -> bool:
    return isinstance(layer, layers.BatchNormalization)


def receptive_radius(model: keras.Model) -> int:
    """Largest distance in rows or columns between a logit and a pixel that influences it.

    Half the receptive field, added up layer by layer (Araujo, Norris and Sim 2019). A k x k convolution adds k // 2
    cells of its feature map. Pooling adds nothing, as its windows are the cells. A transposed convolution with stride s
    and SAME padding splits each cell into s, each of which sees at most (k + s) / 2 - 1 new cells beyond itself, to the
    far end of a neighboring old one. A skip sees less than the map it is added to, and its 1x1 scorer adds nothing.
    """
    radius = 0
    cell = 1
    for layer in model.layers:
        if isinstance(layer, layers.MaxPooling2D):
            cell *= layer.strides[0]
        elif isinstance(layer, layers.Conv2D):
            radius += layer.kernel_size[0] // 2 * cell
        elif isinstance(layer, layers.Conv2DTranspose):
            cell //= layer.strides[0]
            radius += ((layer.kernel_size[0] + layer.strides[0]) // 2 - 1) * cell
    return radius
