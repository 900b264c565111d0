"""A continued run is the run that was started, or says what is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fcn.config.settings import Config, ModelConfig, TrainConfig
from fcn.errors import RunStoppedError, UserError
from fcn.model.fcn import build_fcn
from fcn.runs.checkpoint import RunState
from fcn.runs.manifest import checkpoints
from fcn.runs.paths import RunFolder, write_record
from fcn.training import start
from fcn.training.optimizer import build_optimizer
from fcn.training.start import start_or_continue, with_precision

CONFIG = Config(model=ModelConfig(encoder="vgg11", width=1 / 64, head_units=4, stride=32), train=TrainConfig(steps=9))


@pytest.fixture(scope="module")
def state() -> RunState:
    model = build_fcn(CONFIG.model, 2)
    return RunState.start(model, build_optimizer(CONFIG.train, model.trainable_variables))


@pytest.fixture
def folder(state: RunState, tmp_path: Path) -> RunFolder:
    """Of a run that was broken off after 3 steps: saved at step 2, evaluated at step 1."""
    made = RunFolder(tmp_path / "run")
    made.create(CONFIG)
    set_state(state, 0, 0)
    save = start_or_continue(state, CONFIG, made, "abc", ())
    for row in ({"step": 1, "loss": 0.5}, {"step": 1, "miou": 0.5}, {"step": 2, "loss": 0.4}):
        made.append_row(row)
    made.best_weights.write_bytes(b"of step 1")
    write_record(made.best_file, made.best_weights, {"step": 1})
    set_state(state, 2, 1)
    save()
    made.append_row({"step": 2, "miou": 0.6})
    made.best_weights.write_bytes(b"of step 2")  # and killed before it was recorded
    set_state(state, 0, 0)
    return made


def set_state(state: RunState, step: int, evaluated: int) -> None:
    state.step.assign(step)
    state.evaluated.assign(evaluated)


def changed(**recipe: Any) -> Config:
    return replace(CONFIG, train=replace(CONFIG.train, **recipe))


def test_state_rows_and_best_weights_are_those_of_the_checkpoint(
    state: RunState, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.environment_file.write_text("{")  # told to people, read by nobody
    start_or_continue(state, CONFIG, folder, "abc", ())
    assert (int(state.step), int(state.evaluated)) == (2, 1)
    rows = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    assert [(row["step"], "miou" in row) for row in rows] == [(1, False), (1, True), (2, False)]
    assert folder.best()["step"] == 1
    assert capsys.readouterr().err == ""


def test_run_that_was_killed_before_its_first_checkpoint_starts_anew(state: RunState, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(CONFIG)
    folder.environment_file.write_text("{")
    set_state(state, 0, 0)
    start_or_continue(state, CONFIG, folder, "abc", ())
    assert [path.name for path in checkpoints(folder.checkpoints)] == ["step-0000000000"]
    assert json.loads(folder.environment_file.read_text())["data_fingerprint"] == "abc"


def test_run_whose_checkpoints_are_gone_never_starts_anew(state: RunState, folder: RunFolder) -> None:
    shutil.rmtree(folder.checkpoints)
    with pytest.raises(RunStoppedError, match="checkpoints: its checkpoints are gone; start a new run"):
        start_or_continue(state, CONFIG, folder, "abc", ())
    assert folder.metrics_file.read_text().count("\n") == 4


def test_config_edited_by_hand_is_refused_with_its_keys(state: RunState, folder: RunFolder) -> None:
    edited = changed(learning_rate=0.5, log_steps=3)
    checkpoint = checkpoints(folder.checkpoints)[-1]
    with pytest.raises(UserError) as caught:
        start_or_continue(state, edited, folder, "abc", ())
    assert str(caught.value).startswith(f"{checkpoint}: was made with another train.learning_rate; change that back")
    assert int(state.step) == 0
    assert folder.config() == CONFIG
    start_or_continue(state, edited, folder, "abc", ["train.learning_rate"])
    assert int(state.step) == 2
    assert folder.config() == edited


def test_fewer_steps_than_were_done_are_refused(state: RunState, folder: RunFolder) -> None:
    with pytest.raises(UserError, match=r"train.steps: 1 is below the 2 of .*step-0000000002; raise it"):
        start_or_continue(state, changed(steps=1), folder, "abc", ["train.steps"])
    assert folder.config() == CONFIG


def test_another_environment_is_named_and_the_run_goes_on(
    state: RunState, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    start_or_continue(state, CONFIG, folder, "other frames", ())
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "continued with another data_fingerprint; its bits may not be a straight run's" in error
    assert int(state.step) == 2
    assert json.loads(folder.environment_file.read_text())["data_fingerprint"] == "abc"


@pytest.mark.parametrize(
    ("capabilities", "processor", "expected"),
    [
        ([], True, "bfloat16"),
        ([], False, "float32"),
        ([(8, 0), (9, 0)], False, "bfloat16"),
        ([(9, 0), (7, 5)], True, "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_device_that_trains_has_it(
    capabilities: list[tuple[int, int]], processor: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "processor_has_bfloat16", lambda: processor)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: capabilities)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda one: {"compute_capability": one})
    assert with_precision(changed(precision="auto")).train.precision == expected
    assert with_precision(changed(precision="float32")) == changed(precision="float32")
