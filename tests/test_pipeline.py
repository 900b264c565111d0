"""A batch is a function of (seed, step), whenever and from wherever the stream is started."""

from __future__ import annotations

import numpy as np
import pytest

from fcn.config.settings import AugmentConfig, ProgressiveConfig
from fcn.errors import UserError
from fcn.images import Array
from fcn.training.pipeline import frame_of_slot, frames_of_step, plan_phases, training_batches

COUNT = 5


def read(index: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (10 + index, 12, 3), dtype=np.uint8), np.full((10 + index, 12), index, np.uint8)


def batches(steps: range, seed: int = 0) -> list[tuple[Array, Array]]:
    config = AugmentConfig(crop_size=(8, 8), scale=(0.5, 2.0))
    phases = plan_phases(ProgressiveConfig(), config, 2, steps.stop)
    stream = training_batches(read, COUNT, phases, seed, steps.start)
    return [(image.numpy(), label.numpy()) for image, label in stream]


def test_every_epoch_holds_each_frame_once_in_an_order_of_its_own_by_the_published_rule() -> None:
    epochs = [tuple(frame_of_slot(epoch * 40 + i, 40, 7) for i in range(40)) for epoch in range(5)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert len(set(epochs)) == 5
    assert [frame_of_slot(slot, 40, 8) for slot in range(40)] != list(epochs[0])
    assert list(epochs[2]) == np.argsort(np.random.Philox(key=[7, 2]).random_raw(40), kind="stable").tolist()


def test_stream_started_at_a_step_equals_the_rest_of_the_whole_stream_of_its_seed() -> None:
    whole = batches(range(7))
    rest = batches(range(4, 7))
    assert len(whole) == 7
    for (image, label), (rest_image, rest_label) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(image, rest_image, strict=True)
        np.testing.assert_array_equal(label, rest_label, strict=True)
        assert (image.shape, image.dtype, label.shape, label.dtype) == ((2, 8, 8, 3), np.uint8, (2, 8, 8), np.uint8)
    assert (whole[0][0] != whole[1][0]).any()
    assert (whole[0][0] != batches(range(1), seed=1)[0][0]).any()


def test_target_of_a_window_is_the_label_of_its_center_pixel() -> None:
    def gray(_: int) -> tuple[Array, Array]:
        label = np.arange(48, dtype=np.uint8).reshape(6, 8)
        return np.repeat(label[..., np.newaxis], 3, axis=2), label

    config = AugmentConfig(crop_size=(4, 4), scale=(1.0, 1.0))
    phases = plan_phases(ProgressiveConfig(), config, 2, steps=8)
    for images, labels in training_batches(gray, 3, phases, 0, center_only=True):
        assert labels.shape == (2, 1, 1)
        np.testing.assert_array_equal(labels[:, 0, 0], images[:, 2, 2, 0])  # each pixel's label is its gray value


def test_mistake_of_a_frame_comes_out_as_it_is() -> None:
    def broken(index: int) -> tuple[Array, Array]:
        raise UserError(f"frame {index}: is gone")

    with pytest.raises(UserError, match=r"^frame [0-2]: is gone$"):
        next(training_batches(broken, 3, plan_phases(ProgressiveConfig(), AugmentConfig(), 2, 5), 0))


def test_phases_take_their_own_crops_and_batches_and_the_slots_go_on() -> None:
    progressive = ProgressiveConfig(share=0.4, batch_size=3, crop_size=(4, 6), scale=(0.5, 0.5))
    phases = plan_phases(progressive, AugmentConfig(crop_size=(8, 8), scale=(1.0, 1.0), flip=False), 2, 5)
    assert [phase.augment.scale for phase in phases] == [(0.5, 0.5), (1.0, 1.0)]
    whole = list(training_batches(read, COUNT, phases, 0))
    assert [tuple(image.shape) for image, _ in whole] == [(3, 4, 6, 3)] * 2 + [(2, 8, 8, 3)] * 3
    shown = [int(one[0, 0]) for _, label in whole for one in label]  # a frame's label is its index
    assert shown == [frame_of_slot(slot, COUNT, 0) for slot in range(12)]
    assert [frames_of_step(phases, step, COUNT, 0) for step in range(5)] == [
        *(shown[3 * step : 3 * step + 3] for step in range(2)),
        *(shown[6 + 2 * step : 8 + 2 * step] for step in range(3)),
    ]
    for start in (1, 2, 3):
        rest = list(training_batches(read, COUNT, phases, 0, start))
        assert len(rest) == 5 - start
        for one, other in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
