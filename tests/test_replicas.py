"""Steps, runs and scores of several devices and of several processes equal those of one."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from drill import fingerprint

from fcn.config.settings import ModelConfig, TrainConfig
from fcn.errors import RunStoppedError, UserError
from fcn.images import IGNORE
from fcn.runs.workers import ALONE, Worker, find_worker, meet

CHIEF, OTHER = Worker(0, 2), Worker(1, 2)
CASES: dict[str, dict[str, Any]] = {
    "no normalization": {},
    "in parts": {"accumulate_steps": 2},
    "synchronized": {"batch_norm": "synchronized"},
    "dropout": {"batch_norm": "local", "optimizer_name": "adamw", "dropout": 0.5},
    "overflow": {"pixel_scale": 1e38},
}
TWO_DEVICES = """\
from fcn.commands.tensorflow_import import import_tensorflow
import_tensorflow()
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from fcn.commands import main
main("train")
"""
SETTINGS = (
    "data.synthetic_frames=[7,5,1]",
    "data.synthetic_size=[32,64]",
    "augment.crop_size=[32,64]",
    "model.width=0.0625",
    "model.head_units=16",
    "train.batch_size=5",
    "train.steps=4",
    "train.log_steps=1",
    "train.evaluate_steps=2",
    "train.checkpoint_steps=2",
    "train.ema_decay=0.9",
    "train.statistics_frames=4",
    "train.intra_op_threads=1",
)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection, as soon as somebody listens."""
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    with connection:
        yield connection


def tf_config(ports: Sequence[int], index: int) -> str:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def in_processes(function: Callable[..., Any], *arguments: tuple[Any, ...]) -> list[Any]:
    """Results of a function in a new process for each tuple of arguments: devices are set before the first op."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(arguments), mp_context=context, max_tasks_per_child=1) as pool:
        return [future.result() for future in [pool.submit(function, *one) for one in arguments]]


def all_cases(name: str, worker: Worker, ports: Sequence[int], xla: bool = False) -> dict[str, dict[str, Any]]:
    """`three_steps` of each case, with XLA of one, by a strategy that has two replicas but for `one`."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["TF_CONFIG"] = tf_config(ports, worker.index)
    import tensorflow as tf

    from fcn.training.devices import make_strategy
    from fcn.training.setup import configure_tensorflow

    if name == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    configure_tensorflow(TrainConfig(intra_op_threads=1, inter_op_threads=1, deterministic=not xla))
    if worker == ALONE:  # one frame needs one device
        assert make_strategy("auto", ALONE, frames=1).num_replicas_in_sync == 1
    strategy = make_strategy(name, worker, frames=2)
    assert strategy.num_replicas_in_sync == (1 if name == "one" else 2)
    cases = ("in parts",) if xla else CASES
    return {case: three_steps(strategy, worker, xla=xla, **CASES[case]) for case in cases}


def three_steps(
    strategy: Any,
    worker: Worker,
    batch_norm: str = "none",
    optimizer_name: str = "sgd",
    dropout: float = 0.0,
    accumulate_steps: int = 1,
    pixel_scale: float | None = None,
    xla: bool = False,
) -> dict[str, Any]:
    """Losses, whether they were finite, and all variables before and after three steps of five frames."""
    import keras
    import tensorflow as tf

    from fcn.model.fcn import build_fcn
    from fcn.training.batch_norm import synchronize_batch_norm
    from fcn.training.optimizer import build_optimizer
    from fcn.training.step import TrainState, compile_train_step

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    recipe = TrainConfig(optimizer=optimizer_name, learning_rate=0.01, warmup=0.0, weight_decay=0.0)
    config = ModelConfig(encoder="vgg11", width=1 / 16, head_units=16, dropout=dropout, batch_norm=batch_norm != "none")
    with strategy.scope():
        model = build_fcn(config, 2)
        for weight in model.weights:
            if weight.path.startswith("score") and weight.name == "kernel":  # zero at first: nothing else would learn
                weight.assign(random.normal(0, 0.1, weight.shape))
        if batch_norm == "synchronized" and strategy.num_replicas_in_sync > 1:
            synchronize_batch_norm(model)
        optimizer = build_optimizer(recipe, model.trainable_variables)
    state = TrainState.create(model, optimizer, averaged=True, strategy=strategy)
    options = {"accumulate_steps": accumulate_steps, "strategy": strategy, "xla": xla}
    step = compile_train_step(state, 0.5, 0, (1.0, 3.0), 0.9, **options)
    images = random.integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    labels = random.integers(0, 2, (5, 32, 48), dtype=np.uint8)
    labels[0, :30] = IGNORE
    labels[4] = IGNORE  # nothing counts in one frame
    if pixel_scale is not None:
        model.get_layer("preprocessing").scale = pixel_scale
        images[2:] = 0  # the frames of the second replica stay finite
    share = worker.share(len(images))
    batch = [tf.constant(values[share.start : share.stop]) for values in (images, labels)]
    variables = {weight.path: weight for weight in model.weights}
    variables |= {f"average of {one.path}": average for one, average in zip(model.weights, state.averages, strict=True)}
    before = {path: variable.numpy() for path, variable in variables.items()}
    results = [step(*batch, tf.constant(number, tf.int64)) for number in range(3)]
    return {
        "losses": [float(loss) for loss, _ in results],
        "finite": [bool(finite) for _, finite in results],
        "before": before,
        "after": {path: variable.numpy() for path, variable in variables.items()},
    }


@pytest.fixture(scope="module")
def results() -> list[dict[str, dict[str, Any]]]:
    """`all_cases` of one device, of two devices, of two processes, and of two devices with XLA."""
    ports = free_ports(2)
    calls = (("one", ALONE, ports), ("mirrored", ALONE, ports), ("multi_worker", CHIEF, ports))
    return in_processes(all_cases, *calls, ("multi_worker", OTHER, ports), ("mirrored", ALONE, ports, True))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_devices_and_two_processes_compute_the_same_bits(results: list[dict[str, Any]], case: str) -> None:
    _, mirrored, chief, other, *_ = results
    for worker in (chief, other):
        np.testing.assert_equal(worker[case], mirrored[case])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "xla"),
    [("no normalization", False), ("in parts", False), ("synchronized", False), ("in parts", True)],
)
def test_two_devices_compute_the_steps_of_one(results: list[dict[str, Any]], case: str, xla: bool) -> None:
    one = results[0]["no normalization" if case == "in parts" else case]  # parts are those of the whole batch
    for found in (results[4 if xla else 1][case], results[0][case]):
        np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-5)
        for path, value in one["after"].items():
            if "moving_variance" not in path:  # of several devices it is the biased estimate
                np.testing.assert_allclose(found["after"][path], value, atol=2e-6, err_msg=path)
    assert max(np.abs(value - one["before"][path]).max() for path, value in one["after"].items()) > 1e-3


@pytest.mark.slow
def test_overflow_on_one_device_only_stops_all_before_a_variable_moves(results: list[dict[str, Any]]) -> None:
    for result in results[:4]:
        assert result["overflow"]["finite"] == [False] * 3
        np.testing.assert_equal(result["overflow"]["after"], result["overflow"]["before"])


def start_training(
    directory: Path, *words: str, ports: Sequence[int] = (), index: int = 0, begin: tuple[str, ...] = ("-m", "fcn")
) -> subprocess.Popen[str]:
    command = [sys.executable, *begin, *(("train",) if begin[0] == "-m" else ()), "--run-dir", str(directory)]
    command += [word for setting in SETTINGS for word in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if ports:
        environment["TF_CONFIG"] = tf_config(ports, index)
    return subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
def test_runs_of_two_devices_and_two_processes_are_bit_identical_and_go_on_with_one(tmp_path: Path) -> None:
    mirrored, workers = tmp_path / "mirrored", tmp_path / "workers"
    process = start_training(mirrored, "--set", "train.strategy=mirrored", begin=("-c", TWO_DEVICES))
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    ports = free_ports(2)
    processes = [start_training(workers, ports=ports, index=index) for index in (0, 1)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[1][0] == ""  # the chief alone says what was trained
    assert ["devices: 2, in 2 processes\n" in errors for _, errors in outputs] == [True, False]
    assert fingerprint(mirrored) == fingerprint(workers)

    scores = json.loads((workers / "best.json").read_text())
    single = subprocess.run(
        [sys.executable, "-m", "fcn", "evaluate", "--run", workers, "--json", tmp_path / "scores.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads((tmp_path / "scores.json").read_text())["miou"] == scores["miou"], single.stdout

    for checkpoint in workers.glob("checkpoints/step-*4*"):  # the last step is done again
        shutil.rmtree(checkpoint)
    process = start_training(workers, "--resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "continued with replicas 1 instead of 2" in errors, errors


@pytest.mark.slow
@pytest.mark.skipif(not list(Path("/dev").glob("nvidia[0-9]*")), reason="there is no NVIDIA GPU here")
def test_training_on_gpus_learns(tmp_path: Path) -> None:
    process = start_training(tmp_path / "run", "--set", "train.steps=200", "--set", "train.precision=auto")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "GPU" in (tmp_path / "run" / "environment.json").read_text()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])


def test_workers_share_every_slot_of_a_batch_once() -> None:
    for count, batch_size in ((1, 4), (2, 5), (3, 4), (5, 5)):
        slots = [slot for index in range(count) for slot in Worker(index, count).share(batch_size)]
        assert slots == list(range(batch_size))


@pytest.mark.parametrize("settings", ["same", "other"])
def test_workers_meet_and_follow_the_chief_if_their_settings_are_the_same(settings: str) -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(meet, CHIEF, address, "same", "step-0000000004", 0.1)]
        for hostile in (b"", b"[" * 1000, b"null\n", b"[7, 1]\n"):  # of strangers
            with connected(port) as stranger:
                stranger.sendall(hostile)
        futures.append(pool.submit(meet, OTHER, address, settings, None, 0.1))
    for future in futures:
        if settings == "same":
            assert future.result() == "step-0000000004"
        else:
            with pytest.raises(UserError, match="worker 1: has other settings or frames than the chief"):
                future.result()


@pytest.mark.parametrize("worker", [CHIEF, OTHER])
def test_worker_that_waits_alone_ends_with_a_line(worker: Worker) -> None:
    (port,) = free_ports(1)
    with pytest.raises(
        RunStoppedError, match=r"not all of the 2 workers have come to 127\.0\.0\.1:.* within 0\.005 min"
    ):
        meet(worker, f"127.0.0.1:{port}", "same", None, 0.005)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ALONE),
        ({"TF_CONFIG": tf_config((1, 2), 1)}, OTHER),
        (
            {"TF_CONFIG": '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}'},
            OTHER,
        ),
        ({"TF_CONFIG": '{"environment": "cloud"}'}, ALONE),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, OTHER),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, ALONE),
    ],
)
def test_worker_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: Worker
) -> None:
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    assert find_worker("auto") == expected
    assert find_worker("one") == ALONE
    monkeypatch.setattr(shutil, "which", lambda _: None)
    if "SLURM_PROCID" in environment and expected == OTHER:
        with pytest.raises(UserError, match="SLURM: TensorFlow looks for NVIDIA GPUs"):
            find_worker("auto")
    if expected == ALONE:
        with pytest.raises(UserError, match=r"train\.strategy: multi_worker needs several processes"):
            find_worker("multi_worker")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"cluster": {"worker": ["a:1"]}}', tf_config((1, 2), 2), tf_config((1, 2), -1)]
)
def test_malformed_tf_config_is_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG: is not valid"):
        find_worker("auto")
