"""All the state of a run: saved as a whole, restored as a whole.

A checkpoint is a folder that is written under a temporary name and renamed, so one that has its name is complete. There
is no iterator and no generator to save: what a step sees and draws is a function of (seed, step).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from fcn.errors import RunStoppedError

NAME = "step-{:08d}"
PART = "part-"
STATE = "state-1"  # TensorFlow adds the number of the save


@dataclass
class RunState:
    """What a run has come to.

    Attributes:
        model: weights and batch-normalisation statistics.
        optimizer: its slots and its step.
        step: int64 (), steps done.
        best_score: float64 (), best mean IoU of an evaluation so far; -1 before the first.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    step: tf.Variable
    best_score: tf.Variable

    def checkpoint(self) -> tf.train.Checkpoint:
        """The record of all of it."""
        return tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, step=self.step, best_score=self.best_score
        )


def save(state: RunState, folder: Path, keep_checkpoints: int) -> None:
    """Saves the state of a step and removes all but the newest checkpoints.

    Raises:
        RunStoppedError: the disk does not take it; the earlier checkpoints are as they were.
    """
    name = NAME.format(int(state.step.numpy()))
    temporary = folder / f"{PART}{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        state.checkpoint().save(str(temporary / "state"))
    except tf.errors.OpError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunStoppedError(
            f"{folder / name}: cannot be written: {error.message}; free some space and resume"
        ) from error
    shutil.rmtree(folder / name, ignore_errors=True)
    temporary.rename(folder / name)
    for old in whole_checkpoints(folder)[:-keep_checkpoints]:
        shutil.rmtree(old)


def restore(state: RunState, folder: Path) -> bool:
    """Restores the newest checkpoint into `state`; False, and nothing changed, where there is none."""
    found = whole_checkpoints(folder)
    if not found:
        return False
    state.checkpoint().restore(str(found[-1] / STATE)).assert_consumed()
    return True


def whole_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob(NAME.split("{", 1)[0] + "*"))
