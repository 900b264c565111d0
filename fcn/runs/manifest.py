"""Which checkpoints are whole: by a manifest of their files' sizes and SHA-256, written last. Knows no tensors."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from fcn.errors import RunStoppedError, print_error
from fcn.files import flush, sha256, write_file

NAME = re.compile(r"step-[0-9]{10}(-evaluated)?")  # sorts by age
BAD = "bad-"
MANIFEST = "manifest.json"


def checkpoint_name(step: int, evaluated: bool) -> str:
    """Name of the folder for the state after a step, before or after its evaluation."""
    return f"step-{step:010d}" + "-evaluated" * evaluated


def checkpoints(folder: Path) -> list[Path]:
    """Saved checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if NAME.fullmatch(path.name))


def write_manifest(path: Path, record: dict[str, Any]) -> None:
    """Waits until the disk has the files in `path`, then vouches for them beside `record`."""
    files = sorted(path.iterdir())
    for file in files:
        flush(file)
    contents = {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files}
    manifest = {**record, "files": contents}
    write_file(path / MANIFEST, json.dumps({**manifest, "sha256": _digest(manifest)}, indent=2) + "\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """The record of a whole checkpoint, and its files."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
    return manifest


def _digest(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest's other entries."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint by its manifest; None where it is whole."""
    try:
        manifest = read_manifest(path)
        if _digest(manifest) != manifest["sha256"]:
            return f"{MANIFEST} is not what was saved"
        files, name = manifest["files"], manifest["name"]
        if name != path.name:
            return f"it was saved as {name}"
        names = {file.name for file in path.iterdir()} - {MANIFEST}
        if names != set(files):
            return f"{min(names ^ set(files))} is missing or was added"
        for name in sorted(files):
            if (path / name).stat().st_size != files[name]["bytes"] or sha256(path / name) != files[name]["sha256"]:
                return f"{name} is not what was saved"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"its manifest or a file of it cannot be read ({error})"
    return None


def newest_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint; damaged ones on the way are set aside, and stderr says so.

    Returns:
        None where no checkpoint was ever saved.

    Raises:
        RunStoppedError: checkpoints were saved, and none of them is whole.
    """
    for path in reversed(checkpoints(folder)):
        damage = find_damage(path)
        if damage is None:
            return path
        aside = path.with_name(f"{BAD}{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        print_error(f"{path}: {damage}; set aside as {aside.name}")
    if any(folder.glob(f"{BAD}*")):
        raise RunStoppedError(f"{folder}: no checkpoint is whole; start a new run")
    return None
