"""What a run is continued from. Knows no tensors, so that it answers at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.errors import RunStoppedError, UserError
from fcn.runs.paths import RunFolder, require_unchanged
from fcn.runs.manifest import newest_whole, read_manifest

CONFIG = "config.yaml"  # in a checkpoint, as in a run folder


def checkpoint_to_continue(folder: RunFolder, config: Config, allow_changed: Sequence[str]) -> Path | None:
    """The newest whole checkpoint of a run, which was made with this config; damaged ones are set aside.

    Args:
        folder: of the run.
        config: that it is to be continued with.
        allow_changed: dotted keys that may be others than before.

    Returns:
        None where the run has not begun.

    Raises:
        RunStoppedError: there were checkpoints, and none of them is whole.
        UserError: the checkpoint was made with another config, or is beyond its steps.
    """
    path = newest_whole(folder.checkpoints)
    if path is None:
        if folder.metrics_file.exists():  # the state before the first step is saved before the first row
            raise RunStoppedError(f"{folder.checkpoints}: its checkpoints are gone; start a new run")
        require_unchanged(folder.config_file, folder.config(), config, allow_changed)
        return None
    require_unchanged(path, load_config(path / CONFIG, stored=True), config, allow_changed)
    done = read_manifest(path)["step"]
    if done > config.train.steps:
        raise UserError(f"train.steps: {config.train.steps} is below the {done} of {path}; raise it")
    return path
