"""A run is a function of (config, data, step), however often it breaks off."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fcn.config.settings import AugmentConfig, Config, DataConfig, ModelConfig, ProgressiveConfig, TrainConfig
from fcn.datasets import open_for_training
from fcn.datasets.class_weights import class_weights
from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import RunInterruptedError, RunStoppedError
from fcn.evaluation.evaluate import evaluate
from fcn.images import read_image
from fcn.inference.predictor import Predictor
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights
from fcn.runs.checkpoint import STATE, find_checkpoint, list_checkpoints
from fcn.runs.paths import RunPaths
from fcn.runs.trained import read_best
from fcn.training import loop
from fcn.training import validation as module
from fcn.training.batch_norm import recompute_batch_norm_statistics
from fcn.training.pipeline import plan_phases
from fcn.training.setup import configure_tensorflow

# what is compiled differs in the last bits only, and takes seconds: that it, too, goes on to the same end is drilled
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")


@pytest.fixture(scope="module", autouse=True)
def uncompiled() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


MODEL = ModelConfig(encoder="vgg11", width=1 / 16, head_units=16, dropout=0.5)
TINY = {
    "steps": 6,
    "batch_size": 2,
    "log_steps": 1,
    "evaluate_steps": 3,
    "checkpoint_steps": 2,
    "precision": "bfloat16",
    "ema_decay": 0.9,
    "statistics_frames": 3,
}


def tiny(**recipe: Any) -> Config:
    return Config(
        data=DataConfig(synthetic_frames=(5, 2, 1), synthetic_size=(32, 64)),
        augment=AugmentConfig(crop_size=(32, 48)),
        progressive=ProgressiveConfig(share=0.5, batch_size=1, crop_size=(32, 32)),
        model=MODEL,
        train=TrainConfig(**{**TINY, **recipe}),
    )


def train(config: Config, run: RunPaths) -> None:
    """As `fcn train --resume` does it."""
    run.directory.mkdir(exist_ok=True)
    checkpoint = find_checkpoint(run, config) if run.config.is_file() else None
    training, validation, fingerprint = open_for_training(config.data)
    weights = class_weights(config.train, training)
    loop.train(config, run, training, validation, weights, fingerprint, checkpoint=checkpoint)


def weights_and_rows(folder: RunPaths) -> tuple[list[np.ndarray], list[dict[str, Any]], dict[str, Any]]:
    """Every tensor of the last checkpoint, the rows and the best record without what depends on the clock."""
    reader = tf.train.load_checkpoint(str(list_checkpoints(folder.checkpoints)[-1] / STATE))
    names = sorted(name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    clocked = ("_seconds", "_per_second")
    timeless = [{key: row[key] for key in row if not key.endswith(clocked)} for row in rows]
    return [reader.get_tensor(name) for name in names], timeless, read_best(folder)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    folder = RunPaths.of(tmp_path_factory.mktemp("straight") / "run")
    train(tiny(), folder)
    return folder


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The run breaks off, as if killed, when it reports a step in the list."""
    at: list[int] = []
    original = loop.report

    def report(log: Any, progress: Any, **row: Any) -> None:
        original(log, progress, **row)
        if row["step"] in at:
            at.remove(row["step"])
            raise SystemError("killed")

    monkeypatch.setattr(loop, "report", report)
    yield at
    assert not at, "the run was not killed"


def assert_same_run(folder: RunPaths, straight: RunPaths) -> None:
    (tensors, rows, best), (expected, expected_rows, expected_best) = map(weights_and_rows, (folder, straight))
    assert rows == expected_rows
    assert best == expected_best
    assert len(tensors) == len(expected) > 100
    for tensor, other in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(tensor, other)


def test_resumed_run_equals_uninterrupted_run(
    straight: RunPaths, killed_at: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunPaths.of(tmp_path / "run")
    for stop in (3, 5):  # after an evaluation; between checkpoints
        killed_at.append(stop)
        with pytest.raises(SystemError):
            train(tiny(), folder)
    newest = list_checkpoints(folder.checkpoints)[-1]
    data = next(newest.glob("*.data*"))
    flipped = bytearray(data.read_bytes())
    flipped[len(flipped) // 3] ^= 4
    data.write_bytes(flipped)
    train(tiny(), folder)
    assert f"{newest}: {data.name} is not what was saved; set aside as bad-step-0000000004" in capsys.readouterr().err
    assert_same_run(folder, straight)


def test_signals_save_the_run_which_then_goes_on_to_the_same_end(
    straight: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunPaths.of(tmp_path / "run")
    report, labels = loop.report, Predictor.labels

    def terminated(log: Any, progress: Any, **row: Any) -> None:
        report(log, progress, **row)
        os.kill(os.getpid(), signal.SIGTERM)

    def interrupted_in_the_last(self: Predictor, image: np.ndarray) -> np.ndarray:
        if json.loads(folder.metrics.read_text().splitlines()[-1])["step"] == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return labels(self, image)

    monkeypatch.setattr(loop, "report", terminated)
    with pytest.raises(RunInterruptedError) as caught:  # after a step
        train(tiny(), folder)
    assert caught.value.number == signal.SIGTERM
    assert list_checkpoints(folder.checkpoints)[-1].name == "step-0000000001"
    monkeypatch.setattr(loop, "report", report)
    monkeypatch.setattr(Predictor, "labels", interrupted_in_the_last)
    with pytest.raises(RunInterruptedError) as caught:  # between two frames of the last evaluation
        train(tiny(), folder)
    assert caught.value.number == signal.SIGINT
    assert list_checkpoints(folder.checkpoints)[-1].name == "step-0000000006"
    assert json.loads(folder.best_record.read_text())["step"] == 3
    monkeypatch.setattr(Predictor, "labels", labels)
    train(tiny(), folder)
    assert list_checkpoints(folder.checkpoints)[-1].name == "step-0000000006-evaluated"
    assert_same_run(folder, straight)


def test_resuming_a_finished_run_changes_nothing(straight: RunPaths) -> None:
    before = weights_and_rows(straight)[1]
    train(tiny(), straight)
    assert weights_and_rows(straight)[1] == before


def test_initial_weights_are_a_function_of_the_seed() -> None:
    def initial(seed: int) -> np.ndarray:
        configure_tensorflow(TrainConfig(seed=seed))
        return build_fcn(MODEL, 2).get_layer("block1_conv1").get_weights()[0]

    np.testing.assert_array_equal(initial(0), initial(0))
    assert (initial(0) != initial(1)).all()


def test_last_step_is_evaluated_and_saved_whatever_the_intervals(tmp_path: Path) -> None:
    folder = RunPaths.of(tmp_path / "run")
    train(tiny(steps=2, log_steps=50, evaluate_steps=50, checkpoint_steps=50), folder)
    rows = weights_and_rows(folder)[1]
    assert [(row["step"], "loss" in row) for row in rows] == [(2, True), (2, False)]
    saved = list_checkpoints(folder.checkpoints)
    assert [path.name for path in saved] == ["step-0000000000", "step-0000000002-evaluated"]
    # the average is scored and kept, with statistics recomputed over training frames
    reader = tf.train.load_checkpoint(str(saved[-1] / STATE))
    training, validation, _ = open_for_training(tiny().data)
    model = build_fcn(replace(MODEL, dropout=0.0), 2)
    model.set_weights(
        [reader.get_tensor(f"averages/{i}/.ATTRIBUTES/VARIABLE_VALUE") for i in range(len(model.weights))]
    )
    recompute_batch_norm_statistics(model, training, TINY["statistics_frames"], lambda: None)
    expected = model.get_weights()
    load_weights(model, folder.best_weights)
    for kept, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(kept, value)
    assert evaluate(validation, Predictor(model, BACKGROUND_AND_ROAD).labels)["miou"] == rows[1]["miou"]
    assert read_best(folder)["frame_height"] == 32


def test_evaluating_leaves_training_unchanged_to_the_bit(straight: RunPaths, tmp_path: Path) -> None:
    folder = RunPaths.of(tmp_path / "run")
    train(tiny(evaluate_steps=1), folder)
    ends = [tf.train.load_checkpoint(str(list_checkpoints(one.checkpoints)[-1] / STATE)) for one in (folder, straight)]
    names = [
        name for name in ends[0].get_variable_to_shape_map() if name.startswith(("model", "optimizer", "averages"))
    ]
    assert len(names) > 100
    for name in names:
        np.testing.assert_array_equal(*(end.get_tensor(name) for end in ends))


def test_recipe_reaches_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(loop, "compile_train_step", lambda state, **rest: seen.update(model=state.model, step=rest))
    monkeypatch.setattr(loop, "training_batches", lambda *frames, **rest: seen.update(batches=(*frames, rest)) or ())
    config, folder = tiny(seed=7, clip_norm=3.0), RunPaths.of(tmp_path)
    training, validation, fingerprint = open_for_training(config.data)
    loop.train(config, folder, training, validation, (1.0, 2.0), fingerprint)
    assert seen["model"].get_layer("block3_conv1").compute_dtype == "bfloat16"
    assert seen["step"] == {"clip_norm": 3.0, "seed": 7, "class_weights": (1.0, 2.0), "ema_decay": 0.9}
    phases = plan_phases(config.progressive, config.augment, 2, 6)
    assert seen["batches"][1:] == (5, phases, {"seed": 7, "start": 0})


def test_another_environment_is_named_and_the_run_continues(
    straight: RunPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunPaths.of(shutil.copytree(straight.directory, tmp_path / "run"))
    before = folder.environment.read_text()
    monkeypatch.setenv("TF_VAR_db_password", "secret")  # Terraform's prefix; TensorFlow does not read it
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    train(tiny(log_steps=3), folder)
    assert capsys.readouterr().err == ""
    assert folder.load_config().train.log_steps == 3
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    train(tiny(), folder)
    assert "continued with another switches; results may differ in the last bits" in capsys.readouterr().err
    assert folder.environment.read_text() == before
    assert not any(b"secret" in file.read_bytes() for file in folder.directory.rglob("*.json*"))


def test_non_finite_loss_stops_the_run_with_step_rate_and_frames(tmp_path: Path) -> None:
    folder = RunPaths.of(tmp_path / "run")
    with pytest.raises(RunStoppedError) as caught:
        train(tiny(learning_rate=4e9, weight_decay=4e9, checkpoint_steps=1), folder)
    assert "is not finite at rate" in str(caught.value)
    assert "train_00000" in str(caught.value)
    step = int(str(caught.value).split(":")[0].removeprefix("step "))
    last = list_checkpoints(folder.checkpoints)[-1]
    assert last.name == f"step-{step - 1:010d}"
    reader = tf.train.load_checkpoint(str(last / STATE))
    names = [name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    assert len(names) > 100
    assert all(np.isfinite(reader.get_tensor(name)).all() for name in names)
    picture = folder.pictures / f"not_finite_step_{step}.png"
    assert str(picture) in str(caught.value)
    assert 32 < read_image(picture).shape[0] < 128  # with captions; a frame a step in the early phase


def test_best_weights_are_those_of_the_best_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([None, 0.2, 0.7, 0.5])  # None: the split has no valid pixel
    monkeypatch.setattr(module, "evaluate", lambda *_: {"split": "val", "miou": next(given), "iou": {"road": None}})
    kept: list[int] = []
    monkeypatch.setattr(module, "save_weights", lambda _, path: path.touch() or kept.append(1))
    folder = RunPaths.of(tmp_path / "run")
    often = {"checkpoint_steps": 50, "checkpoint_minutes": 1e-9, "keep_checkpoints": 9}
    train(tiny(steps=4, evaluate_steps=1, ema_decay=0.0, **often), folder)
    assert [path.name[-11:] for path in list_checkpoints(folder.checkpoints)] == [
        "-0000000000",
        *(f"{step}-evaluated" for step in (1, 2, 3, 4)),  # each older than a moment
    ]
    assert len(kept) == 3
    assert (read_best(folder)["step"], read_best(folder)["miou"]) == (3, 0.7)
