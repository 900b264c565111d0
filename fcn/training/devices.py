"""The devices that train one network: one, the GPUs of a machine, or those of several processes or machines."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from operator import attrgetter

import numpy as np
import tensorflow as tf

from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys, field_of
from fcn.errors import RunStoppedError, UserError, print_error
from fcn.images import Array
from fcn.runs.checkpoint import Checkpoint, checkpoint_at
from fcn.runs.paths import RunPaths
from fcn.runs.workers import Worker

SEVERAL = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
WAIT_MINUTES = 15  # for the other workers, which check their frames first
# what TensorFlow raises in the other workers when one has ended
WORKER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def make_strategy(name: str, worker: Worker) -> tf.distribute.Strategy:
    """TensorFlow's strategy for a value of `train.strategy`; it must be made before the first op.

    Waits until all workers have come; ends the process with status 3 if one has not within `WAIT_MINUTES`.
    """
    if worker.count > 1:
        resolver = None if os.environ.get("TF_CONFIG") else tf.distribute.cluster_resolver.SlurmClusterResolver()
        alarm = threading.Timer(60 * WAIT_MINUTES, _end_waiting)  # TensorFlow itself waits for hours
        alarm.daemon = True
        alarm.start()
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        alarm.cancel()
        return strategy
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "mirrored" or (name == "auto" and len(devices) > 1):
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()  # the default one: one device


def _end_waiting() -> None:
    print_error(
        f"a worker has not come within {WAIT_MINUTES} minutes; see what it printed, and start all of them again"
    )
    os._exit(RunStoppedError.status)


def devices_of(strategy: tf.distribute.Strategy) -> list[str | None]:
    """Names of this process's devices; None is where TensorFlow places ops by itself."""
    return list(strategy.extended.worker_devices) if isinstance(strategy, SEVERAL) else [None]


def split_over_replicas(strategy: tf.distribute.Strategy, batch: tf.Tensor) -> tf.Tensor:
    """The batch of a process (N, ...) in a part for each of its devices, as even as N allows; itself for one device."""
    if not isinstance(strategy, SEVERAL):
        return batch
    count = len(devices_of(strategy))

    def part(context: tf.distribute.ValueContext) -> tf.Tensor:
        index = context.replica_id_in_sync_group % count
        return batch[len(batch) * index // count : len(batch) * (index + 1) // count]

    return strategy.experimental_distribute_values_from_function(part)


def sum_over_workers(strategy: tf.distribute.Strategy, values: Array) -> Array:
    """The sum of the values of all processes, int64 of any shape."""
    if not isinstance(strategy, SEVERAL):
        return values
    count = len(devices_of(strategy))

    def once(context: tf.distribute.ValueContext) -> tf.Tensor:
        is_first = context.replica_id_in_sync_group % count == 0
        return tf.constant(values if is_first else np.zeros_like(values))

    each = strategy.experimental_distribute_values_from_function(once)
    return np.asarray(strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None))


def follow_chief(
    strategy: tf.distribute.Strategy,
    worker: Worker,
    run: RunPaths,
    config: Config,
    data_fingerprint: str,
    checkpoint: Checkpoint | None,
) -> Checkpoint | None:
    """The checkpoint that the chief continues from; None if it starts a new run.

    Raises UserError if this worker has other settings or frames than the others have on average, or does not see the
    chief's checkpoint.
    """
    settings = {key: attrgetter(key)(config) for key in changed_keys(Config(), config) if not field_of(key).may_change}
    digest = hashlib.sha256(json.dumps([settings, data_fingerprint]).encode()).digest()
    number = int.from_bytes(digest[:4])
    step = checkpoint.step if checkpoint else -1
    is_evaluated = checkpoint is not None and checkpoint.is_evaluated
    mine = np.array([number, step, is_evaluated], np.int64)
    if not worker.is_chief:
        mine[1:] = 0
    total, step, is_evaluated = sum_over_workers(strategy, mine).tolist()
    if total != number * worker.count:
        raise UserError(
            f"worker {worker.index}: its settings or frames are not those of all workers; make them the same"
        )
    if worker.is_chief or step < 0:
        return checkpoint
    return checkpoint_at(run, step, is_evaluated=bool(is_evaluated))
