"""TensorFlow's global state, set before the first op: seed, threads, determinism; and the precision of the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from fcn.config.settings import TrainConfig
from fcn.model.devices import allow_memory_growth
from fcn.runs.environment import describe_environment, processor_has_bfloat16

AMPERE = (8, 0)  # compute capability of the first NVIDIA GPUs with bfloat16


def configure_tensorflow(config: TrainConfig) -> None:
    """Seeds the generator of the initial weights, and sets threads and determinism.

    Threads that are None stay TensorFlow's choice, which is all cores.
    """
    allow_memory_growth()
    if config.intra_op_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(config.intra_op_threads)
    if config.inter_op_threads is not None:
        tf.config.threading.set_inter_op_parallelism_threads(config.inter_op_threads)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


def resolve_precision(config: TrainConfig) -> TrainConfig:
    """`auto` becomes bfloat16 if the GPUs, or without a GPU the processor, have instructions for it, else float32."""
    if config.precision != "auto":
        return config
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capable = all(one.get("compute_capability", (0, 0)) >= AMPERE for one in details)
    else:
        capable = processor_has_bfloat16()
    return replace(config, precision="bfloat16" if capable else "float32")


def describe_process(data_fingerprint: str, replicas: int) -> dict[str, Any]:
    """What the bits of a run depend on besides its config, of this process, as `describe_environment` returns it.

    `replicas` is the number of devices that share a batch.
    """
    threading = tf.config.threading
    threads = (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
    devices = [device.name for device in tf.config.list_physical_devices()]
    return describe_environment(devices, threads, replicas, data_fingerprint)
