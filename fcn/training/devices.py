"""The devices that train one network: one, the GPUs of a machine, or those of several processes or machines."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from operator import attrgetter

import numpy as np
import tensorflow as tf

from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys, field_of
from fcn.images import Array
from fcn.runs.workers import Worker

SEVERAL = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
# what TensorFlow raises in the other workers when one has ended
WORKER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def make_strategy(name: str, worker: Worker, frames: int) -> tf.distribute.Strategy:
    """TensorFlow's strategy for a value of `train.strategy`, made before the first op; several workers have met.

    `auto` takes no more devices of this machine than a step has frames.
    """
    if worker.count > 1:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=_resolver())
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "auto":
        devices = devices[: max(1, frames)]
    if name == "mirrored" or (name == "auto" and len(devices) > 1):
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()  # the default one: one device


def chief_address() -> str:
    """HOST:PORT of the chief of several workers."""
    cluster = _resolver().cluster_spec().as_dict()
    return str(cluster.get("chief", cluster.get("worker"))[0])


@lru_cache  # SLURM's changes CUDA_VISIBLE_DEVICES, by which another one would count
def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    resolvers = tf.distribute.cluster_resolver
    return resolvers.TFConfigClusterResolver() if os.environ.get("TF_CONFIG") else resolvers.SlurmClusterResolver()


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


def settings_digest(config: Config, data_fingerprint: str) -> str:
    """Hexadecimal SHA-256 of what all workers must have in common."""
    settings = {key: attrgetter(key)(config) for key in changed_keys(Config(), config) if not field_of(key).may_change}
    return hashlib.sha256(json.dumps([settings, data_fingerprint]).encode()).hexdigest()
