"""The command lines: fast answers, one-line mistakes, exit statuses."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest
from conftest import ROOT, Script, run_process

from fcn.commands.parser import COMMANDS
from fcn.runs.paths import RunPaths, locked
from fcn.runs.trained import SHIPPED


def times_of_files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def seconds_of(*arguments: object) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, check=False)
    return time.perf_counter() - started


HELP = [[command.replace("-", "_"), "--help"] for command in COMMANDS]


@pytest.mark.parametrize("arguments", [*HELP, ["train", "--set", "train.stepps=3"]])
def test_help_and_mistakes_answer_without_tensorflow(arguments: list[str]) -> None:
    done = run_process(*arguments, python=("-X", "importtime"))
    assert (done.returncode, "usage:" in done.stdout) == ((0, True) if "--help" in arguments else (2, False))
    assert not re.search(r"\| +tensorflow$", done.stderr, re.M)


@pytest.mark.parametrize("arguments", [["--help"], ["--set", "train.stepps=3"]])
def test_help_and_mistakes_answer_in_three_times_what_numpy_takes_to_import(arguments: list[str]) -> None:
    ratios = []
    for _ in range(5):  # a busy machine may keep some of them waiting
        imports = seconds_of("-c", "import numpy, PIL.Image, tqdm, yaml")
        ratios.append(seconds_of(ROOT / "scripts" / "train.py", *arguments) / imports)
    assert min(ratios) < 3


@pytest.mark.slow
def test_closed_streams_stop_no_training_and_get_into_no_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = "model.encoder=vgg11 train.steps=1 data.synthetic_frames=[2,1,1] model.head_units=4 model.width=0.02"
    settings = " ".join(f"--set {word}" for word in small.split())
    command = f"{sys.executable} {ROOT}/scripts/train.py --run-dir {run} {settings} 0<&- 1>&- 2>&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (run / "lock").read_bytes() == b""
    assert (run / "best.weights.h5").is_file()


def listen() -> None:
    """A process in the background is started with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_while_commands_are_imported_is_one_line(tmp_path: Path) -> None:
    begin = "import fcn.commands; print('begun', flush=True); fcn.commands.main('train', '--run-dir', 'run')"
    for seconds in (0.03, 0.06, 0.1):  # while the commands are imported
        command = [sys.executable, "-c", begin]
        options = {"stdout": PIPE, "stderr": PIPE, "cwd": tmp_path, "preexec_fn": listen}
        with subprocess.Popen(command, **options) as process:
            assert process.stdout.readline() == b"begun\n"
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            error = process.stderr.read()
        assert (process.returncode, error) == (130, b"interrupted\n")


def test_second_process_is_refused_in_a_line(smoke_run: Path) -> None:
    with locked(RunPaths(smoke_run)):
        done = run_process("train", "--resume", "--run-dir", smoke_run)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "another process trains in it" in done.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("train --resume", "--resume: needs the run to continue"),
        ("train --config nowhere.yaml", "nowhere.yaml: no such file"),
        ("train --set train.stepps=3", "--set train.stepps=3: train.stepps: is not a setting; did you mean train.step"),
        ("train --run-dir run --set data.kind=camvid --set data.root=nowhere", "nowhere/train: no such folder"),
        ("train --initial-weights camvid --run-dir run", f"{SHIPPED}: is of another network; set model.encoder: vgg16"),
        (
            "train-classifier --run-dir run --set model.head_window=7",
            "model.head_window: 7 makes windows of 224x224, and train_000000 is 96x320; lower it",
        ),
        ("train --set train.freeze=encoder", "train.freeze: would keep random weights; name model.initial_weights"),
        ("train --allow-changed train.seed", "--allow-changed: a new run has no settings yet; add --resume"),
        (
            "train --resume --run-dir x --allow-changed train.stepps",
            "--allow-changed train.stepps: is not a setting; did you mean train.steps?",
        ),
        ("train --run-dir RUN", "RUN: exists; continue it with --resume"),
        (
            "train --resume --run-dir RUN --config RUN/config.yaml --set train.steps=9 --set model.dropout=0.1",
            "RUN/checkpoints/step-0000000080-evaluated: was made with another model.dropout, train.steps; change that",
        ),
        ("evaluate --run nowhere", "nowhere: is not a run"),
        ("evaluate --run RUN --split vall", "split 'vall': is not one of train, val, test"),
        ("evaluate --run RUN --set train.steps=7", "--set train.steps: is a setting of the training; only data.*"),
        ("evaluate --run RUN --json no/scores.json", "no: no such folder; create it or name another --json"),
        ("infer --weights x", "x: is not a file NAME.weights.h5"),
        (
            "infer --run RUN --confidence roda",
            "--confidence roda: is not a class of the network; name one of background, road\n",
        ),
        ("infer --run RUN --max-height 0", "--max-height 0: is not a height; name"),
        (f"infer --run RUN --max-height {'7' * 5000}", "--max-height 777"),
        (f"train --set train.steps={'7' * 60_000}", "--set train.steps=777"),
        ("fetch_data camvid --to . --url http://[::1/x.zip", "http://[::1/x.zip: the connection failed (Invalid IPv6"),
        ("fetch_data camvid --to . --url http://localhost:1/é.zip", "http://localhost:1/é.zip: the connection failed"),
        ("submit_kitti --out x.zip", "runs/: holds no trained run; start one with"),
    ],
)
def test_mistakes_are_one_line_with_status_2_and_change_no_file(
    words: str, error: str, smoke_run: Path, script: Script, tmp_path: Path
) -> None:
    before = times_of_files(smoke_run)
    done = script(*words.replace("RUN", str(smoke_run)).split(), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(error.replace("RUN", str(smoke_run)))
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert times_of_files(smoke_run) == before
