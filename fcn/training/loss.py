"""The loss of a batch over its valid pixels: cross-entropy, and beside it the share of each class that is missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from fcn.images import IGNORE

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def build_loss(class_weights: Sequence[float], jaccard_weight: float) -> Loss:
    """The loss of a batch: logits float32 (N, H, W, C) and labels uint8 (N, H, W) -> float32 ().

    Args:
        class_weights: of the cross-entropy, as `pixel_loss` takes them.
        jaccard_weight: what `jaccard_loss` counts beside its mean over the valid pixels; 0 leaves it out.
    """

    def loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        log_probabilities = tf.nn.log_softmax(logits)
        mean = tf.math.divide_no_nan(*pixel_loss(log_probabilities, labels, class_weights))
        return mean + jaccard_weight * jaccard_loss(log_probabilities, labels) if jaccard_weight else mean

    return loss


def pixel_loss(
    log_probabilities: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy, weighted and summed; divided by the sum of weights it is the mean over valid pixels.

    The two are apart because the parts of a batch on several devices may hold different valid pixels: sums add up,
    means do not. The mean is that of `sum(w l) / sum(w)`: weights that are all twice as large change nothing.

    Args:
        log_probabilities: float32 (N, H, W, C), their natural logarithms.
        labels: uint8 (N, H, W), class indices and IGNORE; ignored pixels add nothing to either number.
        class_weights: w of a pixel of each class; at least 0.

    Returns:
        Sum of the weighted losses in nats and of the weights, both float32 ().
    """
    valid = labels != IGNORE
    classes = tf.where(valid, tf.cast(labels, tf.int32), 0)  # IGNORE is no index
    losses = -tf.gather(log_probabilities, classes, batch_dims=3)
    weights = tf.where(valid, tf.gather(tf.constant(class_weights, tf.float32), classes), 0.0)
    return tf.reduce_sum(tf.where(valid, weights * losses, 0.0)), tf.reduce_sum(weights)


def jaccard_loss(log_probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean of 1 - IoU of the batch's classes, a pixel being of each by its probability (Rahman and Wang 2016).

    The IoU are those of a confusion matrix that sums probabilities where `evaluation.confusion` counts pixels.

    Args:
        log_probabilities: as `pixel_loss` takes them.
        labels: uint8 (N, H, W), class indices and IGNORE, which is left out.

    Returns:
        float32 (), from 0, where all is certain and right, to 1, and 0 where no pixel is valid.
    """
    classes = log_probabilities.shape[-1]
    truth = tf.reshape(tf.one_hot(labels, classes), [-1, classes])  # a row of zeros where ignored
    matrix = tf.matmul(truth, tf.exp(tf.reshape(log_probabilities, [-1, classes])), transpose_a=True)
    both, of_truth, of_prediction = tf.linalg.diag_part(matrix), tf.reduce_sum(matrix, 1), tf.reduce_sum(matrix, 0)
    there = tf.cast(of_truth > 0, tf.float32)
    missed = there * (1 - tf.math.divide_no_nan(both, of_truth + of_prediction - both))
    return tf.math.divide_no_nan(tf.reduce_sum(missed), tf.reduce_sum(there))
