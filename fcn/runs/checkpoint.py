"""Checkpoints: found and verified, saved whole, restored whole.

A checkpoint is a directory step-NNNNNNNNNN with TensorFlow's files of all variables, the rows and best weights of the
run so far, its config, and a manifest, written last, with the size and SHA-256 of every file. Only a checkpoint that
equals its manifest is restored. There is no iterator or random generator to save: what a step sees is a function of
(seed, step).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys, dump_config, field_of, load_config
from fcn.errors import RunStoppedError, UserError, print_error, printable
from fcn.files import PART, flush, read_file, sha256, write_file
from fcn.runs.paths import RunPaths

if TYPE_CHECKING:  # a checkpoint is found before TensorFlow is imported, so that mistakes are reported at once
    import tensorflow as tf

NAME = re.compile(r"step-[0-9]{10}(-evaluated)?")  # sorts by age
BAD = "bad-"
MANIFEST = "manifest.json"
CONFIG = "config.yaml"
STATE = "state"  # prefix of TensorFlow's files
MAX_SHOWN = 200  # characters of what is wrong, which may quote the manifest
MAX_MANIFEST_BYTES = 2**20  # it has a few lines a file


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that equals its manifest.

    Attributes:
        path: Its directory.
        step: The steps done.
        environment: That in which it was saved.
        changed: Settings that a continued run may only change if the user says so: key -> [saved, now].
    """

    path: Path
    step: int
    environment: dict[str, Any]
    changed: dict[str, Any]


def find_checkpoint(run: RunPaths, config: Config, allow_changed: Sequence[str] = ()) -> Checkpoint | None:
    """The newest valid checkpoint of a run; None if the run has not begun. Damaged ones are reported and set aside.

    Raises:
        RunStoppedError: There were checkpoints, and none of them is valid.
        UserError: It was saved with a config that differs in keys that are neither free to change nor in
            `allow_changed`, or after more steps than the config has; or a file cannot be read now.
    """
    path = _newest_valid(run.checkpoints)
    if path is None:
        if run.has_begun():
            raise RunStoppedError(f"{run.checkpoints}: the checkpoints are gone; start a new run")
        _changes(run.config, run.load_config(), config, allow_changed=allow_changed)
        return None
    saved = load_config(path / CONFIG, stored=True)
    changed = _changes(path, saved, config, allow_changed=allow_changed)
    manifest = json.loads((path / MANIFEST).read_bytes())
    if manifest["step"] > config.train.steps:
        raise UserError(f"train.steps: {config.train.steps} is below the {manifest['step']} of {path}; raise it")
    return Checkpoint(path, step=manifest["step"], environment=manifest["environment"], changed=changed)


def checkpoint_of_chief(run: RunPaths, name: str) -> Checkpoint:
    """The checkpoint that the chief of several workers has found valid. Raises UserError if it is not there."""
    path = run.checkpoints / name
    if not path.is_dir():
        raise UserError(f"{path}: is missing here; name a --run-dir on a file system that all workers share")
    return Checkpoint(path, step=int(name.split("-")[1]), environment={}, changed={})


def _newest_valid(directory: Path) -> Path | None:
    for path in reversed(list_checkpoints(directory)):
        damage = find_damage(path)
        if damage is None:
            return path
        aside = path.with_name(f"{BAD}{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        print_error(printable(f"{path}: {damage[:MAX_SHOWN]}; set aside as {aside.name}"))
    if any(directory.glob(f"{BAD}*")):
        raise RunStoppedError(f"{directory}: no checkpoint is valid; start a new run")
    return None


def list_checkpoints(directory: Path) -> list[Path]:
    """Saved checkpoints, oldest first."""
    paths = directory.iterdir() if directory.exists() else ()  # unlike glob, an error where it cannot be read
    return sorted(path for path in paths if NAME.fullmatch(path.name))


def _changes(source: Path, before: Config, now: Config, allow_changed: Sequence[str]) -> dict[str, Any]:
    """Key -> [before, now] of the settings that are not free to change; UserError if one is not in `allow_changed`."""
    changed = [key for key in changed_keys(before, now) if not field_of(key).may_change]
    keys = [key for key in changed if key not in allow_changed]
    if keys:
        options = " ".join(f"--allow-changed {key}" for key in keys)
        raise UserError(
            f"{source}: was made with another {', '.join(keys)}; change that back, start a new run, or continue with "
            f"{options}"
        )
    return {key: [attrgetter(key)(before), attrgetter(key)(now)] for key in changed}


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint according to its manifest; None if it is valid.

    Raises UserError if a file cannot be read, which may not be so the next time.
    """
    try:
        names = {file.name for file in path.iterdir()}
        if MANIFEST not in names:
            return f"{MANIFEST} is missing"
        manifest = json.loads(read_file(path / MANIFEST, MAX_MANIFEST_BYTES))
        if _digest(manifest) != manifest["sha256"]:
            return f"{MANIFEST} is not what was saved"
        files = manifest["files"]
        if manifest["name"] != path.name:
            return f"it was saved as {manifest['name']}"
        other = names ^ {MANIFEST, *files}
        if other:
            return f"{min(other)} is missing or was added"
        for name in sorted(files):
            if not (path / name).is_file() or _describe(path / name) != files[name]:
                return f"{name} is not what was saved"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{MANIFEST} is not what was saved ({error})"
    except OSError as error:
        name = error.filename or path
        raise UserError(f"{name}: cannot be read now: {error.strerror}; repeat the command") from error
    return None


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256(file)}


def _digest(manifest: dict[str, Any]) -> str:
    """Hexadecimal SHA-256 of the manifest's entries except the digest itself."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


def write_manifest(path: Path, record: dict[str, Any]) -> None:
    """Waits until the files in `path` are on the disk, then writes the manifest with the record and their digests."""
    files = sorted(path.iterdir())
    for file in files:
        flush(file)
    manifest = {**record, "files": {file.name: _describe(file) for file in files}}
    write_file(path / MANIFEST, json.dumps({**manifest, "sha256": _digest(manifest)}, indent=2) + "\n")


def save_checkpoint(run: RunPaths, config: Config, environment: dict[str, Any], variables: tf.train.Checkpoint) -> None:
    """Saves all variables, rows and best weights, and removes the oldest checkpoints.

    `variables` has `step` and `evaluated`, the step of the last evaluation. Nothing is done if a valid checkpoint of
    this step exists; one before and one after its evaluation are not the same.

    Raises:
        RunStoppedError: The disk is full or fails; earlier checkpoints are untouched.
    """
    import tensorflow as tf

    step = int(variables.step)
    is_evaluated = 0 < step == int(variables.evaluated)
    path = run.checkpoints / f"step-{step:010d}{'-evaluated' if is_evaluated else ''}"
    temporary = path.with_name(f"{PART}{path.name}")
    try:
        if path.exists() and find_damage(path) is None:
            return
        for part in run.checkpoints.glob(f"{PART}*"):
            shutil.rmtree(part)
        temporary.mkdir(parents=True)
        variables.write(str(temporary / STATE))
        for file in (run.metrics, run.best_weights, run.best_record):
            if file.is_file():
                shutil.copyfile(file, temporary / file.name)
        write_file(temporary / CONFIG, dump_config(config))
        write_manifest(temporary, {"name": path.name, "step": step, "environment": environment})
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        flush(run.checkpoints)
    except (OSError, UserError, tf.errors.OpError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        # TensorFlow's text begins with a temporary file and ends with the operation
        of_tensorflow = str(error).rpartition("; ")[2].partition(" [Op:")[0]
        reason = str(error) if isinstance(error, UserError) else getattr(error, "strerror", None) or of_tensorflow
        raise RunStoppedError(f"{path}: cannot be written: {reason}; fix that and resume") from error
    for old in list_checkpoints(run.checkpoints)[: -config.train.keep_checkpoints]:
        try:
            shutil.rmtree(old)
        except OSError as error:
            print_error(f"{old}: cannot be removed: {error.strerror}; remove it yourself to free its space")


def restore_checkpoint(checkpoint: Checkpoint, run: RunPaths, variables: tf.train.Checkpoint) -> None:
    """Sets variables, rows and best weights to those saved. Raises UserError if they are of another network."""
    restore_variables(checkpoint, variables)
    for file in (run.metrics, run.best_weights, run.best_record):
        saved = checkpoint.path / file.name
        if saved.is_file():
            write_file(file, saved.read_bytes())
        else:
            file.unlink(missing_ok=True)


def restore_variables(checkpoint: Checkpoint, variables: tf.train.Checkpoint) -> None:
    """Sets variables to those saved. Raises UserError if they are of another network."""
    import tensorflow as tf

    path = checkpoint.path
    try:
        variables.read(str(path / STATE)).expect_partial().assert_consumed()
    except tf.errors.NotFoundError as error:
        raise UserError(f"{path}: was saved by another version of fcn; use that, or start a new run") from error
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"{path}: holds the state of another network, optimizer or average than the config's; start a new run"
        ) from error
