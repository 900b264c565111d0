"""The benchmark of training: equal networks, sides in turns, ratios to PyTorch."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Script, run_process

from fcn.config.settings import Config
from fcn.config.yaml_file import find_config, load_config
from fcn.errors import RunStoppedError
from fcn.training import benchmark
from fcn.training.benchmark import Kind, Side, SideProcess, alternate, group_table, require_agreement, table

FCN = Kind("fcn", "float32", keeps_memory=False)
TORCH = Kind("torch", "float32", keeps_memory=False)
TINY = (
    *("model.encoder=vgg11", "model.width=0.05", "model.head_units=8", "train.batch_size=2"),
    *("train.deterministic=false", "train.warmup=0"),
)


def tiny_config(*overrides: str) -> Config:
    return load_config(find_config("camvid"), [*TINY, *overrides])


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.stride=8", "model.skips=after_pooling", "model.skip_scale=0.5", "model.batch_norm=false"),
        ("model.stride=32", "model.head_window=1", "model.learn_last_upsampling=false", "data.labels=road"),
    ],
    ids=["like camvid.yaml", "scaled skips", "stride 32"],
)
def test_copy_in_pytorch_has_the_logits_and_the_losses_of_the_network(overrides: tuple[str, ...]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from fcn.training import benchmark_fcn, benchmark_torch

    side = Side(kind=FCN, config=tiny_config(*overrides), size=(37, 70), weights={})
    calls = benchmark_fcn.calls_of(side)
    other_calls = benchmark_torch.calls_of(replace(side, kind=TORCH, weights=calls["weights"]()))
    logits, losses = calls["check"]()
    other_logits, other_losses = other_calls["check"]()
    assert logits.std() > 0.01
    np.testing.assert_allclose(other_logits, logits, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(other_losses, losses, rtol=1e-4)  # the second one shows the update
    assert abs(losses[1] - losses[0]) > 1e-3


def test_other_results_are_refused() -> None:
    one = (np.array([4.0, -2.0]), [2.0, 1.0])
    near = (np.array([4.002, -2.0]), [2.0, 1.001])
    line = require_agreement({FCN: one, TORCH: near}, "float32")
    assert line == "float32: logits differ by at most 5.0e-04 of the largest, losses of two steps by 5.0e-04"
    for logits, losses in (([4.0, -2.1], [2.0, 1.0]), ([4.0, -2.0], [2.0, 1.1]), ([4.0, -2.0], [2.0, float("nan")])):
        with pytest.raises(RunStoppedError, match="it is another network, and nothing is timed"):
            require_agreement({FCN: one, TORCH: (np.array(logits), losses)}, "float32")


def test_sides_are_called_in_turns_and_rounds_that_warm_up_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda _: asked.append("pause"))

    def worker(name: str) -> SimpleNamespace:
        return SimpleNamespace(call=lambda call: (asked.append(f"{name} {call}"), (0.5, None))[1])

    times = alternate({FCN: worker("fcn"), TORCH: worker("torch")}, ["step"], rounds=3)
    assert asked == ["pause", "fcn step", "pause", "torch step"] * (benchmark.WARM_UP + 3)
    assert times == {FCN: {"step": [500.0] * 3}, TORCH: {"step": [500.0] * 3}}


def test_ratios_are_to_pytorch_in_float32_and_to_the_same_precision_and_allocator() -> None:
    times = {
        FCN._replace(keeps_memory=True): [100.0, 90.0, 150.0],
        FCN._replace(precision="bfloat16"): [50.0],
        TORCH._replace(keeps_memory=True): [110.0],
        TORCH._replace(precision="bfloat16"): [80.0],
        TORCH: [200.0],
    }
    peaks = dict.fromkeys(times, 40.0)
    lines = table(times, gigaflop=2.0, peaks=peaks, megabytes=dict.fromkeys(times, 999.6)).splitlines()
    assert lines[1].split() == [
        "fcn",
        "float32,",
        "memory",
        "kept",
        "100.0",
        "90.0",
        "150.0",
        "2.00",
        "1.10",
        "20.0",
        "50%",
        "of",
        "40",
        "1000",
    ]
    assert lines[2].split()[:7] == ["fcn", "bfloat16", "50.0", "50.0", "50.0", "4.00", "1.60"]
    assert lines[3].split()[:8] == ["PyTorch", "float32,", "memory", "kept", "110.0", "110.0", "110.0", "1.82"]
    alone = table({FCN: [100.0]}, gigaflop=2.0, peaks={FCN: 40.0}, megabytes={FCN: 1.0}).splitlines()
    assert alone[1].split() == ["fcn", "float32", "100.0", "100.0", "100.0", "20.0", "50%", "of", "40", "1"]


def test_time_of_a_group_is_what_its_layers_add() -> None:
    times = {FCN: {"block1_pool": [5.0, 4.0, 9.0], "step": [12.0]}}
    lines = group_table(times, {"block 1": "block1_pool", "rest": "step"}).splitlines()
    assert [line.split()[-1] for line in lines] == ["float32", "4.0", "8.0", "12.0"]


def test_what_a_process_says_before_it_ends_too_early_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    worker = SideProcess(SimpleNamespace(kind=SimpleNamespace()))
    with pytest.raises(RunStoppedError, match="the process ended"):
        worker.call("step")
    worker.end()
    assert "AttributeError" in capfd.readouterr().err


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_memory_that_was_kept_is_not_asked_for_again() -> None:
    lines = (
        "import resource, sys; from fcn.training.benchmark import keep_freed_memory",
        "sys.argv[1] == 'plain' or keep_freed_memory()",
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt; bytearray(10**8)",
        "before = faults(); bytearray(10**8); print(faults() - before)",
    )
    counts = []
    for word in ("plain", "kept"):
        command = [sys.executable, "-c", "\n".join(lines), word]
        counts.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert counts[1] < 10
    assert counts[0] > 2 * counts[1] + 20  # pages may be huge ones


def test_pytorch_that_is_missing_is_a_line_before_any_work(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcn.commands.benchmark.find_spec", lambda _: None)
    done = script("benchmark", "--train", "--against", "torch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--against torch: PyTorch is not installed; pip install torch\n"


def test_options_that_do_not_go_together_are_refused(script: Script) -> None:
    mistakes = {
        "--against torch": "--against, --groups, --rounds: only go with --train",
        "--rounds 3": "--against, --groups, --rounds: only go with --train",
        "--train --run runs/mine": "--train: starts from random weights",
        "--train --untrained": "--train: starts from random weights",
        "--train --set train.loss=sum": "train.loss: is not in what --train times; leave it out",
        "--train --rounds 0": "--rounds 0: is too few; name at least 1",
        "--train --set model.depth=3": "model.depth",
    }
    for arguments, message in mistakes.items():
        done = script("benchmark", *arguments.split())
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("option", [(), ("--groups",)], ids=["steps", "groups"])
def test_quick_run_prints_its_table(option: tuple[str, ...]) -> None:
    against = () if find_spec("torch") is None else ("--against", "torch")
    done = run_process("benchmark", "--train", "--quick", *against, *option)
    assert done.returncode == 0, done.stderr
    assert ("optimizer, averages" if option else "of peak") in done.stdout
    assert ("float32: logits differ by at most " in done.stdout) == bool(against)
    assert platform.machine() != "x86_64" or "TF_ENABLE_ONEDNN_OPTS=1" in done.stdout  # as in a training
