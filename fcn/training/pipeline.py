"""Frames -> batches of tensors for training. A batch is a function of (seed, step): no iterator has a state to save.

Slots are numbered over all steps of a run. They run through the frames in epochs, each in an order of its own; the
count continues where another phase has batches of another size.
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
from fcn.runs.workers import ALONE, Worker
from fcn.training.augment import augment_frame

PREFETCHED_BATCHES = 2  # one is made while one waits; more would only cost memory


@dataclass(frozen=True)
class Phase:
    """Steps of a run, counted from 0, with batches of one kind; a batch fills `batch_size` slots."""

    steps: range
    first_slot: int
    batch_size: int
    augment: AugmentConfig

    def slots(self, steps: range) -> range:
        """The slots of some of its steps."""
        first = self.first_slot + (steps.start - self.steps.start) * self.batch_size
        return range(first, first + len(steps) * self.batch_size)


def plan_phases(config: ProgressiveConfig, augment: AugmentConfig, batch_size: int, steps: int) -> list[Phase]:
    """The phases of a run: small crops first, if `progressive.share` is above 0, then the main phase."""
    switch = round(config.share * steps)
    small = replace(augment, crop_size=config.crop_size, scale=config.scale)
    phases = [
        Phase(range(switch), first_slot=0, batch_size=config.batch_size, augment=small),
        Phase(range(switch, steps), first_slot=switch * config.batch_size, batch_size=batch_size, augment=augment),
    ]
    return [phase for phase in phases if phase.steps]


def frames_of_step(phases: Sequence[Phase], step: int, frame_count: int, seed: int) -> list[int]:
    """The frames (0 to frame_count - 1) in the slots of a step."""
    (phase,) = (phase for phase in phases if step in phase.steps)
    return [frame_of_slot(slot, frame_count, seed) for slot in phase.slots(range(step, step + 1))]


def frame_of_slot(slot: int, frame_count: int, seed: int) -> int:
    """The frame (0 to frame_count - 1) in a slot. Every frame occurs once in each epoch of `frame_count` slots."""
    epoch, place = divmod(slot, frame_count)
    return int(_permutation(frame_count, seed, epoch)[place])


@lru_cache(maxsize=4)  # neighboring slots share an epoch
def _permutation(frame_count: int, seed: int, epoch: int) -> Array:
    # the order of Philox' raw numbers is fixed; NumPy may change the methods of its Generator between versions
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(frame_count), kind="stable")


def _slots_from(first: tf.Tensor, count: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(first, first + count)


def training_batches(
    read: Callable[[int], tuple[Array, Array]],
    frame_count: int,
    phases: Sequence[Phase],
    seed: int,
    start: int = 0,
    center_only: bool = False,
    worker: Worker = ALONE,
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yields the batches of all steps from `start` on: images uint8 (N, h, w, 3), labels uint8 (N, h, w) of crop size.

    A worker among several gets its share of each batch.

    `read` maps a frame's index to image uint8 (H, W, 3) and label uint8 (H, W); it is called from a thread of tf.data,
    from several without op determinism. Its UserError is raised as it is. `center_only` cuts the labels to the pixel at
    the center, uint8 (N, 1, 1).
    """
    mistakes: list[UserError] = []

    def read_slot(slot: np.int64) -> tuple[Array, Array]:
        try:
            return read(frame_of_slot(int(slot), frame_count, seed))
        except UserError as error:
            mistakes.append(error)
            raise

    def load_and_augment(slot: tf.Tensor, config: AugmentConfig) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(read_slot, [slot], (tf.uint8, tf.uint8))
        image.set_shape((None, None, 3))
        label.set_shape((None, None))
        slot_seed = tf.stack([tf.constant(seed, tf.int64), slot])
        image, label = augment_frame(image, label, config, slot_seed)
        if center_only:
            row, column = (side // 2 for side in config.crop_size)
            label = label[row : row + 1, column : column + 1]
        return image, label

    try:
        for phase in phases:
            slots = phase.slots(range(max(start, phase.steps.start), phase.steps.stop))
            share = worker.share(phase.batch_size)
            make_frame = partial(load_and_augment, config=phase.augment)
            batches = (
                tf.data.Dataset.range(slots.start + share.start, slots.stop, phase.batch_size)
                .flat_map(partial(_slots_from, count=len(share)))
                .map(make_frame, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)  # no slot overtakes another
                .batch(len(share), drop_remainder=True)
                .prefetch(PREFETCHED_BATCHES)
            )
            yield from batches
    except tf.errors.OpError:  # reports the mistake in a frame among a hundred lines
        if mistakes:
            raise mistakes[0] from None
        raise
