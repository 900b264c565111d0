"""What comes before the first step: TensorFlow is set up, and the run brought to where it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from fcn.config import Config
from fcn.configfile import dump_config, load_config
from fcn.environment import changed_environment, describe_environment
from fcn.errors import UserError
from fcn.inference.predictor import use_gpu_memory_as_needed
from fcn.run import RunFolder, require_unchanged
from fcn.training.checkpoint import CONFIG, Checkpoints, RunState, restore
from fcn.training.manifest import newest_whole, read_manifest


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


def start_or_continue(
    state: RunState, config: Config, folder: RunFolder, data_fingerprint: str, allow_changed: Sequence[str]
) -> Callable[[], None]:
    """Brings the state and the folder's rows to the newest whole checkpoint, if there is one.

    Returns:
        What saves the state.

    Raises:
        RunStoppedError: no checkpoint is whole.
        UserError: the checkpoint is of another config.
    """
    threading = tf.config.threading
    threads = (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
    devices = [device.name for device in tf.config.list_physical_devices()]
    environment = describe_environment(devices, threads, data_fingerprint)
    for made in (folder.checkpoints, folder.pictures):
        made.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder.checkpoints, config.train.keep_checkpoints, dump_config(config), environment)
    path = newest_whole(folder.checkpoints)
    if path is None:
        folder.record_environment(environment)
    else:
        require_unchanged(path, load_config(path / CONFIG), config, allow_changed)
        for name in changed_environment(read_manifest(path)["environment"], environment):
            print(f"{path}: continued with another {name}; its bits may not be a straight run's", file=sys.stderr)
        restore(state, path)
        if int(state.step) > config.train.steps:
            raise UserError(f"train.steps: {config.train.steps} is below the {int(state.step)} of {path}; raise it")
    folder.cut_rows(int(state.step), int(state.evaluated))

    def save() -> None:
        folder.flush_rows()
        checkpoints.save(state)

    return save
