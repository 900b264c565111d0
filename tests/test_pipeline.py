"""A batch is a function of (seed, step), whenever and from wherever the stream is started."""

from __future__ import annotations

import numpy as np
import pytest

from fcn.config import AugmentConfig
from fcn.errors import UserError
from fcn.images import Array
from fcn.pipeline import frame_of_slot, training_batches

COUNT = 5


def read(index: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (10 + index, 12, 3), dtype=np.uint8), np.full((10 + index, 12), index, np.uint8)


def batches(steps: range, seed: int = 0, batch_size: int = 2) -> list[tuple[Array, Array]]:
    config = AugmentConfig(crop_size=(8, 8), scale=(0.5, 2.0))
    stream = training_batches(read, COUNT, config, batch_size, seed, steps)
    return [(image.numpy(), label.numpy()) for image, label in stream]


def test_every_epoch_holds_each_frame_once_in_an_order_of_its_own() -> None:
    epochs = [tuple(frame_of_slot(e * 40 + i, 40, 7) for i in range(40)) for e in range(5)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert len(set(epochs)) == 5
    assert [frame_of_slot(slot, 40, 8) for slot in range(40)] != list(epochs[0])


def test_order_is_the_published_rule() -> None:
    order = np.argsort(np.random.Philox(key=[3, 2]).random_raw(COUNT), kind="stable")
    assert [frame_of_slot(2 * COUNT + i, COUNT, 3) for i in range(COUNT)] == order.tolist()


def test_stream_started_at_a_step_equals_the_rest_of_the_whole_stream() -> None:
    whole, rest = batches(range(7)), batches(range(4, 7))
    assert len(whole) == 7
    for (image, label), (rest_image, rest_label) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(image, rest_image)
        np.testing.assert_array_equal(label, rest_label)
    assert (whole[0][0] != whole[1][0]).any()


def test_other_seeds_give_other_batches() -> None:
    assert any((one[0] != other[0]).any() for one, other in zip(batches(range(2)), batches(range(2), 1), strict=True))


def test_batches_have_the_crop_size_and_dtype() -> None:
    ((image, label),) = batches(range(1), batch_size=3)
    assert (image.shape, image.dtype) == ((3, 8, 8, 3), np.uint8)
    assert (label.shape, label.dtype) == ((3, 8, 8), np.uint8)


def test_mistake_of_a_frame_comes_out_as_it_is() -> None:
    def broken(index: int) -> tuple[Array, Array]:
        raise UserError(f"frame {index}: is gone")

    with pytest.raises(UserError, match=r"^frame [0-2]: is gone$"):
        next(training_batches(broken, 3, AugmentConfig(), 2, 0, range(5)))
