"""Variation of training frames: (image, label) -> (image, label). What is drawn is drawn once and used on both."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fcn.config import AugmentConfig
from fcn.images import IGNORE


def augment_frame(
    image: tf.Tensor, label: tf.Tensor, config: AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales, crops, mirrors and recolours a frame as `seed` has it.

    The crop is cut before it is resized, so that no pixel is resized in vain.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        config: ranges and the size of the result.
        seed: int64 (2,); the same seed gives the same frame.

    Returns:
        image uint8 (crop height, crop width, 3), 0 where it was padded; label uint8 (crop height, crop width), IGNORE
        there.
    """
    factor, down, right, mirror, widen, *colours = tf.unstack(tf.random.stateless_uniform([10], seed))
    low, high = config.scale
    scale = low + (high - low) * factor
    scale = tf.stack([scale, scale * (1 + config.aspect * (2 * widen - 1))])  # of height and width
    window = tf.cast(tf.round(tf.constant(config.crop_size, tf.float32) / scale), tf.int32)
    image, label = crop(image, label, tf.maximum(window, 1), tf.stack([down, right]))
    # where the frame is smaller than the window, its own pixels keep the scale and the rest is padded
    scaled = tf.cast(tf.round(tf.cast(tf.shape(label), tf.float32) * scale), tf.int32)
    scaled = tf.where(tf.shape(label) == window, config.crop_size, tf.clip_by_value(scaled, 1, config.crop_size))
    image, label = resize(image, label, scaled)
    image = recolour(image, config, colours)
    image, label = pad(image, label, config.crop_size)
    if config.flip:
        image, label = tf.cond(mirror < 0.5, lambda: (image[:, ::-1], label[:, ::-1]), lambda: (image, label))
    return image, label


def recolour(image: tf.Tensor, config: AugmentConfig, draws: Sequence[tf.Tensor]) -> tf.Tensor:
    """Changes brightness, contrast, saturation, hue and gamma, in this order; what leaves the range is cut off.

    Args:
        image: uint8 (H, W, 3).
        config: how far each goes.
        draws: five numbers in [0, 1), float32 ().

    Returns:
        uint8 (H, W, 3).
    """
    brightness, contrast, saturation, hue, gamma = (2 * draw - 1 for draw in draws)  # in [-1, 1)
    colours = tf.cast(image, tf.float32) / 255
    if config.brightness:
        colours = cut_off(colours + config.brightness * brightness)
    if config.contrast:
        colours = cut_off(tf.image.adjust_contrast(colours, 1 + config.contrast * contrast))
    if config.saturation:
        colours = cut_off(tf.image.adjust_saturation(colours, 1 + config.saturation * saturation))
    if config.hue:
        colours = cut_off(tf.image.adjust_hue(colours, config.hue * hue))
    if config.gamma:
        colours = colours ** tf.exp(config.gamma * gamma)
    return tf.cast(tf.round(255 * colours), tf.uint8)


def cut_off(colours: tf.Tensor) -> tf.Tensor:
    """Colours as parts of the full range, those beyond it at its ends."""
    return tf.clip_by_value(colours, 0.0, 1.0)


def crop(image: tf.Tensor, label: tf.Tensor, window: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts out a window, or as much of one as the frame has.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        window: int32 (2,), (height, width) of the result at most.
        place: float32 (2,) in [0, 1): where the window lies between the top and the bottom, the left and the right.
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
    """Resizes the image bilinearly and the label to the nearest pixel, so that no value is made up. No other code does.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        size: int32 (2,), (height, width) of the result.
    """
    resized = tf.cast(tf.round(tf.image.resize(image, size, "bilinear")), tf.uint8)
    nearest = tf.image.resize(label[..., tf.newaxis], size, "nearest")[..., 0]
    return resized, nearest
