"""Which checkpoints are whole: by a manifest of their files' sizes and SHA-256, written last. Knows no tensors."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from fcn.errors import RunStoppedError
from fcn.files import flush, sha256, write_file

NAME = "step-{:08d}"
PART = "part-"
BAD = "bad-"
MANIFEST = "manifest.json"


def checkpoints(folder: Path) -> list[Path]:
    """Saved checkpoints, oldest first."""
    return sorted(folder.glob(NAME.partition("{")[0] + "*"))


def write_manifest(path: Path, record: dict[str, Any]) -> None:
    """Waits until the disk has the files in `path`, then vouches for them beside `record`."""
    files = sorted(path.iterdir())
    for file in files:
        flush(file)
    contents = {file.name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files}
    write_file(path / MANIFEST, json.dumps({**record, "files": contents}, indent=2) + "\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """The record of a whole checkpoint, and its files."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
    return manifest


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint by its manifest; None where it is whole."""
    try:
        manifest = read_manifest(path)
        files, _ = manifest["files"], dict(manifest["environment"])
        names = {file.name for file in path.iterdir()} - {MANIFEST}
        if names != set(files):
            return f"{min(names ^ set(files))} is missing or was added"
        for name in sorted(files):
            if (path / name).stat().st_size != files[name]["bytes"] or sha256(path / name) != files[name]["sha256"]:
                return f"{name} is not what was saved"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
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
        print(f"{path}: {damage}; set aside as {aside.name}", file=sys.stderr)
    if any(folder.glob(f"{BAD}*")):
        raise RunStoppedError(f"{folder}: no checkpoint is whole; start a new run")
    return None
