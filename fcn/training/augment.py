"""Augmentation of training frames: (image, label) -> (image, label). Random numbers are sampled once for both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from fcn.config.settings import AugmentConfig
from fcn.images import IGNORE

YIQ = (
    (0.3, 0.59, 0.11),
    (0.599, -0.2773, -0.3217),
    (0.213, -0.5251, 0.3121),
)  # from red, green, blue; the constants of colorsys


def augment_frame(
    image: tf.Tensor, label: tf.Tensor, config: AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales, crops, recolors and mirrors an image uint8 (H, W, 3) and its label uint8 (H, W) at random.

    Both results have the crop size; the padding is 0 in the image and IGNORE in the label. The same seed, int64 (2,),
    gives the same result. The crop is cut before it is resized: only kept pixels are resized.
    """
    draws = tf.unstack(tf.random.stateless_uniform([10], seed))
    scale_draw, top_draw, left_draw, mirror_draw, aspect_draw, *color_draws = draws

    # the crop in pixels of the frame
    lowest, highest = config.scale
    scale = lowest + (highest - lowest) * scale_draw
    scale = tf.stack([scale, scale * (1 + config.aspect * (2 * aspect_draw - 1))])  # of height and width
    window = tf.cast(tf.round(tf.constant(config.crop_size, tf.float32) / scale), tf.int32)
    image, label = crop(image, label, tf.maximum(window, 1), tf.stack([top_draw, left_draw]))

    # to crop_size; a frame smaller than the window keeps the scale and is padded
    scaled = tf.cast(tf.round(tf.cast(tf.shape(label), tf.float32) * scale), tf.int32)
    scaled = tf.where(tf.shape(label) == window, config.crop_size, tf.clip_by_value(scaled, 1, config.crop_size))
    image, label = resize(image, label, scaled)
    image = recolor(image, config, color_draws)
    image, label = pad(image, label, config.crop_size)

    if config.flip:
        image, label = tf.cond(mirror_draw < 0.5, lambda: (image[:, ::-1], label[:, ::-1]), lambda: (image, label))
    return image, label


def recolor(image: tf.Tensor, config: AugmentConfig, draws: Sequence[tf.Tensor]) -> tf.Tensor:
    """Changes hue and saturation, then contrast and brightness, then gamma of an image uint8 (H, W, 3).

    `draws` are five numbers in [0, 1), float32 (). In YIQ, the color space of analog television, the last two channels
    span the plane of hues around gray: saturation scales it, hue rotates it. One matrix does both in a fifth of the
    time of a conversion to HSV, on the processor that also trains.
    """
    largest = [config.brightness, config.contrast, config.saturation, config.hue, config.gamma]
    if not any(largest):
        return image
    brightness, contrast, saturation, hue, gamma = tf.unstack(tf.constant(largest) * (2 * tf.stack(draws) - 1))
    cos = (1 + saturation) * tf.cos(2 * math.pi * hue)
    sin = (1 + saturation) * tf.sin(2 * math.pi * hue)
    change = tf.stack([tf.constant([1.0, 0.0, 0.0]), tf.stack([0.0, cos, -sin]), tf.stack([0.0, sin, cos])])
    to_yiq = tf.constant(YIQ)
    matrix = tf.linalg.inv(to_yiq) @ change @ to_yiq
    colors = tf.cast(image, tf.float32) / 255 @ tf.transpose(matrix)
    mean = tf.reduce_mean(colors, axis=(0, 1))
    colors = tf.clip_by_value((1 + contrast) * (colors - mean) + mean + brightness, 0.0, 1.0)
    colors = tf.exp(tf.exp(gamma) * tf.math.log(colors))  # the power, in a quarter of the time
    return tf.cast(tf.round(255 * colors), tf.uint8)


def crop(image: tf.Tensor, label: tf.Tensor, window: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts out a window, int32 (height, width), or as much of it as the frame has.

    `place`, float32 (2,) in [0, 1), is its position between top and bottom, and between left and right.
    """
    size = tf.shape(label)
    room = tf.maximum(size - window, 0)
    top, left = tf.unstack(tf.cast(place * tf.cast(room + 1, tf.float32), tf.int32))
    height, width = tf.unstack(window)
    return image[top : top + height, left : left + width], label[top : top + height, left : left + width]


def pad(image: tf.Tensor, label: tf.Tensor, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds black, ignored pixels at the bottom and right up to `size`."""
    missing = tf.stack([[0, 0], size - tf.shape(label)], axis=1)  # (before, after) of height and width
    image = tf.pad(image, tf.concat([missing, [[0, 0]]], axis=0))
    label = tf.pad(label, missing, constant_values=IGNORE)
    return tf.ensure_shape(image, (*size, 3)), tf.ensure_shape(label, size)


def resize(image: tf.Tensor, label: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes to int32 (height, width): the image bilinearly, the label by nearest neighbor, which invents no label."""
    resized = tf.cast(tf.round(tf.image.resize(image, size, "bilinear")), tf.uint8)
    nearest = tf.image.resize(label[..., tf.newaxis], size, "nearest")[..., 0]
    return resized, nearest
