"""The loss counts valid pixels and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fcn.images import IGNORE
from fcn.training.loss import pixel_loss

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
ONES = (1.0,) * 5
LABELS = RANDOM.integers(0, 5, (2, 3, 4)).astype(np.uint8)


def test_sum_is_that_of_numpy_over_valid_pixels() -> None:
    labels = LABELS.copy()
    labels[0, 1] = IGNORE
    log_probability = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    valid = labels != IGNORE
    expected = -np.take_along_axis(log_probability, LABELS[..., None].astype(int), -1)[..., 0][valid].sum()
    total, count = pixel_loss(tf.constant(LOGITS), tf.constant(labels), ONES)
    assert float(total) == pytest.approx(expected, rel=1e-6)
    assert float(count) == valid.sum() == 20


def test_ignored_pixels_change_neither_loss_nor_gradient() -> None:
    labels = LABELS.copy()
    labels[:, 0] = IGNORE
    results = []
    for offset in (0.0, 1000.0, np.inf, np.nan):
        logits = LOGITS.copy()
        logits[:, 0, :, 2] += offset
        variable = tf.Variable(logits)
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
    parts = [pixel_loss(tf.constant(LOGITS[i : i + 1]), tf.constant(LABELS[i : i + 1]), ONES) for i in range(2)]
    total, count = pixel_loss(tf.constant(LOGITS), tf.constant(LABELS), ONES)
    assert float(sum(part[0] for part in parts)) == pytest.approx(float(total), rel=1e-6)
    assert float(sum(part[1] for part in parts)) == float(count)


def test_all_ignored_is_zero_of_zero() -> None:
    total, count = pixel_loss(tf.constant(LOGITS), tf.fill((2, 3, 4), tf.constant(IGNORE, tf.uint8)), ONES)
    assert (float(total), float(count)) == (0.0, 0.0)


def test_class_weights_multiply_the_losses_and_are_summed() -> None:
    labels = LABELS.copy()
    labels[1, 2] = IGNORE
    weights = np.array([0.5, 0.0, 2.0, 1.0, 3.0], np.float32)
    total = 0.0
    count = 0.0
    for index, weight in enumerate(weights):
        one_class = np.where(labels == index, labels, IGNORE)
        loss, pixels = pixel_loss(tf.constant(LOGITS), tf.constant(one_class), ONES)
        total += weight * float(loss)
        count += weight * float(pixels)
    found = pixel_loss(tf.constant(LOGITS), tf.constant(labels), tuple(weights))
    assert [float(one) for one in found] == pytest.approx([total, count], rel=1e-6)
