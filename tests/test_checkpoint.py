"""A checkpoint is saved whole or not at all, counts only if it equals its manifest, and restores every number."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import file_size_limit, make_run

from fcn.config.fields import fields_of
from fcn.config.settings import SECTIONS, Config, DataConfig, ModelConfig, TrainConfig
from fcn.config.yaml_file import load_config
from fcn.errors import RunStoppedError, UserError
from fcn.model.fcn import build_fcn
from fcn.runs.checkpoint import (
    CONFIG,
    STATE,
    Checkpoint,
    find_checkpoint,
    find_damage,
    list_checkpoints,
    restore_checkpoint,
    save_checkpoint,
    write_manifest,
)
from fcn.runs.paths import RunPaths
from fcn.training.optimizer import build_optimizer
from fcn.training.step import TrainState

ENVIRONMENT = {"python": "3"}

State = Callable[..., TrainState]
Make = Callable[[int], Path]


def network(units: int = 4, averaged: bool = False, optimizer: str = "adamw") -> TrainState:
    model = build_fcn(ModelConfig(encoder="vgg11", width=1 / 64, head_units=units, stride=32), 2)
    built = build_optimizer(TrainConfig(optimizer=optimizer), model.trainable_variables)
    return TrainState.create(model, built, averaged=averaged)


@pytest.fixture(scope="module")
def state() -> State:
    """Sets and returns one of two networks: building one takes half a second."""
    networks = (network(), network())

    def at(step: int, evaluated: int = 0, score: float = 0.5, other: bool = False) -> TrainState:
        one = networks[other]
        one.step.assign(step)
        one.evaluated.assign(evaluated)
        one.best_score.assign(score)
        return one

    return at


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    made = make_run(tmp_path / "run")
    made.checkpoints.mkdir()
    return made


def save(run: RunPaths, state: TrainState, config: Config | None = None) -> Path:
    step = int(state.step)
    evaluated = 0 < step == int(state.evaluated)
    save_checkpoint(run, config or Config(), ENVIRONMENT, state.variables())
    return run.checkpoints / f"step-{step:010d}{'-evaluated' if evaluated else ''}"


def test_newest_ones_are_kept_and_every_number_comes_back(state: State, run: RunPaths) -> None:
    config = Config(train=TrainConfig(keep_checkpoints=3))
    (run.checkpoints / ".part-step-0000000001").mkdir()  # what a killed save leaves
    for step in (2, 9, 10):
        save(run, state(step, score=step / 100), config)
    save(run, state(10, score=0.1, evaluated=10), config)  # another state than before the evaluation
    names = ["step-0000000009", "step-0000000010", "step-0000000010-evaluated"]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == names
    found = find_checkpoint(run, config)
    assert found == Checkpoint(run.checkpoints / names[-1], step=10, environment=ENVIRONMENT, changed={})
    assert load_config(found.path / CONFIG) == config
    first, second = state(10, score=0.1), state(0, score=-1.0, other=True)
    restore_checkpoint(found, run, second.variables())
    assert (int(second.step), int(second.evaluated), float(second.best_score)) == (10, 10, 0.1)
    pairs = [*zip(first.model.weights, second.model.weights, strict=True)]
    pairs += zip(first.optimizer.variables, second.optimizer.variables, strict=True)
    assert len(pairs) > 100
    for one, other in pairs:
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_rows_and_best_weights_become_those_of_the_checkpoint(state: State, run: RunPaths) -> None:
    run.metrics.write_text("row 1\n")
    early = save(run, state(1))
    run.metrics.write_text("row 1\nrow 2\n")
    run.best_weights.write_bytes(b"weights")
    run.best_record.write_text("{}")
    late = save(run, state(2))
    for damaged in (run.metrics, run.best_weights, run.best_record):
        damaged.write_bytes(b"?")
    restore_checkpoint(Checkpoint(late, 2, ENVIRONMENT, {}), run, state(0).variables())
    assert (run.metrics.read_text(), run.best_weights.read_bytes()) == ("row 1\nrow 2\n", b"weights")
    restore_checkpoint(Checkpoint(early, 1, ENVIRONMENT, {}), run, state(0).variables())
    assert run.metrics.read_text() == "row 1\n"
    assert not run.best_record.exists()
    assert not run.best_weights.exists()


def test_valid_checkpoint_of_a_state_stays_and_a_damaged_one_is_replaced(state: State, run: RunPaths) -> None:
    path = save(run, state(3))
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    save(run, state(3))
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    (path / CONFIG).write_text("x")
    save(run, state(3))
    assert find_damage(path) is None


@pytest.mark.parametrize("size", [0, 1000, 900_000])  # at the first byte, in the numbers, in the rows after them
def test_full_disk_keeps_the_earlier_checkpoint_and_leaves_no_partial_one(
    size: int, state: State, run: RunPaths
) -> None:
    config = Config(train=TrainConfig(keep_checkpoints=1))
    run.metrics.write_text("#" * 10**6)
    earlier = save(run, state(1), config)
    assert sum(file.stat().st_size for file in earlier.glob("state*")) < 900_000
    with file_size_limit(size), pytest.raises(RunStoppedError, match="File too large; fix that and resume"):
        save(run, state(2), config)
    assert list(run.checkpoints.iterdir()) == [earlier]
    assert find_damage(earlier) is None
    (run.checkpoints / ".part-x").touch()
    with pytest.raises(RunStoppedError, match="step-0000000002: cannot be written: Not a directory; fix that"):
        save(run, state(2), config)


@pytest.mark.parametrize("other", [{"units": 5}, {"averaged": True}, {"optimizer": "sgd"}])
def test_state_of_another_network_is_refused_in_one_line(
    other: dict[str, Any], state: State, run: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    one, another = state(0), network(**other)
    for saved, continued in ((one, another), (another, one)):
        path = save(run, saved)
        with pytest.raises(UserError, match="holds the state of another network, optimizer or average than the config"):
            restore_checkpoint(find_checkpoint(run, Config()), run, continued.variables())
        shutil.rmtree(path)
    gc.collect()  # TensorFlow would warn now
    assert not caplog.records


def test_state_of_another_version_is_refused_in_one_line(state: State, run: RunPaths) -> None:
    path = save(run, state(0))
    for file in path.glob(f"{STATE}.*"):
        file.rename(file.with_name(file.name.replace(STATE, f"{STATE}-1")))
    with pytest.raises(UserError, match="was saved by another version of fcn; use that, or start a new run"):
        restore_checkpoint(Checkpoint(path, 0, ENVIRONMENT, {}), run, state(0).variables())


def test_other_config_is_refused_with_its_keys_unless_they_are_allowed(state: State, run: RunPaths) -> None:
    now = Config(train=TrainConfig(steps=8, seed=1, log_steps=3))
    with pytest.raises(UserError, match=r"config.yaml: was made with another train\.steps, train\.seed; change that"):
        find_checkpoint(run, now)
    assert find_checkpoint(run, now, ["train.seed", "train.steps"]) is None
    path = save(run, state(2))
    options = r"continue with --allow-changed train\.steps --allow-changed train\.seed$"
    changed = {"train.steps": [300, 8], "train.seed": [0, 1]}
    with pytest.raises(UserError, match=rf"{path}: was made with another train\.steps, train\.seed; .* {options}"):
        find_checkpoint(run, now)
    with pytest.raises(UserError, match=r"was made with another train\.seed; "):
        find_checkpoint(run, now, ["train.steps"])
    assert find_checkpoint(run, now, ["train.seed", "train.steps"]) == Checkpoint(path, 2, ENVIRONMENT, changed)
    with pytest.raises(UserError, match=r"train.steps: 1 is below the 2 of .*step-0000000002; raise it"):
        find_checkpoint(run, Config(train=TrainConfig(steps=1)), ["train.steps"])


def test_settings_that_no_score_depends_on_may_change(run: RunPaths) -> None:
    numbers = dict.fromkeys(("log_steps", "checkpoint_steps", "checkpoint_minutes", "keep_checkpoints", "pictures"), 7)
    train = {**numbers, "intra_op_threads": 7, "inter_op_threads": 7, "strategy": "one", "tensorboard": True}
    data = {"root": "x", "cache_megabytes": 7, "max_megapixels": 7, "images": "i", "masks": "m", "split_lists": "s"}
    config = Config(train=TrainConfig(**train), data=DataConfig(**data), model=ModelConfig(initial_weights="x"))
    assert find_checkpoint(run, config) is None
    marked = {name for section in SECTIONS.values() for name, field in fields_of(section).items() if field.may_change}
    assert marked == {*train, *data, "initial_weights"}


@pytest.fixture
def make(run: RunPaths) -> Make:
    """Saves a checkpoint without tensors."""

    def make(step: int) -> Path:
        path = run.checkpoints / f"step-{step:010d}"
        path.mkdir()
        (path / "a.data").write_bytes(b"numbers")
        (path / CONFIG).write_text("")
        write_manifest(path, {"name": path.name, "step": step, "environment": ENVIRONMENT})
        return path

    return make


def test_manifest_holds_the_record_and_the_digest_of_every_file(make: Make) -> None:
    manifest = json.loads((make(3) / "manifest.json").read_text())
    assert len(manifest.pop("sha256")) == 64
    numbers = "f3c7807d475073ba009bf4801b2d934e9f0126cb96dd19a27dbffcae23a7f5a3"  # printf numbers | sha256sum
    nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256sum /dev/null
    assert manifest == {
        "name": "step-0000000003",
        "step": 3,
        "environment": ENVIRONMENT,
        "files": {"a.data": {"bytes": 7, "sha256": numbers}, "config.yaml": {"bytes": 0, "sha256": nothing}},
    }


@pytest.mark.parametrize(
    ("name", "content", "damage"),  # content None: the file is deleted
    [
        ("a.data", "nvmbers", "a.data is not what was saved"),
        ("a.data", "numbers\0", "a.data is not what was saved"),
        ("a.data", "", "a.data is not what was saved"),
        ("a.data", None, "a.data is missing or was added"),
        ("c", "", "c is missing or was added"),
        ("manifest.json", None, "manifest.json is missing"),
        *(
            ("manifest.json", text, "manifest.json is not what was saved (")
            for text in ("[" * 100_000, "", "{]", "[]", "3", "null", "{}")
        ),
        ("manifest.json", '{"sha256": 3}', "manifest.json is not what was saved"),
    ],
)
def test_damage_is_found_and_named(name: str, content: str | None, damage: str, make: Make) -> None:
    path = make(1)
    assert find_damage(path) is None
    (path / name).write_text(content or "")
    if content is None:
        (path / name).unlink()
    assert find_damage(path).startswith(damage)


def test_edited_manifest_and_renamed_checkpoint_do_not_count(make: Make) -> None:
    renamed = make(1).rename(make(3).with_name("step-0000000002"))
    assert find_damage(renamed) == "it was saved as step-0000000001"
    manifest = renamed / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "step": 2}))
    assert find_damage(renamed) == "manifest.json is not what was saved"


def test_newest_valid_one_is_found_and_the_damaged_before_it_set_aside(
    make: Make, run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third, fourth = (make(step) for step in (9, 10, 100, 1000))
    (run.checkpoints / "bad-step-0000001000" / "state").mkdir(parents=True)  # of an earlier accident with this step
    (third / "a.data").write_text("nvmbers")
    (fourth / "manifest.json").unlink()
    fifth = make(2000)
    write_manifest(fifth, {"name": "\x1b" * 1000, "step": 1, "environment": {}})
    assert find_checkpoint(run, Config()).path == second
    assert list_checkpoints(run.checkpoints) == [first, second]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines[0]) < 1500
    assert lines[0].startswith(f"{fifth}: it was saved as \\x1b\\x1b")
    assert lines[1:] == [
        f"{fourth}: manifest.json is missing; set aside as bad-step-0000001000",
        f"{third}: a.data is not what was saved; set aside as bad-step-0000000100",
    ]
    assert find_damage(run.checkpoints / "bad-step-0000000100") is not None  # as it was, to be looked at


def test_run_without_valid_checkpoints_stops_each_time_and_never_starts_again(make: Make, run: RunPaths) -> None:
    (run.checkpoints / ".part-step-0000000005").mkdir()  # a first save that was interrupted
    run.pictures.mkdir()
    assert find_checkpoint(run, Config()) is None
    for trace in (run.environment, run.metrics, run.best_weights, run.best_record, run.pictures / "a.png"):
        trace.touch()
        with pytest.raises(RunStoppedError, match="checkpoints: the checkpoints are gone; start a new run"):
            find_checkpoint(run, Config())
        trace.unlink()
    for step in (1, 2):
        (make(step) / "a.data").write_text("")
    for _ in range(2):
        with pytest.raises(RunStoppedError, match="no checkpoint is valid; start a new run"):
            find_checkpoint(run, Config())


def test_file_that_cannot_be_read_now_is_reported_and_nothing_renamed(
    make: Make, run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(1)

    def broken(name: object, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_NONBLOCK:
            raise OSError(errno.EIO, "Input/output error")
        return opened(name, flags, *rest, **options)

    opened = os.open
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", broken)
        with pytest.raises(UserError, match=r"manifest\.json: cannot be read: Input/output error"):
            find_checkpoint(run, Config())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied", "x")))
        with pytest.raises(OSError, match="Permission denied"):
            find_checkpoint(run, Config())
    assert find_checkpoint(run, Config()).path == path
    (path / "a.data").unlink()
    os.mkfifo(path / "a.data")
    assert find_damage(path) == "a.data is not what was saved"


def test_old_checkpoint_that_cannot_be_removed_is_only_reported(
    state: State, run: RunPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(train=TrainConfig(keep_checkpoints=1))
    old = save(run, state(1), config)
    rmtree = shutil.rmtree

    def remove(path: Path, **options: Any) -> None:
        if path == old:
            raise OSError(errno.EACCES, "Permission denied")
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", remove)
    new = save(run, state(2), config)
    assert list_checkpoints(run.checkpoints) == [old, new]
    assert capsys.readouterr().err.startswith(f"{old}: cannot be removed: Permission denied; remove it yourself")


def test_names_sort_by_age_and_others_do_not_count(tmp_path: Path) -> None:
    names = [f"step-{step}" for step in ("0000000001", "0000000009-evaluated", "0000000010", "0000000010-evaluated")]
    others = ["step-0000000010.bak", "step-10", "step-0000000010-evaluated2", ".part-step-0000000011"]
    for name in [*reversed(names), *others]:
        (tmp_path / name).mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == names
