"""The loss of a batch over its valid pixels."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fcn.images import IGNORE


def pixel_loss(logits: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted sum of the softmax cross-entropy, and the sum of the weights; their quotient is the mean loss.

    Both are returned because the parts of a batch on several devices may have different numbers of valid pixels: sums
    add up, means do not. In sum(w l) / sum(w) weights that are all twice as large change nothing.

    Logits are float32 (N, H, W, C), labels uint8 (N, H, W); pixels with the label IGNORE add nothing. The sums, in nats
    and in weights, are float32 ().
    """
    valid = labels != IGNORE
    # the op gives NaN for a label beyond C, and NaN times zero is NaN: ignored pixels get class 0 first
    classes = tf.where(valid, tf.cast(labels, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
    weights = tf.where(valid, tf.gather(tf.constant(class_weights, tf.float32), classes), 0.0)
    return tf.reduce_sum(tf.where(valid, weights * losses, 0.0)), tf.reduce_sum(weights)
