"""The loss of a batch over its valid pixels."""

from __future__ import annotations

import tensorflow as tf

from fcn.images import IGNORE


def pixel_loss(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax cross-entropy, summed; divided by the count it is the mean over valid pixels.

    The two are apart because the parts of a batch on several devices may hold different numbers of valid pixels: sums
    and counts add up, means do not.

    Args:
        logits: float32 (N, H, W, C).
        labels: uint8 (N, H, W), class indices and IGNORE; ignored pixels add nothing to either number.

    Returns:
        Sum of the losses in nats and number of valid pixels, both float32 ().
    """
    valid = labels != IGNORE
    # the op gives NaN for a label beyond C, and NaN times zero is NaN: ignored pixels get class 0 first
    classes = tf.where(valid, tf.cast(labels, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
    return tf.reduce_sum(tf.where(valid, losses, 0.0)), tf.reduce_sum(tf.cast(valid, tf.float32))
