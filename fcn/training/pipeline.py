"""Frames -> batches of tensors for training. What is in a batch depends on (seed, step) alone: no iterator has a state.

Slots are numbered over all steps of a run: slot j of step t, both from 0, is t x batch_size + j, and the count goes on
where another phase takes other batches. They run through the frames in epochs, each in an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import tensorflow as tf

from fcn.config.settings import AugmentConfig, ProgressiveConfig
from fcn.errors import UserError
from fcn.images import Array
from fcn.training.augment import augment_frame

PREFETCHED_BATCHES = 2  # one being made while one waits; more would only cost memory


@dataclass(frozen=True)
class Phase:
    """Steps with batches of one kind.

    Attributes:
        steps: of the run, counted from 0.
        first_slot: of the first step.
        batch_size: slots a step, N.
        augment: crop and variation.
    """

    steps: range
    first_slot: int
    batch_size: int
    augment: AugmentConfig

    def slots(self, steps: range) -> range:
        """The slots of some of its steps, which may be none."""
        first = self.first_slot + (steps.start - self.steps.start) * self.batch_size
        return range(first, first + len(steps) * self.batch_size)


def plan_phases(config: ProgressiveConfig, augment: AugmentConfig, batch_size: int, steps: int) -> list[Phase]:
    """The phases of a run of so many steps: an early one, where there is one, and the main one."""
    switch = round(config.share * steps)
    small = replace(augment, crop_size=config.crop_size, scale=config.scale)
    phases = [
        Phase(range(switch), 0, config.batch_size, small),
        Phase(range(switch, steps), switch * config.batch_size, batch_size, augment),
    ]
    return [phase for phase in phases if phase.steps]


def frames_of_step(phases: Sequence[Phase], step: int, count: int, seed: int) -> list[int]:
    """The frames (0 to count - 1) in the slots of a step."""
    (phase,) = (phase for phase in phases if step in phase.steps)
    return [frame_of_slot(slot, count, seed) for slot in phase.slots(range(step, step + 1))]


def frame_of_slot(slot: int, count: int, seed: int) -> int:
    """The frame (0 to count - 1) in a slot; `count` slots in a row from a multiple of `count` hold each frame once."""
    epoch, place = divmod(slot, count)
    return int(_permutation(count, seed, epoch)[place])


@lru_cache(maxsize=4)  # neighboring slots share an epoch
def _permutation(count: int, seed: int, epoch: int) -> Array:
    # sorting Philox' raw numbers cannot change between versions of NumPy, as its Generator's methods may
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(count), kind="stable")


def training_batches(
    read: Callable[[int], tuple[Array, Array]],
    count: int,
    phases: Sequence[Phase],
    seed: int,
    start: int = 0,
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """The batches of all steps from `start` on, in order.

    Args:
        read: frame index -> (image uint8 (H, W, 3), label uint8 (H, W)); called from a thread of tf.data, from several
            where op determinism is off.
        count: number of frames.
        phases: of the run.
        seed: of order and variation.
        start: the first step, from 0.

    Yields:
        (image uint8 (N, crop height, crop width, 3), label uint8 (N, crop height, crop width)), N slots.

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

    def prepare(augment: AugmentConfig, slot: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(load, [slot], (tf.uint8, tf.uint8))
        image.set_shape((None, None, 3))
        label.set_shape((None, None))
        return augment_frame(image, label, augment, tf.stack([tf.constant(seed, tf.int64), slot]))

    try:
        for phase in phases:
            slots = phase.slots(range(max(start, phase.steps.start), phase.steps.stop))
            # deterministic: one slot may not overtake another
            frames = tf.data.Dataset.range(slots.start, slots.stop).map(
                partial(prepare, phase.augment), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
            yield from frames.batch(phase.batch_size, drop_remainder=True).prefetch(PREFETCHED_BATCHES)
    except tf.errors.OpError:  # tells a frame's mistake among a hundred lines
        if mistakes:
            raise mistakes[0] from None
        raise
