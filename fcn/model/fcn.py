"""The fully convolutional network (Shelhamer, Long and Darrell 2017): encoder -> class scores -> upsampling with skips.

It differs from the published network in one point: it needs no padding by 100 pixels and no crop offsets. Pooling is
SAME, so cell i of a pooled map covers cells 2i and 2i + 1 of the map before it, and every upsampled map is cropped at
the bottom and right to the size of its skip.
"""

# Shapes: N images, H x W pixels, C classes, h x w a feature map, c its channels, U head units, s upsampling factor
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fcn.config.settings import ModelConfig
from fcn.model.convolutionalize import convolutionalize
from fcn.model.vgg import build_classifier

# Names of the upsampling layers as published for strides 32, 16 and 8, and continued for 4 and 2.
# Block -> the upsampling by 2 up to the size of its pooled map, in the order of the decoder
UPSAMPLING_TO_BLOCK = {4: "upscore2", 3: "upscore_pool4", 2: "upscore_pool3", 1: "upscore_pool2"}
# Output stride -> the last upsampling, up to the size of the image; for 2 the regular name `upscore2` is taken
UPSAMPLING_TO_IMAGE = {32: "upscore", 16: "upscore16", 8: "upscore8", 4: "upscore4", 2: "upscore_pool1"}


def score(features: keras.KerasTensor, classes: int, name: str) -> keras.KerasTensor:
    """1x1 convolution (N, h, w, c) -> class scores (N, h, w, C).

    It starts at zero, so that a skip changes nothing before it has learned something.
    """
    return layers.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(features)


def skip_features(encoder: keras.Model, block: int, skips: str) -> keras.KerasTensor:
    """The feature map (N, H / 2^block, W / 2^block, c) that a skip scores; see `model.skips`."""
    if skips == "after_pooling":
        return encoder.get_layer(f"block{block}_pool").output
    return encoder.get_layer(f"block{block + 1}_pool").input


def bilinear_kernel(shape: tuple[int, int, int, int], dtype: str = "float32") -> tf.Tensor:
    """Kernel (k, k, C, C) of a transposed convolution with stride k / 2 that interpolates each class separately.

    w[i, j] = (1 - |i - center| / half) (1 - |j - center| / half), where half = (k + 1) // 2 and center = half - 1 for
    odd k, else half - 0.5: the formula of surgery.py in the published code. The signature is a Keras initializer's.
    """
    size, _, out_channels, in_channels = shape
    half = (size + 1) // 2
    center = half - 1 if size % 2 else half - 0.5
    ramp = 1 - np.abs(np.arange(size) - center) / half
    channels = np.eye(out_channels, in_channels)
    return tf.constant(np.einsum("i,j,oc->ijoc", ramp, ramp, channels), dtype)


class CropLike(layers.Layer):
    """Cuts off `offset` pixels at the top and left, and at the bottom and right what exceeds the reference's size."""

    def __init__(self, offset: int, **kwargs: object):
        super().__init__(**kwargs)
        self.offset = offset

    def call(self, scores: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        """(N, h, w, C), reference (N, H, W, any) -> (N, H, W, C)."""
        height = tf.shape(reference)[1]
        width = tf.shape(reference)[2]
        # indexing by [...] gives the same, but its gradient takes ten times as long
        return tf.slice(scores, [0, self.offset, self.offset, 0], tf.stack([-1, height, width, scores.shape[-1]]))


def upsample(
    scores: keras.KerasTensor, factor: int, reference: keras.KerasTensor, name: str, learned: bool = True
) -> keras.KerasTensor:
    """Transposed convolution by `factor` that starts bilinear, cropped to the reference's height and width.

    The edge cells are repeated once on each side first. A plain SAME transposed convolution would mix the border with
    zeros and darken it. This way a constant stays constant up to the border, and the result equals bilinear
    `tf.image.resize`.

    Args:
        scores: (N, h, w, C).
        factor: s.
        reference: a map (N, H, W, any) whose size the result gets, H <= s h and W <= s w.
        name: of the layer that has the kernel (2s, 2s, C, C).
        learned: False keeps the bilinear kernel.

    Returns:
        (N, H, W, C).
    """
    padded = keras.ops.pad(scores, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="symmetric")  # N, h + 2, w + 2, C
    upsampled = layers.Conv2DTranspose(
        scores.shape[-1],
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=bilinear_kernel,
        trainable=learned,
        name=name,
    )(padded)  # N, (h + 2) s, (w + 2) s, C
    return CropLike(factor, name=f"{name}_crop")(upsampled, reference)


@contextmanager
def compute_dtype(precision: str) -> Iterator[None]:
    """Layers that are made inside the block compute in `precision`; their variables stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_fcn(config: ModelConfig, classes: int, precision: str = "float32") -> keras.Model:
    """The network for images of any size from 1x1 up.

    Args:
        config: of the network.
        classes: C.
        precision: `float32`, or `bfloat16` for the feature maps and products between the image and the logits.

    Returns:
        uint8 RGB (N, H, W, 3) -> logits float32 (N, H, W, C). Weights and statistics are float32.
    """
    with compute_dtype(precision):
        # Encoder and head: the classifier without its last layer
        encoder = convolutionalize(build_classifier(config, classes))
        features = encoder.get_layer("fc7_dropout").output  # N, H / 32, W / 32, U

        # Coarse scores, then one skip for each block down to the output stride
        scores = score(features, classes, "score_fr")  # N, H / 32, W / 32, C
        for block, name in UPSAMPLING_TO_BLOCK.items():
            if 2**block < config.stride:
                break
            skip = skip_features(encoder, block, config.skips)
            scores = upsample(scores, 2, skip, name)
            skip_scores = score(skip, classes, f"score_pool{block}")
            scores = layers.Add(name=f"fuse_pool{block}")([scores, skip_scores])  # N, H / 2^block, W / 2^block, C

        # From the output stride to pixels
        scores = upsample(
            scores,
            factor=config.stride,
            reference=encoder.input,
            name=UPSAMPLING_TO_IMAGE[config.stride],
            learned=config.learn_last_upsampling,
        )
        logits = layers.Identity(dtype="float32", name="logits")(scores)  # N, H, W, C
    return keras.Model(encoder.input, logits, name=f"fcn{config.stride}s")
