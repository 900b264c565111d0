"""The input pipeline is never the bottleneck. `pytest -s tests/test_speed.py` prints the figures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import tensorflow as tf
from conftest import ROOT

from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.datasets import open_split
from fcn.datasets.statistics import check_frames
from fcn.model.fcn import build_fcn
from fcn.training.optimizer import build_optimizer
from fcn.training.pipeline import plan_phases, training_batches
from fcn.training.setup import configure_tensorflow, resolve_precision
from fcn.training.step import TrainState, compile_train_step

ROUNDS = 3
FRAMES = 40
BATCHES = 10  # more than can have been made in advance


def speeds(config: Config) -> tuple[list[float], list[float]]:
    """Images per second of the pipeline and of the step, each alone, round by round."""
    configure_tensorflow(config.train)
    dataset = open_split(config.data, "train")
    dataset = replace(dataset, names=dataset.names[:FRAMES])
    check_frames([dataset])  # keeps them in memory, as training does
    model = build_fcn(config.model, len(dataset.classes), resolve_precision(config.train).precision)
    state = TrainState.create(model, build_optimizer(config.train, model.trainable_variables))
    step = compile_train_step(state, 5.0, 0, [1.0] * len(dataset.classes), 0.0)
    phases = plan_phases(config.progressive, config.augment, config.train.batch_size, 10**6)
    size = phases[0].batch_size  # the small frames of a progressive phase load the pipeline most
    stream = iter(training_batches(dataset.read, len(dataset), phases, 0))
    batch = next(stream)
    step(*batch, tf.constant(0, tf.int64))  # compiles
    pipeline = []
    training = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(BATCHES):
            batch = next(stream)
        pipeline.append(BATCHES * size / (time.perf_counter() - started))
        time.sleep(0.2)  # until the stream has made its next batches and rests
        started = time.perf_counter()
        step(*batch, tf.constant(0, tf.int64))
        training.append(size / (time.perf_counter() - started))
    return pipeline, training


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synthetic", "camvid"])
def test_pipeline_is_at_least_1_5_times_as_fast_as_the_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # data.root is relative to the current folder
    config = load_config(Path(f"configs/{name}.yaml"))
    if config.data.root and not Path(config.data.root).is_dir():
        pytest.skip(f"{config.data.root} is missing (data/README.md says how to get it)")
    pipeline, training = speeds(config)
    ratios = sorted(one / other for one, other in zip(pipeline, training, strict=True))
    print(
        f"\n{name}: pipeline {median(pipeline):.0f} images/s, step {median(training):.1f} images/s, "
        f"ratio {median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
    )
    assert median(ratios) >= 1.5
