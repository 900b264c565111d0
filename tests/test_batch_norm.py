"""Statistics for scoring are those of the frames as they are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import ModelConfig
from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.errors import RunInterruptedError
from fcn.model.fcn import build_fcn
from fcn.training import batch_norm
from fcn.training.batch_norm import recompute_batch_norm_statistics

SIZES = [(40, 50), (40, 50), (36, 64), (40, 50), (40, 50), (33, 50)]
SIDE = 48  # in place of a thousand pixels: all frames are wider


def frames() -> Dataset:
    random = np.random.default_rng(0)
    read = [(random.integers(0, 256, (*size, 3), dtype=np.uint8), np.zeros(size, np.uint8)) for size in SIZES]
    return Dataset("train", BACKGROUND_AND_ROAD, tuple("abcdef"), read.__getitem__)


@pytest.mark.parametrize(
    ("count", "batches"),
    [(1, [[0]]), (3, [[0, 2, 5]]), (6, [[0, 2, 4], [1, 3, 5]])],  # spread over the split, batches of up to four
)
def test_statistics_are_those_inside_and_between_batches_of_the_frames_middles(
    count: int, batches: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_norm, "SIDE", SIDE)
    dataset = frames()
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 16, head_units=4, dropout=0.0), 2)
    before = model.get_weights()
    polls = []
    recompute_batch_norm_statistics(model, dataset, count, lambda: polls.append(1))
    assert len(polls) == len(batches)
    norm = model.get_layer("block1_conv1_norm")
    to_norm = keras.Model(model.input, norm.input)
    means = []
    variances = []
    for batch in batches:
        height, width = np.min([(SIDE, SIDE), *(SIZES[index] for index in batch)], axis=0)
        cut = [tf.image.resize_with_crop_or_pad(dataset.read(index)[0], height, width) for index in batch]
        maps = to_norm(tf.stack(cut)).numpy()
        means.append(maps.mean(axis=(0, 1, 2)))
        variances.append(maps.var(axis=(0, 1, 2), ddof=1))
    mean = np.mean(means, axis=0)
    variance = np.mean(variances, axis=0) + np.var(means, axis=0)  # inside the batches and between them
    np.testing.assert_allclose(norm.moving_mean, mean, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)
    for weight, value in zip(model.weights, before, strict=True):
        moved = (weight.numpy() != value).any()
        assert moved == weight.path.endswith(("moving_mean", "moving_variance")), weight.path
    assert norm.momentum == 0.95


def test_a_stop_leaves_the_layers_as_they_were() -> None:
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=4), 2)

    def stop() -> None:
        raise RunInterruptedError(15)

    with pytest.raises(RunInterruptedError):
        recompute_batch_norm_statistics(model, frames(), 3, stop)
    assert {layer.momentum for layer in model.layers if hasattr(layer, "momentum")} == {0.95}


def test_no_frames_and_no_normalization_change_nothing() -> None:
    for normalized, count in ((True, 0), (False, 3)):
        model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 32, head_units=4, batch_norm=normalized), 2)
        before = model.get_weights()
        recompute_batch_norm_statistics(model, frames(), count, lambda: None)
        for weight, value in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, value)
