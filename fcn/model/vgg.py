"""A VGG-style image classifier (Simonyan and Zisserman 2015): five blocks of 3x3 convolutions, then dense layers.

It is the start of every network here; `convolutionalize` turns its dense layers into convolutions.
"""

# N images, S pixels a side, w width, U head units, C classes
from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from fcn.config.settings import ModelConfig

CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
CHANNELS = (64, 128, 256, 512, 512)
ENCODER_STRIDE = 32  # pixels a cell of the last map: five poolings by 2

# uint8 -> about zero mean and unit spread, which He's initial weights expect; the spread of street frames is near 64
PIXEL_MEAN, PIXEL_STD = 127.5, 64.0

# 0.95 forgets the initial statistics (0 and 1) within 100 steps; Keras' 0.99 would spoil a run of 300
STATISTICS_MOMENTUM = 0.95


def build_classifier(config: ModelConfig, classes: int) -> keras.Model:
    """A classifier of square images whose last map is `head_window` cells a side.

    Its preprocessing is its first layer; pooling is SAME, so that converted it takes any size.

    Returns:
        uint8 RGB (N, S, S, 3), S = 32 x head_window -> logits float32 (N, C).
    """
    side = ENCODER_STRIDE * config.head_window
    image = keras.Input((side, side, 3), dtype="uint8", name="image")
    scale, offset = 1 / PIXEL_STD, -PIXEL_MEAN / PIXEL_STD
    x = layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")(image)
    for block, (repeats, channels) in enumerate(zip(CONVOLUTIONS[config.encoder], CHANNELS, strict=True), start=1):
        units = max(1, round(channels * config.width))
        for i in range(1, repeats + 1):
            name = f"block{block}_conv{i}"
            convolution = layers.Conv2D(
                units,
                3,
                padding="same",
                use_bias=not config.batch_norm,
                kernel_initializer="he_normal",
                name=name,
            )
            x = activate(convolution(x), name, config.batch_norm)
        x = layers.MaxPooling2D(2, padding="same", name=f"block{block}_pool")(x)
    # N, head_window, head_window, 512 w
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc6", "fc7"):
        dense = layers.Dense(
            config.head_units, use_bias=not config.batch_norm, kernel_initializer="he_normal", name=name
        )
        x = activate(dense(x), name, config.batch_norm)  # N, U
        x = layers.Dropout(config.dropout, name=f"{name}_dropout")(x)
    logits = layers.Dense(classes, name="fc8")(x)  # N, C
    return keras.Model(image, logits, name=config.encoder)


def activate(x: keras.KerasTensor, name: str, batch_norm: bool) -> keras.KerasTensor:
    """ReLU, after batch normalization where that is on; same shape."""
    if batch_norm:
        x = BatchNormalization(momentum=STATISTICS_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


class BatchNormalization(layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused op in training, which takes a fraction of its time.

    Keras' own works in float32, pass by pass over the map. The op takes bfloat16 maps as they are, with float32
    statistics, and moves the variance by its unbiased estimate.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """(N, h, w, C) -> the same shape and type; also (N, C), as Keras does it."""
        if not (training and self.trainable) or len(inputs.shape) != 4:
            return super().call(inputs, training=training)
        result, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),  # not used in training
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
        )
        for statistic, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            statistic.assign(statistic * self.momentum + value * (1 - self.momentum))
        return result
