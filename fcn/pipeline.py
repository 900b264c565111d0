"""Frames -> batches of tensors for training. What is in a batch depends on (seed, step) alone: no iterator has a state.

Slot j of step t, counted from 0, has the number t x batch_size + j. The slots run through the frames in epochs, each in
an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import tensorflow as tf

from fcn.augment import augment_frame
from fcn.config import AugmentConfig
from fcn.errors import UserError
from fcn.images import Array

PREFETCHED_BATCHES = 2  # one being made while one waits; more would only cost memory


def frame_of_slot(slot: int, count: int, seed: int) -> int:
    """The frame (0 to count - 1) in a slot; `count` slots in a row from a multiple of `count` hold each frame once."""
    epoch, place = divmod(slot, count)
    return int(_permutation(count, seed, epoch)[place])


@lru_cache(maxsize=4)  # neighbouring slots share an epoch
def _permutation(count: int, seed: int, epoch: int) -> Array:
    # sorting Philox' raw numbers cannot change between versions of NumPy, as its Generator's methods may
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(count), kind="stable")


def training_batches(
    read: Callable[[int], tuple[Array, Array]],
    count: int,
    config: AugmentConfig,
    batch_size: int,
    seed: int,
    steps: range,
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """The batches of the given steps, in order.

    Args:
        read: frame index -> (image uint8 (H, W, 3), label uint8 (H, W)); called from a thread of tf.data, from several
            where op determinism is off.
        count: number of frames.
        config: crop and variation.
        batch_size: slots a step, N.
        seed: of order and variation.
        steps: step numbers from 0, stride 1.

    Yields:
        (image uint8 (N, crop height, crop width, 3), label uint8 (N, crop height, crop width)).

    Raises:
        UserError: as `read` raised it.
    """
    mistakes: list[UserError] = []

    def load(slot: np.int64) -> tuple[Array, Array]:
        try:
            return read(frame_of_slot(int(slot), count, seed))
        except UserError as error:
            mistakes.append(error)
            raise

    def prepare(slot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(load, [slot], (tf.uint8, tf.uint8))
        image.set_shape((None, None, 3))
        label.set_shape((None, None))
        return augment_frame(image, label, config, tf.stack([tf.constant(seed, tf.int64), slot]))

    slots = tf.data.Dataset.range(steps.start * batch_size, steps.stop * batch_size)
    # deterministic: one slot may not overtake another
    frames = slots.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    try:
        yield from frames.batch(batch_size, drop_remainder=True).prefetch(PREFETCHED_BATCHES)
    except tf.errors.OpError:  # tells a frame's mistake among a hundred lines
        if mistakes:
            raise mistakes[0] from None
        raise
