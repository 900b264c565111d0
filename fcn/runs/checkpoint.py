"""All the state of a run: saved as a whole, restored as a whole.

A checkpoint is a folder with TensorFlow's files, the run's rows and best weights so far, its config and a manifest, and
only what the manifest vouches for is restored. There is no iterator and no generator to save: what a step sees and
draws is a function of (seed, step).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fcn.config.settings import Config
from fcn.config.yaml_file import dump_config
from fcn.errors import RunStoppedError, UserError
from fcn.files import PART, flush, write_file
from fcn.runs.paths import RunFolder
from fcn.runs.manifest import checkpoint_name, checkpoints, find_damage, write_manifest
from fcn.runs.resume import CONFIG

STATE = "state"  # what TensorFlow's files are called


@dataclass
class RunState:
    """What a run has come to.

    Attributes:
        model: weights and batch-normalization statistics.
        optimizer: its slots and its step.
        averages: moving averages of the model's weights, float32; empty where the run keeps none.
        step: int64 (), steps done.
        evaluated: int64 (), the step of the last evaluation, 0 before the first.
        best_score: float64 (), best mean IoU of an evaluation so far; -1 before the first.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    averages: list[tf.Variable]
    step: tf.Variable
    evaluated: tf.Variable
    best_score: tf.Variable

    @classmethod
    def start(cls, model: keras.Model, optimizer: keras.optimizers.Optimizer, averaged: bool = False) -> RunState:
        """The state before the first step, with or without averages."""
        averages = [tf.Variable(weight.value) for weight in model.weights if averaged]
        step, evaluated = (tf.Variable(0, dtype=tf.int64) for _ in range(2))
        return cls(model, optimizer, averages, step, evaluated, tf.Variable(-1.0, dtype=tf.float64))

    def checkpoint(self) -> tf.train.Checkpoint:
        """The record of all of it."""
        return tf.train.Checkpoint(**vars(self))


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run.

    Attributes:
        run: whose rows and best weights are saved with the state.
        config: of the run, likewise.
        environment: what the bits of a run depend on beside its config; in the manifest of each.
    """

    run: RunFolder
    config: Config
    environment: dict[str, Any]

    def save(self, state: RunState) -> None:
        """Saves the state, unless a whole checkpoint of it is there, and removes the oldest ones.

        Raises:
            RunStoppedError: the disk does not take it; the earlier checkpoints are as they were.
        """
        folder, step = self.run.checkpoints, int(state.step)
        path = folder / checkpoint_name(step, evaluated=0 < step == int(state.evaluated))
        if find_damage(path) is None:
            return
        temporary = path.with_name(f"{PART}{path.name}")
        try:
            for torn in folder.glob(f"{PART}*"):
                shutil.rmtree(torn)
            temporary.mkdir()
            state.checkpoint().write(str(temporary / STATE))
            self.run.copy_records(temporary)
            write_file(temporary / CONFIG, dump_config(self.config))
            write_manifest(temporary, {"name": path.name, "step": step, "environment": self.environment})
            shutil.rmtree(path, ignore_errors=True)
            temporary.rename(path)
            flush(folder)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            # TensorFlow's text names a temporary file first, the operation last
            reason = getattr(error, "strerror", None) or str(error).rpartition("; ")[2].partition(" [Op:")[0]
            raise RunStoppedError(f"{path}: cannot be written: {reason}; mend that and resume") from error
        for old in checkpoints(folder)[: -self.config.train.keep_checkpoints]:
            shutil.rmtree(old)


def restore(state: RunState, path: Path) -> None:
    """Brings `state` to a whole checkpoint. Raises UserError where it is of another network or version."""
    try:
        state.checkpoint().read(str(path / STATE)).expect_partial().assert_consumed()
    except tf.errors.NotFoundError as error:
        raise UserError(f"{path}: is of another version of fcn; continue with that, or start a new run") from error
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"{path}: holds the state of another network, optimizer or average than the config's; start a new run"
        ) from error
