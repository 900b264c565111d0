"""A checkpoint is saved whole or not at all, and gives back every number."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fcn.config import ModelConfig, TrainConfig
from fcn.errors import RunStoppedError, UserError
from fcn.model.fcn import build_fcn
from fcn.training.checkpoint import CONFIG, Checkpoints, RunState, restore
from fcn.training.manifest import checkpoints, find_damage, newest_whole, read_manifest
from fcn.training.optimizer import build_optimizer

ENVIRONMENT = {"python": "3"}


def network(step: int = 0, score: float = -1.0, units: int = 4) -> RunState:
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 64, head_units=units, stride=32), 2)
    state = RunState.start(model, build_optimizer(TrainConfig(), model.trainable_variables))
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


def test_newest_ones_are_kept_and_every_number_comes_back(state: Callable[..., RunState], tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path, 2, "train: {}", ENVIRONMENT)
    (tmp_path / "part-step-00000001").mkdir()  # what a killed save leaves
    for step in (2, 9, 10):
        saved.save(state(step, step / 100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000009", "step-00000010"]
    path = newest_whole(tmp_path)
    assert (path / CONFIG).read_text() == "train: {}"
    assert (read_manifest(path)["step"], read_manifest(path)["environment"]) == (10, ENVIRONMENT)
    first, second = state(10, 0.1), state(0, -1.0, other=True)
    restore(second, path)
    assert (int(second.step), float(second.best_score)) == (10, 0.1)
    pairs = [*zip(first.model.weights, second.model.weights, strict=True)]
    pairs += zip(first.optimizer.variables, second.optimizer.variables, strict=True)
    assert len(pairs) > 100
    for one, other in pairs:
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_whole_checkpoint_of_the_step_stays_and_a_damaged_one_is_replaced(
    state: Callable[..., RunState], tmp_path: Path
) -> None:
    saved = Checkpoints(tmp_path, 1, "", ENVIRONMENT)
    saved.save(state(3))
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "step-00000003").iterdir()}
    saved.save(state(3))
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "step-00000003").iterdir()} == before
    (tmp_path / "step-00000003" / CONFIG).write_text("x")
    saved.save(state(3))
    assert find_damage(tmp_path / "step-00000003") is None


@pytest.mark.parametrize("size", [0, 1000, 900_000])  # at the first byte, in the numbers, in the config after them
def test_full_disk_keeps_the_earlier_checkpoint_and_leaves_no_torn_one(
    size: int, state: Callable[..., RunState], tmp_path: Path
) -> None:
    saved = Checkpoints(tmp_path, 1, "#" * 10**6, ENVIRONMENT)
    saved.save(state(1))
    assert sum(file.stat().st_size for file in (tmp_path / "step-00000001").glob("state*")) < 900_000
    with file_size_limit(size), pytest.raises(RunStoppedError, match=r"File too large.*; free some space and resume"):
        saved.save(state(2))
    assert checkpoints(tmp_path) == [tmp_path / "step-00000001"] == list(tmp_path.iterdir())
    assert find_damage(tmp_path / "step-00000001") is None


def test_state_of_another_network_is_refused(state: Callable[..., RunState], tmp_path: Path) -> None:
    Checkpoints(tmp_path, 1, "", ENVIRONMENT).save(network(units=5))
    with pytest.raises(UserError, match="holds another network than the config's; start a new run"):
        restore(state(0), newest_whole(tmp_path))
