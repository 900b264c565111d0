"""The fully convolutional network (Shelhamer, Long and Darrell 2017) without padding by 100 pixels and crop offsets.

Pooling is SAME (cell i of the result covers cells 2i and 2i + 1); upsampled maps are cropped at the bottom and right.
"""

# Shapes: N images, H x W pixels, C classes, h x w a feature map, c its channels, U head units, s upsampling factor
from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from fcn.config.settings import ModelConfig
from fcn.model.architecture import UPSAMPLING_TO_BLOCK, UPSAMPLING_TO_IMAGE, skip_blocks
from fcn.model.convolutionalize import convolutionalize
from fcn.model.vgg import build_classifier


def score(features: keras.KerasTensor, classes: int, name: str) -> keras.KerasTensor:
    """1x1 convolution (N, h, w, c) -> (N, h, w, C); zero at first, so that a skip changes nothing before it learns."""
    return layers.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(features)


def bilinear_kernel(shape: tuple[int, int, int, int], dtype: str = "float32") -> tf.Tensor:
    """Kernel (k, k, C, C) of a transposed convolution with stride k / 2 that interpolates each class separately.

    w[i, j] = (1 - |i - center| / half) (1 - |j - center| / half): the formula of surgery.py in the published code. The
    signature is a Keras initializer's.
    """
    size, _, out_channels, in_channels = shape
    half = (size + 1) // 2
    center = half - 1 if size % 2 else half - 0.5
    ramp = 1 - np.abs(np.arange(size) - center) / half
    return tf.constant(np.einsum("i,j,oc->ijoc", ramp, ramp, np.eye(out_channels, in_channels)), dtype)


class CropLike(layers.Layer):
    """Cuts `offset` pixels off the top and left, and crops the bottom and right to the reference's size."""

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
    """Scores (N, h, w, C) -> (N, H, W, C), the size of the reference (N, H, W, any); H <= h x factor, W <= w x factor.

    A transposed convolution whose kernel starts bilinear, and stays so unless `learned`. The edge cells are repeated
    once on each side first, because a plain SAME one would mix the border with zeros. So a constant stays constant up
    to the border, and the result of the bilinear kernel equals `tf.image.resize`.
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


@contextlib.contextmanager
def compute_dtype(precision: str) -> Iterator[None]:
    """Layers made inside compute in `float32` or `bfloat16`; weights and statistics are always float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def build_fcn(config: ModelConfig, classes: int, precision: str = "float32") -> keras.Model:
    """uint8 RGB (N, H, W, 3) of any size from 1x1 up -> logits float32 (N, H, W, C).

    `precision` is that of the feature maps and products between the image and the logits (`compute_dtype`).
    """
    with compute_dtype(precision):
        # Encoder and head: the classifier without its last layer
        encoder = convolutionalize(build_classifier(config, classes))
        features = encoder.get_layer("fc7_dropout").output  # N, H / 32, W / 32, U

        # Coarse scores, then one skip for each block down to the output stride
        scores = score(features, classes, "score_fr")  # N, H / 32, W / 32, C
        for block in skip_blocks(config.stride):
            pooling = encoder.get_layer(f"block{block}_pool")
            next_pooling = encoder.get_layer(f"block{block + 1}_pool")
            skip = pooling.output if config.skips == "after_pooling" else next_pooling.input
            scores = upsample(
                scores, factor=2, reference=skip, name=UPSAMPLING_TO_BLOCK[block], learned=config.learn_upsampling
            )
            if config.skip_scale != 1.0:
                skip = layers.Rescaling(config.skip_scale ** (5 - block), name=f"scale_pool{block}")(skip)
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


def build_window_classifier(config: ModelConfig, classes: int, precision: str = "float32") -> keras.Model:
    """uint8 RGB (N, S, S, 3), S = 32 x head_window -> logits float32 (N, 1, 1, C): the class at the window's center.

    `copy_weights` makes an FCN-32s of it, whose scores before upsampling are those of this classifier on every window
    of the last feature map.
    """
    with compute_dtype(precision):
        classifier = build_classifier(config, classes)
        logits = layers.Reshape((1, 1, classes), dtype="float32", name="logits")(classifier.output)
    return keras.Model(classifier.input, logits, name="window_classifier")
