"""The loss counts valid pixels and nothing else; the Jaccard loss is what the scores' IoU lacks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fcn.evaluation.confusion import count_pixels
from fcn.images import IGNORE
from fcn.training.loss import build_loss, jaccard_loss, pixel_loss

RANDOM = np.random.default_rng(0)
LOG_PROBABILITIES = tf.nn.log_softmax(RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)).numpy()
ONES = (1.0,) * 5
LABELS = RANDOM.integers(0, 5, (2, 3, 4)).astype(np.uint8)


def test_sum_is_that_of_numpy_over_valid_pixels() -> None:
    labels = LABELS.copy()
    labels[0, 1] = IGNORE
    valid = labels != IGNORE
    expected = -np.take_along_axis(LOG_PROBABILITIES, LABELS[..., None].astype(int), -1)[..., 0][valid].sum()
    total, count = pixel_loss(tf.constant(LOG_PROBABILITIES), tf.constant(labels), ONES)
    assert float(total) == pytest.approx(expected, rel=1e-6)
    assert float(count) == valid.sum() == 20


def test_ignored_pixels_change_neither_loss_nor_gradient() -> None:
    labels = LABELS.copy()
    labels[:, 0] = IGNORE
    results = []
    for offset in (0.0, 1000.0, np.inf, np.nan):
        given = LOG_PROBABILITIES.copy()
        given[:, 0, :, 2] += offset
        variable = tf.Variable(given)
        with tf.GradientTape() as tape:
            total, _ = pixel_loss(variable, tf.constant(labels), ONES)
        gradient = tape.gradient(total, variable).numpy()
        results.append((float(total), gradient[:, 1:]))
        if np.isfinite(offset):
            assert not gradient[:, 0].any()
    for total, gradient in results[1:]:
        assert total == results[0][0]
        np.testing.assert_array_equal(gradient, results[0][1])


def test_parts_of_a_batch_add_up_to_the_batch() -> None:
    parts = [
        pixel_loss(tf.constant(LOG_PROBABILITIES[i : i + 1]), tf.constant(LABELS[i : i + 1]), ONES) for i in range(2)
    ]
    total, count = pixel_loss(tf.constant(LOG_PROBABILITIES), tf.constant(LABELS), ONES)
    assert float(sum(part[0] for part in parts)) == pytest.approx(float(total), rel=1e-6)
    assert float(sum(part[1] for part in parts)) == float(count)


def test_all_ignored_is_zero_of_zero() -> None:
    total, count = pixel_loss(tf.constant(LOG_PROBABILITIES), tf.fill((2, 3, 4), tf.constant(IGNORE, tf.uint8)), ONES)
    assert (float(total), float(count)) == (0.0, 0.0)


def test_class_weights_multiply_the_losses_and_are_summed() -> None:
    labels = LABELS.copy()
    labels[1, 2] = IGNORE
    weights = np.array([0.5, 0.0, 2.0, 1.0, 3.0], np.float32)
    total = count = 0.0
    for index, weight in enumerate(weights):
        alone = np.where(labels == index, labels, IGNORE)
        loss, pixels = pixel_loss(tf.constant(LOG_PROBABILITIES), tf.constant(alone), ONES)
        total, count = total + weight * float(loss), count + weight * float(pixels)
    found = pixel_loss(tf.constant(LOG_PROBABILITIES), tf.constant(labels), tuple(weights))
    assert [float(one) for one in found] == pytest.approx([total, count], rel=1e-6)


def test_jaccard_loss_of_certain_predictions_is_what_the_iou_lack() -> None:
    truth = np.array([[[0, 0, 1, 1], [0, 0, 1, IGNORE], [0, 0, 0, 1]]], np.uint8)
    prediction = np.array([[[0, 1, 1, 0], [0, 0, 1, 1], [2, 0, 0, 1]]], np.uint8)  # 2 is in no truth: not counted
    log_probabilities = tf.nn.log_softmax(100.0 * tf.one_hot(prediction, 3))
    matrix = count_pixels(truth, prediction, 3)
    iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    np.testing.assert_allclose(iou, [5 / 8, 3 / 5, 0])
    assert float(jaccard_loss(log_probabilities, tf.constant(truth))) == pytest.approx(1 - iou[:2].mean(), rel=1e-6)


def test_jaccard_loss_leaves_ignored_pixels_out() -> None:
    labels = LABELS.copy()
    labels[:, 0] = IGNORE
    variable = tf.Variable(LOG_PROBABILITIES)
    with tf.GradientTape() as tape:
        loss = jaccard_loss(variable, tf.constant(labels))
    assert float(loss) == pytest.approx(float(jaccard_loss(variable[:, 1:], tf.constant(labels[:, 1:]))), rel=1e-6)
    gradient = tape.gradient(loss, variable).numpy()
    assert not gradient[:, 0].any()
    assert gradient[:, 1:].all()


def test_loss_of_a_batch_is_the_weighted_mean_and_a_part_of_the_jaccard_loss() -> None:
    labels, weights = tf.constant(LABELS), (0.5, 0.0, 2.0, 1.0, 3.0)
    log_probabilities = tf.constant(LOG_PROBABILITIES)  # whose softmax is theirs again
    total, count = pixel_loss(log_probabilities, labels, weights)
    mean, jaccard = float(total) / float(count), float(jaccard_loss(log_probabilities, labels))
    for weight in (0.0, 0.25):
        loss = build_loss(weights, weight)(log_probabilities, labels)
        assert float(loss) == pytest.approx(mean + weight * jaccard, rel=1e-6)
    nothing = tf.fill(LABELS.shape, tf.constant(IGNORE, tf.uint8))
    assert float(build_loss(weights, 0.25)(log_probabilities, nothing)) == 0.0
