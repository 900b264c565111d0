"""What several test files share: the commands as a user runs them, and one trained run."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import pytest
from hypothesis import settings

from fcn.commands import main
from fcn.config.settings import Config
from fcn.config.yaml_file import dump_config
from fcn.runs.paths import RunPaths

ROOT = Path(__file__).parents[1]

# the same examples in every run, so that a failure is seen again; tests on busy machines have no deadline
settings.register_profile("fcn", max_examples=50, deadline=None, derandomize=True, database=None)
settings.register_profile("long", max_examples=200, deadline=None, database=None)
settings.load_profile("fcn")


def make_run(directory: Path, config: Config | None = None) -> RunPaths:
    """A run that has nothing but its config."""
    run = RunPaths(directory)
    directory.mkdir(parents=True)
    run.config.write_text(dump_config(config or Config()))
    return run


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writing a file beyond `size` bytes is an error, as on a full disk (Python ignores the signal)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run_process(name: str, *arguments: object, python: tuple[str, ...] = ()) -> CompletedProcess[str]:
    """Result of `python scripts/NAME.py ARGUMENTS`, with options for Python."""
    command = [sys.executable, *python, ROOT / "scripts" / f"{name}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


Script = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="session")
def script() -> Script:
    """Does in this process, which has TensorFlow already, what scripts/NAME.py does; trainings need `run_process`."""

    def run(name: str, *arguments: object, cwd: Path = ROOT) -> CompletedProcess[str]:
        words = [name.replace("_", "-"), *map(str, arguments)]
        output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            mock.patch.object(sys, "argv", ["fcn"]),
            mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"),  # nothing is printed that a fork had to hold back
            pytest.raises(SystemExit) as ended,
        ):
            main(*words)
        texts = [stream.buffer.getvalue().decode() for stream in (output, errors)]
        return CompletedProcess(words, ended.value.code, *texts)

    return run


@pytest.fixture(scope="module")
def uncompiled() -> Iterator[None]:
    """Eager mode: compiling takes seconds and changes the last bits only; the drill tests resuming of compiled runs."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


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
    "train.class_weights=median_frequency",
    "train.class_weight_power=0.25",
)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained for a few seconds on synthetic roads, by the script."""
    folder = tmp_path_factory.mktemp("smoke") / "runs" / "smoke"
    settings = [word for setting in SMOKE_SETTINGS for word in ("--set", setting)]
    done = run_process("train", "--run-dir", folder, *settings)
    assert done.returncode == 0, done.stderr
    assert "class weights: background 0.903, road 1.19\n" in done.stderr
    assert "\nmemory: parameters " in done.stderr
    return folder
