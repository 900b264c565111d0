"""A VGG-style image classifier (Simonyan and Zisserman 2015), from which `convolutionalize` makes every network."""

# Shapes: N images, S x S pixels, h x w a feature map, c its channels, U head units, C classes
from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fcn.config.settings import ENCODER_STRIDE, ModelConfig
from fcn.errors import UserError
from fcn.model.architecture import PREPROCESSING, STATISTICS_MOMENTUM, encoder_blocks

VECTOR = 16  # oneDNN takes 10 to 20 times as long for bfloat16 maps whose channels are not a multiple of it
KERAS_CONFIGURATION = ("tensorflow", "channels_last", "float32")  # backend, image_data_format, floatx


class BatchNormalization(layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused op in training: several times as fast, also on bfloat16 maps.

    The statistics are float32. Unlike Keras, the moving variance takes the unbiased estimate.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """(N, h, w, c) -> the same shape and dtype; a map of (N, c), or of several devices, is left to Keras."""
        if not (training and self.trainable) or len(inputs.shape) != 4 or self.synchronized:
            return super().call(inputs, training=training)
        result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs if inputs.shape[-1] % VECTOR == 0 else tf.cast(inputs, tf.float32),
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),  # not used in training
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
        )
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        return tf.cast(result, inputs.dtype)


def activate(x: keras.KerasTensor, name: str, batch_norm: bool) -> keras.KerasTensor:
    """ReLU, with batch normalization before it where that is on; same shape."""
    if batch_norm:
        x = BatchNormalization(momentum=STATISTICS_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def build_classifier(config: ModelConfig, classes: int) -> keras.Model:
    """uint8 RGB (N, S, S, 3), S = 32 x head_window -> logits float32 (N, C).

    Raises UserError if Keras is configured for another backend or layout of arrays.
    """
    configured = (keras.config.backend(), keras.config.image_data_format(), keras.config.floatx())
    if configured != KERAS_CONFIGURATION:
        raise UserError(
            f"keras.json: is {', '.join(configured)}; fcn needs {', '.join(KERAS_CONFIGURATION)}: set these"
        )
    side = ENCODER_STRIDE * config.head_window
    weighted = {"use_bias": not config.batch_norm, "kernel_initializer": "he_normal"}

    # Preprocessing: (pixel - mean) / std; weights of Keras' VGG are stored for red, green, blue as well
    mean, std = PREPROCESSING[config.preprocessing]
    image = keras.Input((side, side, 3), dtype="uint8", name="image")  # N, S, S, 3
    x = layers.Rescaling(1 / std, (-np.asarray(mean) / std).tolist(), dtype="float32", name="preprocessing")(image)

    # Encoder: each block halves height and width; pooling is SAME, for images of any size later
    for block, (repeats, filters) in enumerate(encoder_blocks(config), start=1):
        for i in range(1, repeats + 1):
            name = f"block{block}_conv{i}"
            x = layers.Conv2D(filters, 3, padding="same", name=name, **weighted)(x)
            x = activate(x, name, config.batch_norm)
        x = layers.MaxPooling2D(2, padding="same", name=f"block{block}_pool")(x)  # N, S / 2^block, S / 2^block, c

    # Head: dense layers on the flattened map
    x = layers.Flatten(name="flatten")(x)  # N, head_window * head_window * c
    for name in ("fc6", "fc7"):
        x = layers.Dense(config.head_units, name=name, **weighted)(x)  # N, U
        x = activate(x, name, config.batch_norm)
        x = layers.Dropout(config.dropout, name=f"{name}_dropout")(x)
    logits = layers.Dense(classes, name="fc8")(x)  # N, C
    return keras.Model(image, logits, name="classifier")
