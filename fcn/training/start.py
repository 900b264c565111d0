"""What comes before the first step: TensorFlow is set up, and the run brought to where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import keras
import tensorflow as tf

from fcn.config.settings import Config
from fcn.errors import print_error
from fcn.inference.predictor import use_gpu_memory_as_needed
from fcn.runs.checkpoint import Checkpoints, RunState, restore
from fcn.runs.environment import changed_environment, describe_environment, processor_has_bfloat16
from fcn.runs.manifest import read_manifest
from fcn.runs.paths import RunFolder
from fcn.runs.resume import checkpoint_to_continue


def prepare_tensorflow(
    seed: int, deterministic: bool, intra_op_threads: int | None, inter_op_threads: int | None
) -> None:
    """Seeds what Keras draws initial weights from, and sets what must be set before the first op.

    Args:
        seed: of the initial weights.
        deterministic: only ops whose result is the same in each run.
        intra_op_threads: inside an op; None leaves it as it is, as TensorFlow's own is all cores.
        inter_op_threads: between ops; None likewise.
    """
    use_gpu_memory_as_needed()
    if intra_op_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    if inter_op_threads is not None:
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def with_precision(config: Config) -> Config:
    """A precision `auto` becomes bfloat16 where the GPUs, or without one the processor, have instructions for it."""
    if config.train.precision != "auto":
        return config
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = map(tf.config.experimental.get_device_details, gpus)
        capable = all(one.get("compute_capability", (0, 0)) >= (8, 0) for one in details)  # from Ampere on
    else:
        capable = processor_has_bfloat16()
    return replace(config, train=replace(config.train, precision="bfloat16" if capable else "float32"))


def start_or_continue(
    state: RunState, config: Config, folder: RunFolder, data_fingerprint: str, allow_changed: Sequence[str]
) -> Callable[[], None]:
    """Brings state, rows and best weights to the newest whole checkpoint; where there is none yet, saves the first.

    The run's clock goes on from the last row.

    Returns:
        What saves the state.

    Raises:
        RunStoppedError: as `checkpoint_to_continue`; or the disk does not take the first checkpoint.
        UserError: as `checkpoint_to_continue`; or the checkpoint is of another network.
    """
    threading = tf.config.threading
    threads = (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
    devices = [device.name for device in tf.config.list_physical_devices()]
    environment = describe_environment(devices, threads, data_fingerprint)
    save = partial(Checkpoints(folder, config, environment).save, state)
    path = checkpoint_to_continue(folder, config, allow_changed)
    for made in (folder.checkpoints, folder.pictures):
        made.mkdir(exist_ok=True)
    if path is None:
        folder.record_environment(environment)
        save()
    else:
        for name in changed_environment(read_manifest(path)["environment"], environment):
            print_error(f"{path}: continued with another {name}; its bits may not be a straight run's")
        restore(state, path)
        folder.restore_records(path)
        folder.store(config)
    folder.start_clock()
    return save
