"""All the state of a run: saved as a whole, restored as a whole.

A checkpoint is a folder with TensorFlow's files and a manifest of their sizes and SHA-256, which is written last. Only
what its manifest vouches for is restored. There is no iterator and no generator to save: what a step sees and draws is
a function of (seed, step).
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from fcn.errors import RunStoppedError
from fcn.files import flush, sha256, write_file

NAME = "step-{:08d}"
PART = "part-"
BAD = "bad-"
STATE = "state-1"  # TensorFlow adds the number of the save
MANIFEST = "manifest.json"


@dataclass
class RunState:
    """What a run has come to.

    Attributes:
        model: weights and batch-normalisation statistics.
        optimizer: its slots and its step.
        step: int64 (), steps done.
        evaluated: int64 (), the step of the last evaluation, 0 before the first.
        best_score: float64 (), best mean IoU of an evaluation so far; -1 before the first.
    """

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    step: tf.Variable
    evaluated: tf.Variable
    best_score: tf.Variable

    @classmethod
    def start(cls, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> RunState:
        """The state before the first step."""
        step, evaluated = (tf.Variable(0, dtype=tf.int64) for _ in range(2))
        return cls(model, optimizer, step, evaluated, tf.Variable(-1.0, dtype=tf.float64))

    def checkpoint(self) -> tf.train.Checkpoint:
        """The record of all of it."""
        return tf.train.Checkpoint(**vars(self))


def save(state: RunState, folder: Path, keep_checkpoints: int) -> None:
    """Saves the state of a step and removes all but the newest checkpoints.

    Raises:
        RunStoppedError: the disk does not take it; the earlier checkpoints are as they were.
    """
    name = NAME.format(int(state.step.numpy()))
    temporary = folder / f"{PART}{name}"
    for torn in folder.glob(f"{PART}*"):
        shutil.rmtree(torn)
    try:
        temporary.mkdir()
        state.checkpoint().save(str(temporary / "state"))
        files = sorted(temporary.iterdir())
        for file in files:
            flush(file)
        contents = {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files}
        write_file(temporary / MANIFEST, json.dumps({"step": int(state.step.numpy()), "files": contents}, indent=2))
        shutil.rmtree(folder / name, ignore_errors=True)
        temporary.rename(folder / name)
        flush(folder)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = str(error).splitlines()[0]
        raise RunStoppedError(f"{folder / name}: cannot be written: {reason}; free some space and resume") from error
    for old in checkpoints(folder)[:-keep_checkpoints]:
        shutil.rmtree(old)


def restore(state: RunState, folder: Path) -> bool:
    """Restores the newest whole checkpoint into `state`; sets damaged ones aside and says so.

    Returns:
        False, with nothing changed, where no checkpoint was ever saved.

    Raises:
        RunStoppedError: checkpoints were saved, and none of them is whole.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        damage = find_damage(path)
        if damage is None:
            state.checkpoint().restore(str(path / STATE)).assert_consumed()
            return True
        shutil.rmtree(path.with_name(f"{BAD}{path.name}"), ignore_errors=True)
        path.rename(path.with_name(f"{BAD}{path.name}"))
        print(f"{path}: {damage}; set aside as {BAD}{path.name}", file=sys.stderr)
    if found:
        raise RunStoppedError(f"{folder}: no checkpoint is whole; start a new run")
    return False


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint by its manifest; None where it is whole."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        for name, expected in manifest["files"].items():
            file = path / name
            if file.stat().st_size != expected["bytes"] or sha256(file) != expected["sha256"]:
                return f"{name} is not what was saved"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest or a file of it cannot be read ({error})"
    return None


def checkpoints(folder: Path) -> list[Path]:
    """Saved checkpoints, oldest first."""
    return sorted(folder.glob(NAME.partition("{")[0] + "*"))
