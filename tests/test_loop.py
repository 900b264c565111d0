"""A run is a function of (config, data, step), however often it is interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcn.config.settings import (
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    ProgressiveConfig,
    TrainConfig,
    resolve_target,
)
from fcn.config.yaml_file import dump_config
from fcn.datasets import open_for_training
from fcn.datasets.class_weights import class_weights
from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import RunInterruptedError, RunStoppedError
from fcn.evaluation.evaluate import evaluate
from fcn.inference.keras_network import KerasNetwork
from fcn.inference.predictor import Predictor
from fcn.model.fcn import build_fcn
from fcn.model.weights import load_weights, save_weights
from fcn.runs.checkpoint import STATE, find_checkpoint, list_checkpoints
from fcn.runs.paths import RunPaths
from fcn.runs.trained import TrainedModel, find_initial_weights
from fcn.runs.workers import ALONE
from fcn.training import loop
from fcn.training import validation as module
from fcn.training.batch_norm import recompute_batch_norm_statistics
from fcn.training.pipeline import plan_phases
from fcn.training.setup import configure_tensorflow
from fcn.training.validation import Validation

pytestmark = [
    pytest.mark.usefixtures("uncompiled"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`"),
]


MODEL = ModelConfig(encoder="vgg11", width=1 / 16, head_units=16, dropout=0.5)
TINY = TrainConfig(
    steps=6,
    batch_size=2,
    log_steps=1,
    evaluate_steps=3,
    checkpoint_steps=2,
    precision="bfloat16",
    ema_decay=0.9,
    statistics_frames=3,
)


def tiny(**recipe: Any) -> Config:
    return Config(
        data=DataConfig(synthetic_frames=(5, 2, 1), synthetic_size=(32, 64)),
        augment=AugmentConfig(crop_size=(32, 48)),
        progressive=ProgressiveConfig(share=0.5, batch_size=1, crop_size=(32, 32)),
        model=MODEL,
        train=replace(TINY, **recipe),
    )


def train(config: Config, run: RunPaths, *allowed: str, require_lock: Callable[[], None] = lambda: None) -> None:
    """As `fcn train --resume --allow-changed ...` does it."""
    run.directory.mkdir(exist_ok=True)
    checkpoint = find_checkpoint(run, config, allowed) if run.config.is_file() else None
    training, validation, statistics = open_for_training(config.data)
    weights = class_weights(config.train, statistics.splits[0])
    loop.train(
        config,
        run,
        training,
        validation,
        class_weights=weights,
        statistics=statistics,
        require_lock=require_lock,
        checkpoint=checkpoint,
        initial=None if checkpoint else find_initial_weights(config.model),
    )


def newest(run: RunPaths) -> Path:
    return list_checkpoints(run.checkpoints)[-1]


def tensors_of(run: RunPaths) -> dict[str, np.ndarray]:
    """Every tensor of the last checkpoint."""
    reader = tf.train.load_checkpoint(str(newest(run) / STATE))
    names = reader.get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert len(names) > 100
    return {name: reader.get_tensor(name) for name in names}


def rows_of(run: RunPaths) -> list[dict[str, Any]]:
    """The rows without what depends on the clock."""
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{key: row[key] for key in row if not key.endswith(("_seconds", "_per_second"))} for row in rows]


def assert_same_tensors(run: RunPaths, expected: RunPaths, prefixes: tuple[str, ...] = ("",)) -> None:
    tensors, others = tensors_of(run), tensors_of(expected)
    assert tensors.keys() == others.keys()
    names = [name for name in tensors if name.startswith(prefixes)]
    assert len(names) > 100
    for name in names:
        np.testing.assert_array_equal(tensors[name], others[name])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, uncompiled: None) -> RunPaths:  # noqa: ARG001
    run = RunPaths(tmp_path_factory.mktemp("uninterrupted") / "run")
    train(tiny(), run)
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "run")


@pytest.fixture
def train_until(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BaseException]:
    """Trains, calls `stop` when the row of a step is written, and returns the error that ends the run."""
    report = loop.report

    def train_until(step: int, stop: Callable[[], object]) -> BaseException:
        def report_and_stop(log: Any, progress: Any, **row: Any) -> None:
            report(log, progress, **row)
            if row["step"] == step:
                stop()

        monkeypatch.setattr(loop, "report", report_and_stop)
        with pytest.raises((RunInterruptedError, SystemError)) as caught:
            train(tiny(), run)
        monkeypatch.setattr(loop, "report", report)
        return caught.value

    return train_until


def test_resumed_run_equals_uninterrupted_run(
    uninterrupted: RunPaths,
    run: RunPaths,
    train_until: Callable[..., BaseException],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a signal after a step saves the run
    error = train_until(1, stop=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert error.number == signal.SIGTERM
    assert newest(run).name == "step-0000000001"

    # killed between checkpoints, with damage to the last one, which leaves one from before the first evaluation
    def kill() -> None:
        raise SystemError("killed")

    train_until(5, stop=kill)
    damaged = newest(run)
    data = next(damaged.glob("*.data*"))
    flipped = bytearray(data.read_bytes())
    flipped[len(flipped) // 3] ^= 4
    data.write_bytes(flipped)

    # a signal between two frames of the last evaluation
    labels = Predictor.labels

    def interrupted_labels(self: Predictor, image: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGINT)
        return labels(self, image)

    error = train_until(6, stop=lambda: monkeypatch.setattr(Predictor, "labels", interrupted_labels))
    assert error.number == signal.SIGINT
    assert newest(run).name == "step-0000000006"
    assert TrainedModel.of_run(run.directory).record["step"] == 3
    message = f"{damaged}: {data.name} is not what was saved; set aside as bad-step-0000000004"
    assert message in capsys.readouterr().err

    # to the end
    monkeypatch.setattr(Predictor, "labels", labels)
    train(tiny(), run)
    assert newest(run).name == "step-0000000006-evaluated"
    assert rows_of(run) == rows_of(uninterrupted)
    assert TrainedModel.of_run(run.directory).record == TrainedModel.of_run(uninterrupted.directory).record
    assert_same_tensors(run, uninterrupted)


def test_other_environment_is_named_and_a_finished_run_stays_the_same(
    uninterrupted: RunPaths, run: RunPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(uninterrupted.directory, run.directory)
    before = run.environment.read_text()
    monkeypatch.setenv("TF_VAR_db_password", "secret")  # Terraform's prefix; TensorFlow does not read it
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    train(tiny(log_steps=3), run)
    assert capsys.readouterr().err == ""
    assert run.load_config().train.log_steps == 3
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    train(tiny(), run)
    lines = capsys.readouterr().err
    assert "-evaluated: continued with switches {'ONEDNN_MAX_CPU_ISA': 'AVX2'} instead of {}\n" in lines
    assert "-evaluated: results may differ in the last bits\n" in lines
    assert run.environment.read_text() == before
    assert not any(b"secret" in file.read_bytes() for file in run.directory.rglob("*.json*"))
    change = {"step": 6, "changed": {"switches": [{}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}]}}
    assert rows_of(run) == [*rows_of(uninterrupted), change]
    assert_same_tensors(run, uninterrupted)


def test_changed_setting_is_reported_and_recorded_with_the_weights(
    uninterrupted: RunPaths, run: RunPaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(uninterrupted.directory, run.directory)
    better = {"split": "val", "miou": 1.0, "iou": {"road": None}}
    monkeypatch.setattr(Validation, "evaluate_weights", lambda *_: better)
    train(tiny(steps=7, clip_norm=3.0), run, "train.steps", "train.clip_norm")
    lines = capsys.readouterr().err
    assert "step-0000000006-evaluated: continued with train.steps 7 instead of 6\n" in lines
    assert "step-0000000006-evaluated: continued with train.clip_norm 3.0 instead of 5.0\n" in lines
    change = {"step": 6, "changed": {"train.steps": [6, 7], "train.clip_norm": [5.0, 3.0]}}
    assert rows_of(run)[len(rows_of(uninterrupted))] == change
    trained = TrainedModel.of_run(run.directory)
    assert (trained.record["step"], trained.record["changes"]) == (7, [change])
    assert trained.changes()[0] == "step 6: continued with train.steps 7 instead of 6"


def test_initial_weights_are_a_function_of_the_seed() -> None:
    def initial(seed: int) -> np.ndarray:
        configure_tensorflow(TrainConfig(seed=seed))
        return build_fcn(MODEL, 2).get_layer("block1_conv1").get_weights()[0]

    np.testing.assert_array_equal(initial(0), initial(0))
    assert (initial(0) != initial(1)).all()


def test_intervals_change_no_weight_and_the_last_step_is_always_evaluated_and_saved(
    uninterrupted: RunPaths, run: RunPaths
) -> None:
    train(tiny(log_steps=50, evaluate_steps=50, checkpoint_steps=50), run)
    rows = rows_of(run)
    assert [(row["step"], "loss" in row) for row in rows] == [(6, True), (6, False)]
    names = [path.name for path in list_checkpoints(run.checkpoints)]
    assert names == ["step-0000000000", "step-0000000006-evaluated"]
    assert_same_tensors(run, uninterrupted, prefixes=("model", "optimizer", "averages"))

    # the average is scored and kept, with statistics recomputed over training frames
    tensors = tensors_of(run)
    training, validation, _ = open_for_training(tiny().data)
    model = build_fcn(replace(MODEL, dropout=0.0), 2)
    model.set_weights([tensors[f"averages/{i}/.ATTRIBUTES/VARIABLE_VALUE"] for i in range(len(model.weights))])
    recompute_batch_norm_statistics(model, training, TINY.statistics_frames, lambda: None)
    expected = model.get_weights()
    load_weights(model, run.best_weights)
    for kept, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(kept, value)
    assert evaluate(validation, Predictor(KerasNetwork(model), BACKGROUND_AND_ROAD).labels)["miou"] == rows[1]["miou"]
    assert TrainedModel.of_run(run.directory).record["frame_height"] == 32


def test_recipe_reaches_what_it_is_for(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(loop, "compile_train_step", lambda state, **rest: seen.update(model=state.model, step=rest))
    monkeypatch.setattr(loop, "training_batches", lambda *frames, **rest: seen.update(batches=(*frames, rest)) or ())
    named = {"class_weights": "median_frequency", "loss": "sum", "freeze": "block2"}
    config = tiny(seed=7, clip_norm=3.0, accumulate_steps=2, **named)
    config = replace(config, progressive=replace(config.progressive, batch_size=2))
    train(config, run)
    assert [layer.trainable for layer in seen["model"].layers if layer.name.endswith("_conv1")] == [False] * 2 + [
        True
    ] * 3
    assert seen["model"].get_layer("block3_conv1").compute_dtype == "bfloat16"
    assert seen["step"].pop("class_weights") == pytest.approx((0.769, 1.429), abs=1e-3)
    assert seen["step"].pop("strategy").num_replicas_in_sync == 1
    assert seen["step"] == {
        "clip_norm": 3.0,
        "seed": 7,
        "ema_decay": 0.9,
        "loss_is_sum": True,
        "accumulate_steps": 2,
        "xla": False,
    }
    phases = plan_phases(config.progressive, config.augment, 2, 6)
    assert seen["batches"][1:] == (5, phases, {"seed": 7, "start": 0, "center_only": False, "worker": ALONE})


@pytest.mark.slow
def test_window_classifier_starts_from_weights_and_is_kept_as_the_network_it_is_converted_to(
    run: RunPaths, tmp_path: Path
) -> None:
    plain = tiny(target="window_center", steps=2, evaluate_steps=2, ema_decay=0.999, statistics_frames=0)
    config = resolve_target(replace(plain, model=replace(MODEL, head_window=1)))
    assert (config.augment.crop_size, config.progressive.share, config.model.stride) == ((32, 32), 0.0, 32)
    first = build_fcn(config.model, 2)
    save_weights(first, tmp_path / "first.weights.h5")
    (tmp_path / "first.yaml").write_text(dump_config(config))
    named = replace(config, model=replace(config.model, initial_weights=str(tmp_path / "first.weights.h5")))
    train(named, run)
    tensors = tensors_of(run)
    network = build_fcn(config.model, 2)
    load_weights(network, run.best_weights)
    for index, weight in enumerate(network.weights[:-1]):  # the last is the upsampling, which a classifier has not
        average = tensors[f"averages/{index}/.ATTRIBUTES/VARIABLE_VALUE"]
        np.testing.assert_array_equal(weight, average.reshape(weight.shape))
    kernel = network.get_layer("block1_conv1").kernel.numpy()
    moved = np.abs(kernel - first.get_layer("block1_conv1").kernel.numpy()).max()
    assert 0 < moved < 0.01


def test_non_finite_loss_stops_the_run_with_step_rate_and_frames(run: RunPaths) -> None:
    with pytest.raises(RunStoppedError) as caught:
        train(tiny(learning_rate=4e9, weight_decay=4e9, checkpoint_steps=1), run)
    message = str(caught.value)
    assert "is not finite at rate" in message
    assert "train_00000" in message
    step = int(message.split(":")[0].removeprefix("step "))
    assert newest(run).name == f"step-{step - 1:010d}"
    assert all(np.isfinite(tensor).all() for tensor in tensors_of(run).values())


def test_update_to_weights_that_are_not_finite_is_not_kept(run: RunPaths) -> None:
    with pytest.raises(RunStoppedError, match="step 1: an update made weights that are not finite, and is not saved"):
        train(tiny(steps=1, learning_rate=1e30, weight_decay=1e30, evaluate_steps=1), run)
    assert newest(run).name == "step-0000000000"
    assert not run.best_weights.exists()


@pytest.mark.slow
def test_deleted_pictures_come_back_and_a_broken_disk_saves_first(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "keep_best", Mock(side_effect=PermissionError(13, "Permission denied", "best.json")))
    with pytest.raises(PermissionError):
        train(tiny(), run)
    assert newest(run).name == "step-0000000003"
    monkeypatch.undo()
    shutil.rmtree(run.pictures, ignore_errors=True)
    train(tiny(), run)
    assert TrainedModel.of_run(run.directory).record["step"] >= 3
    assert any(run.pictures.iterdir())


def test_what_does_not_fit_into_memory_or_is_not_locked_stops_the_run(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Mock(side_effect=[None, RunStoppedError("its lock was deleted")])
    with pytest.raises(RunStoppedError, match="its lock was deleted"):
        train(tiny(), run, require_lock=gone)
    assert newest(run).name == "step-0000000000"
    full = Mock(side_effect=tf.errors.ResourceExhaustedError(None, None, "OOM"))
    monkeypatch.setattr(loop, "compile_train_step", lambda *_, **__: full)
    with pytest.raises(RunStoppedError, match=r"step 1: a batch or frame does not fit into memory; raise"):
        train(tiny(), run)


def test_best_weights_are_those_of_the_best_score(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([None, 0.2, 0.7, 0.5])  # None: the split has no valid pixel
    scores = {"split": "val", "iou": {"road": None}}
    monkeypatch.setattr(Validation, "evaluate_weights", lambda *_: {**scores, "miou": next(given)})
    kept: list[int] = []
    monkeypatch.setattr(module, "save_weights", lambda _, path: path.touch() or kept.append(1))
    often = {"checkpoint_steps": 50, "checkpoint_minutes": 1e-9, "keep_checkpoints": 9}
    train(tiny(steps=4, evaluate_steps=1, ema_decay=0.0, **often), run)
    names = [path.name for path in list_checkpoints(run.checkpoints)]
    assert names == ["step-0000000000", *(f"step-000000000{step}-evaluated" for step in (1, 2, 3, 4))]
    assert len(kept) == 3
    assert (TrainedModel.of_run(run.directory).record["step"], TrainedModel.of_run(run.directory).record["miou"]) == (
        3,
        0.7,
    )


def test_training_ends_after_evaluations_without_a_better_score_resumed_or_not(
    run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(steps=9, evaluate_steps=1, checkpoint_steps=1, patience=2)

    def score(*values: float) -> None:
        given = iter(values)
        empty = {"split": "val", "iou": {"road": None}}
        monkeypatch.setattr(Validation, "evaluate_weights", lambda *_: {**empty, "miou": next(given)})

    whole = RunPaths(tmp_path / "whole")
    score(0.2, 0.7, 0.5, 0.7)  # an equal score is not better
    train(config, whole)
    assert newest(whole).name == "step-0000000004-evaluated"
    line = "step 4: the training ends, after 2 evaluations without a better score (train.patience)\n"
    assert capsys.readouterr().err.endswith(line)
    assert TrainedModel.of_run(whole.directory).record["step"] == 2

    def killed(*_: Any, **row: Any) -> None:
        report(*_, **row)
        if row["step"] == 3 and "miou" in row:
            raise SystemError("killed")

    report = loop.report
    score(0.2, 0.7, 0.5)
    monkeypatch.setattr(loop, "report", killed)
    with pytest.raises(SystemError):
        train(config, run)
    monkeypatch.setattr(loop, "report", report)
    score(0.5, 0.7)  # the evaluation of step 3 again
    train(config, run)
    train(config, run)  # it is over, and stays so
    assert capsys.readouterr().err.count(line) == 2
    assert rows_of(run) == rows_of(whole)
    assert_same_tensors(run, whole)


def test_tensorboard_shows_what_the_rows_hold_and_pictures(run: RunPaths) -> None:
    train(tiny(tensorboard=True, pictures=1), run)
    events = EventAccumulator(str(run.tensorboard), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    rows = rows_of(run)
    for tag, key in (("training/loss", "loss"), ("validation/miou", "miou")):
        found = [(one.step, float(tf.make_ndarray(one.tensor_proto))) for one in events.Tensors(tag)]
        expected = [(row["step"], row[key]) for row in rows if key in row]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    for tag in ("validation/confusion", "frames/val_000000", "validation iou/road"):
        assert [one.step for one in events.Tensors(tag)] == [3, 6]
    (config,) = events.Tensors("config")
    assert "    seed: 0" in tf.make_ndarray(config.tensor_proto).item().decode()
