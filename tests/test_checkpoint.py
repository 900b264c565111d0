"""A checkpoint is saved whole or not at all, and gives back every number."""

from __future__ import annotations

import gc
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcn.config.settings import Config, ModelConfig, TrainConfig
from fcn.config.yaml_file import load_config
from fcn.errors import RunStoppedError, UserError
from fcn.model.fcn import build_fcn
from fcn.runs.checkpoint import STATE, Checkpoints, RunState, restore
from fcn.runs.manifest import checkpoints, find_damage, newest_whole, read_manifest
from fcn.runs.paths import RunFolder
from fcn.runs.resume import CONFIG
from fcn.training.optimizer import build_optimizer

ENVIRONMENT = {"python": "3"}


def network(
    step: int = 0, score: float = -1.0, units: int = 4, averaged: bool = False, optimizer: str = "adamw"
) -> RunState:
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 64, head_units=units, stride=32), 2)
    recipe = TrainConfig(optimizer=optimizer)
    state = RunState.start(model, build_optimizer(recipe, model.trainable_variables), averaged)
    state.step.assign(step)
    state.best_score.assign(score)
    return state


@pytest.fixture(scope="module")
def state() -> Iterator[Callable[..., RunState]]:
    """Two networks of one kind, whose steps and scores are set anew: building one takes half a second."""
    made = network(), network()

    def at(step: int, score: float = 0.5, other: bool = False) -> RunState:
        one = made[other]
        one.step.assign(step)
        one.best_score.assign(score)
        return one

    return at


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writing beyond it is an error, as on a full disk."""
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path)
    made.checkpoints.mkdir()
    return made


def test_newest_ones_are_kept_and_every_number_comes_back(state: Callable[..., RunState], folder: RunFolder) -> None:
    config = Config(train=TrainConfig(keep_checkpoints=2))
    saved = Checkpoints(folder, config, ENVIRONMENT)
    (folder.checkpoints / ".part-step-0000000001").mkdir()  # what a killed save leaves
    for step in (2, 9, 10):
        saved.save(state(step, step / 100))
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step-0000000009", "step-0000000010"]
    path = newest_whole(folder.checkpoints)
    assert load_config(path / CONFIG) == config
    assert (read_manifest(path)["step"], read_manifest(path)["environment"]) == (10, ENVIRONMENT)
    first, second = state(10, 0.1), state(0, -1.0, other=True)
    restore(second, path)
    assert (int(second.step), float(second.best_score)) == (10, 0.1)
    pairs = [*zip(first.model.weights, second.model.weights, strict=True)]
    pairs += zip(first.optimizer.variables, second.optimizer.variables, strict=True)
    assert len(pairs) > 100
    for one, other in pairs:
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_states_before_and_after_an_evaluation_are_two_checkpoints(
    state: Callable[..., RunState], folder: RunFolder
) -> None:
    saved = Checkpoints(folder, Config(), ENVIRONMENT)
    saved.save(state(3))
    done = state(3)
    done.evaluated.assign(3)
    saved.save(done)
    assert [path.name for path in checkpoints(folder.checkpoints)] == ["step-0000000003", "step-0000000003-evaluated"]
    restored = state(0, other=True)
    restore(restored, newest_whole(folder.checkpoints))
    assert int(restored.evaluated) == 3
    done.evaluated.assign(0)


def test_whole_checkpoint_of_a_state_stays_and_a_damaged_one_is_replaced(
    state: Callable[..., RunState], folder: RunFolder
) -> None:
    saved, path = Checkpoints(folder, Config(), ENVIRONMENT), folder.checkpoints / "step-0000000003"
    saved.save(state(3))
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    saved.save(state(3))
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    (path / CONFIG).write_text("x")
    saved.save(state(3))
    assert find_damage(path) is None


@pytest.mark.parametrize("size", [0, 1000, 900_000])  # at the first byte, in the numbers, in the rows after them
def test_full_disk_keeps_the_earlier_checkpoint_and_leaves_no_torn_one(
    size: int, state: Callable[..., RunState], folder: RunFolder
) -> None:
    saved = Checkpoints(folder, Config(train=TrainConfig(keep_checkpoints=1)), ENVIRONMENT)
    folder.metrics_file.write_text("#" * 10**6)
    saved.save(state(1))
    earlier = folder.checkpoints / "step-0000000001"
    assert sum(file.stat().st_size for file in earlier.glob("state*")) < 900_000
    with file_size_limit(size), pytest.raises(RunStoppedError, match="File too large; mend that and resume"):
        saved.save(state(2))
    assert list(folder.checkpoints.iterdir()) == [earlier]
    assert find_damage(earlier) is None


def test_what_blocks_a_save_stops_the_run_with_its_reason(state: Callable[..., RunState], folder: RunFolder) -> None:
    (folder.checkpoints / ".part-x").touch()
    with pytest.raises(RunStoppedError, match="step-0000000001: cannot be written: Not a directory; mend that"):
        Checkpoints(folder, Config(), ENVIRONMENT).save(state(1))


@pytest.mark.parametrize("other", [{"units": 5}, {"averaged": True}, {"optimizer": "sgd"}])
def test_state_of_another_network_is_refused_in_one_line(
    other: dict[str, Any], state: Callable[..., RunState], folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    one, another = state(0), network(**other)
    for saved, continued in ((one, another), (another, one)):
        Checkpoints(folder, Config(), ENVIRONMENT).save(saved)
        with pytest.raises(UserError, match="holds the state of another network, optimizer or average than the config"):
            restore(continued, newest_whole(folder.checkpoints))
        shutil.rmtree(newest_whole(folder.checkpoints))
    gc.collect()  # where TensorFlow would tell of it
    assert not caplog.records


def test_state_of_another_version_is_refused_in_one_line(state: Callable[..., RunState], folder: RunFolder) -> None:
    Checkpoints(folder, Config(), ENVIRONMENT).save(state(0))
    path = newest_whole(folder.checkpoints)
    for file in path.glob(f"{STATE}.*"):
        file.rename(file.with_name(file.name.replace(STATE, f"{STATE}-1")))
    with pytest.raises(UserError, match="is of another version of fcn; continue with that, or start a new run"):
        restore(state(0), path)
