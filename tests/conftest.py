"""What several test files share: the scripts as a user runs them, and one trained run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from fcn.config.settings import Config
from fcn.config.yaml_file import dump_config
from fcn.runs.paths import RunPaths

ROOT = Path(__file__).parents[1]

# the same examples in every run, so that a failure is seen again; tests on busy machines have no deadline
settings.register_profile("fcn", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("fcn")


def make_run(directory: Path, config: Config | None = None) -> RunPaths:
    """A run that has nothing but its config."""
    run = RunPaths.of(directory)
    directory.mkdir(parents=True)
    run.config.write_text(dump_config(config or Config()))
    return run


Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def script() -> Script:
    """Runs `python scripts/NAME.py ARGUMENTS` in a folder and returns status, stdout and stderr."""

    def run(name: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, ROOT / "scripts" / f"{name}.py", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)

    return run


SMOKE_SETTINGS = (
    "data.synthetic_frames=[48,16,1]",
    "model.encoder=vgg11",
    "model.head_units=64",
    "augment.crop_size=[96,192]",
    "train.steps=80",
    "train.log_steps=20",
    "train.evaluate_steps=40",
    "train.checkpoint_steps=40",
    "train.ema_decay=0.9",
    "train.class_weights=given",
    "train.given_class_weights=[1,1.25]",
)


@pytest.fixture(scope="session")
def smoke_run(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained for a few seconds on synthetic roads, by the script."""
    folder = tmp_path_factory.mktemp("smoke") / "runs" / "smoke"
    settings = [word for setting in SMOKE_SETTINGS for word in ("--set", setting)]
    done = script("train", "--run-dir", folder, *settings)
    assert done.returncode == 0, done.stderr
    assert "class weights: background 1, road 1.25\n" in done.stderr
    return folder
