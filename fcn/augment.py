"""Variation of training frames: (image, label) -> (image, label). What is drawn is drawn once and used on both."""

from __future__ import annotations

import tensorflow as tf

from fcn.config import AugmentConfig
from fcn.images import IGNORE


def augment_frame(
    image: tf.Tensor, label: tf.Tensor, config: AugmentConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales, crops and mirrors a frame as `seed` has it.

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
    scale, down, right, mirror = tf.unstack(tf.random.stateless_uniform([4], seed))
    low, high = config.scale
    window = tf.cast(tf.round(tf.constant(config.crop_size, tf.float32) / (low + (high - low) * scale)), tf.int32)
    image, label = crop(image, label, tf.maximum(window, 1), tf.stack([down, right]))
    image, label = resize(image, label, config.crop_size)
    if config.flip:
        image, label = tf.cond(mirror < 0.5, lambda: (image[:, ::-1], label[:, ::-1]), lambda: (image, label))
    return image, label


def crop(image: tf.Tensor, label: tf.Tensor, window: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts out a window; where the frame is smaller, it is padded at the bottom and right.

    Args:
        image: uint8 (H, W, 3), padded with 0.
        label: uint8 (H, W), padded with IGNORE.
        window: int32 (2,), (height, width) of the result.
        place: float32 (2,) in [0, 1): where the window lies between the top and the bottom, the left and the right.
    """
    size = tf.shape(label)
    room = tf.maximum(size - window, 0)
    top_left = tf.cast(place * tf.cast(room + 1, tf.float32), tf.int32)
    inside = tf.minimum(window, size)
    pad = tf.stack([tf.zeros(2, tf.int32), window - inside], axis=1)
    image = tf.slice(image, tf.concat([top_left, [0]], 0), tf.concat([inside, [3]], 0))
    label = tf.slice(label, top_left, inside)
    return tf.pad(image, tf.concat([pad, [[0, 0]]], 0)), tf.pad(label, pad, constant_values=IGNORE)


def resize(image: tf.Tensor, label: tf.Tensor, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes the image bilinearly and the label to the nearest pixel, so that no value is made up. No other code does.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        size: (height, width) of the result.
    """
    resized = tf.cast(tf.round(tf.image.resize(image, size, "bilinear")), tf.uint8)
    nearest = tf.image.resize(label[..., tf.newaxis], size, "nearest")[..., 0]
    return resized, nearest
