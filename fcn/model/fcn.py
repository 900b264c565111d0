"""The fully convolutional network (Shelhamer, Long and Darrell 2017): encoder -> scorers -> upsampling with skips.

It deviates from the published network in one point: no padding by 100 pixels and no crop offsets. Pooling is SAME, so a
cell covers pixels 2i and 2i + 1, and every upsampled map is cropped at the bottom and right to its skip's size.
"""

# N images, H x W pixels, C classes, h x w cells of the map at hand, s its upsampling
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fcn.config.settings import ModelConfig
from fcn.model.convolutionalize import convolutionalize
from fcn.model.vgg import ENCODER_STRIDE, build_classifier


def build_fcn(config: ModelConfig, classes: int, precision: str = "float32") -> keras.Model:
    """The network for images of any size from 1x1 up.

    Args:
        config: of the network.
        classes: C.
        precision: `float32`, or `bfloat16` for the maps and products between the image and the logits.

    Returns:
        uint8 RGB (N, H, W, 3) -> logits float32 (N, H, W, C). Weights and statistics are float32.
    """
    with computing_in(precision):
        encoder = convolutionalize(build_classifier(config, classes))
        scores = score(encoder.get_layer("fc7_dropout").output, classes, "score_fr")  # N, H/32, W/32, C
        stride, last = ENCODER_STRIDE, "fr"
        for block in (4, 3, 2, 1):
            if stride == config.stride:
                break
            stride //= 2
            skip = skip_of(encoder, block, config.skips)
            # published names: upscore2 lifts score_fr, upscore_pool4 lifts fuse_pool4
            name = "upscore2" if last == "fr" else f"upscore_{last}"
            scores = upsample(scores, 2, skip, name)
            scores = layers.Add(name=f"fuse_pool{block}")([scores, score(skip, classes, f"score_pool{block}")])
            last = f"pool{block}"
        last_name = {32: "upscore", 2: "upscore_pool1"}.get(stride, f"upscore{stride}")  # upscore2 is the first one
        scores = upsample(scores, stride, encoder.input, last_name, learned=config.learn_last_upsampling)
        logits = layers.Identity(dtype="float32", name="logits")(scores)
    return keras.Model(encoder.input, logits, name=f"fcn{config.stride}s")


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers that are made in the block compute in `precision`; their variables are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def skip_of(encoder: keras.Model, block: int, skips: str) -> keras.KerasTensor:
    """A map (N, h, w, units) at the stride of block `block` after its pooling: that, or the next block's last one."""
    pooled = encoder.get_layer(f"block{block}_pool")
    if skips == "after_pooling":
        return pooled.output
    return encoder.get_layer(f"block{block + 1}_pool").input


def score(features: keras.KerasTensor, classes: int, name: str) -> keras.KerasTensor:
    """1x1 convolution to class scores (N, h, w, C), zero at the start: a skip changes nothing before it is learned."""
    return layers.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(features)


def upsample(
    scores: keras.KerasTensor, factor: int, reference: keras.KerasTensor, name: str, learned: bool = True
) -> keras.KerasTensor:
    """Transposed convolution by `factor` from a bilinear start, cropped to the reference's height and width.

    The map's edge cells are repeated once outwards first. A bare SAME transposed convolution would mix the border with
    zeros and darken it; so a constant stays constant to the border, and it equals `tf.image.resize` bilinear.

    Args:
        scores: (N, h, w, C).
        factor: upsampling s.
        reference: a map of at most s h x s w pixels whose size the result gets.
        name: of the layer with the kernel (2s, 2s, C, C).
        learned: False keeps the bilinear kernel.
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


def bilinear_kernel(shape: tuple[int, int, int, int], dtype: str = "float32") -> tf.Tensor:
    """A kernel (k, k, C, C) that interpolates each class by itself, for the stride k / 2. A Keras initializer.

    w[i, j] = (1 - |i - c| / f) (1 - |j - c| / f), f = (k + 1) // 2, c = f - 1 for odd k, else f - 0.5: the formula of
    surgery.py in the published code.
    """
    size, _, out_channels, in_channels = shape
    half = (size + 1) // 2
    center = half - 1 if size % 2 else half - 0.5
    ramp = 1 - np.abs(np.arange(size) - center) / half
    channels = np.eye(out_channels, in_channels)
    return tf.constant(np.einsum("i,j,oc->ijoc", ramp, ramp, channels), dtype)


class CropLike(layers.Layer):
    """Takes off `offset` pixels at the top and left, and at the bottom and right what goes beyond the reference."""

    def __init__(self, offset: int, **kwargs: object):
        super().__init__(**kwargs)
        self.offset = offset

    def call(self, scores: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        """(N, h, w, C), (N, H, W, any) -> (N, H, W, C)."""
        height, width = tf.shape(reference)[1], tf.shape(reference)[2]
        # the same by [...] has a gradient that takes ten times as long
        return tf.slice(scores, [0, self.offset, self.offset, 0], tf.stack([-1, height, width, scores.shape[-1]]))
