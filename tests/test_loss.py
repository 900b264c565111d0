"""The loss counts valid pixels and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from fcn.datasets.statistics import count_pairs
from fcn.images import IGNORE
from fcn.training.loss import pixel_loss, pixel_weights

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
ONES = (1.0,) * 5
LABELS = RANDOM.integers(0, 5, (2, 3, 4)).astype(np.uint8)


@pytest.mark.parametrize("weights", [ONES, (0.5, 0.0, 2.0, 1.0, 3.0)])
@pytest.mark.parametrize("ignored", [np.s_[:0], np.s_[0, 1], np.s_[:]], ids=["none", "a row", "all"])
def test_sums_are_those_of_numpy_over_valid_pixels_by_their_class_weights(
    ignored: object, weights: tuple[float, ...]
) -> None:
    labels = LABELS.copy()
    labels[ignored] = IGNORE
    log_probabilities = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_probabilities, LABELS[..., None].astype(int), -1)[..., 0]
    expected = np.take(weights, LABELS) * (labels != IGNORE)
    total = pixel_loss(tf.constant(LOGITS), tf.constant(labels), weights)
    assert float(total) == pytest.approx((expected * losses).sum(), rel=1e-6)
    np.testing.assert_array_equal(pixel_weights(tf.constant(labels), weights), expected)


def test_ignored_pixels_change_neither_loss_nor_gradient() -> None:
    labels = LABELS.copy()
    labels[:, 0] = IGNORE
    results = []
    for offset in (0.0, 1000.0, np.inf, np.nan):
        logits = LOGITS.copy()
        logits[:, 0, :, 2] += offset
        variable = tf.Variable(logits)
        with tf.GradientTape() as tape:
            total = pixel_loss(variable, tf.constant(labels), ONES)
        gradient = tape.gradient(total, variable).numpy()
        results.append((float(total), gradient[:, 1:]))
        if np.isfinite(offset):
            assert not gradient[:, 0].any()
    for total, gradient in results[1:]:
        assert total == results[0][0]
        np.testing.assert_array_equal(gradient, results[0][1])


def test_label_beyond_the_classes_is_not_taken_for_an_ignored_one() -> None:
    labels = LABELS.copy()
    labels[0, 0, 0] = 5
    assert np.isnan(float(pixel_loss(tf.constant(LOGITS), tf.constant(labels), ONES)))
    with pytest.raises(ValueError, match="reshape"):
        count_pairs(labels, np.zeros_like(labels), (5, 1))
