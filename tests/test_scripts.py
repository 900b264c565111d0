"""The command lines: fast answers, one-line mistakes, exit statuses."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Script
from PIL import Image

from fcn.config.yaml_file import load_config
from fcn.runs.paths import RunPaths, locked

SCRIPTS = ("train", "evaluate", "infer", "explain_layers", "submit_kitti", "fetch_data", "check_data", "plot_runs")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_at_once_without_tensorflow(name: str) -> None:
    command = [sys.executable, "-X", "importtime", ROOT / "scripts" / f"{name}.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "usage:" in done.stdout
    assert not re.search(r"\| +tensorflow$", done.stderr, re.M)


@pytest.mark.parametrize("arguments", [["--help"], ["--set", "train.stepps=3"]])
def test_help_and_mistakes_answer_in_half_a_second(arguments: list[str]) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, ROOT / "scripts/train.py", *arguments], capture_output=True, check=False)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5  # the others may have waited for a busy machine


def test_config_mistakes_are_told_without_tensorflow(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("train:\n  step: 3\nmodel:\n  head_window: 4\n")
    command = [sys.executable, "-X", "importtime", ROOT / "scripts/train.py", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    assert done.returncode == 2
    assert lines[0] == f"{config}:2:3: train.step: is not a setting; did you mean train.steps?"
    assert lines[1].startswith(f"{config}:4:16: model.head_window: 4 is not allowed; it must be 1, 3, 5 or 7;")
    assert len(lines) == 2
    assert not re.search(r"\| +tensorflow$", done.stderr, re.M)


def test_print_config_can_be_read_back(script: Script, tmp_path: Path) -> None:
    done = script("train", "--print-config", "--set", "train.steps=7", "--set", "data.root=no")
    assert done.returncode == 0
    assert "# Training steps; the schedule is stretched over them." in done.stdout
    file = tmp_path / "config.yaml"
    file.write_text(done.stdout)
    assert load_config(file) == load_config(ROOT / "configs/synthetic.yaml", ["train.steps=7", "data.root=no"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--resume"], "--resume: needs the run to continue"),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["train", "--allow-changed", "train.seed"], "--allow-changed: a new run has no settings yet; add --resume"),
        (
            ["train", "--resume", "--run-dir", "x", "--allow-changed", "train.stepps"],
            "--allow-changed train.stepps: is not a setting; did you mean train.steps?",
        ),
        (["evaluate", "--run", "nowhere"], "nowhere: is not a run"),
        (["infer", "--weights", "x"], "x: is not a file NAME.weights.h5"),
        (["submit_kitti", "--out", "x.zip"], "runs/: holds no trained run; start one with"),
    ],
)
def test_mistakes_are_one_line_with_status_2(
    arguments: list[str], expected: str, script: Script, tmp_path: Path
) -> None:
    done = script(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1


def test_existing_run_folder_is_not_overwritten(smoke_run: Path, script: Script) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke_run.rglob("*")}
    done = script("train", "--run-dir", smoke_run)
    assert done.returncode == 2
    assert "exists; continue it with --resume" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in smoke_run.rglob("*")} == before


def test_resuming_with_another_config_names_the_keys(smoke_run: Path, script: Script) -> None:
    config = smoke_run / "config.yaml"
    checkpoint = smoke_run / "checkpoints" / "step-0000000080-evaluated"
    settings = ("--set", "train.steps=9", "--set", "model.dropout=0.1")
    done = script("train", "--resume", "--run-dir", smoke_run, "--config", config, *settings)
    assert done.returncode == 2
    assert done.stderr == (
        f"{checkpoint}: was made with another model.dropout, train.steps; change that back, start a new run, or "
        "continue with --allow-changed model.dropout --allow-changed train.steps\n"
    )


def test_second_process_is_refused_within_a_second(smoke_run: Path, script: Script) -> None:
    with locked(RunPaths.of(smoke_run)):
        started = time.perf_counter()
        done = script("train", "--resume", "--run-dir", smoke_run)
        seconds = time.perf_counter() - started
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "another process trains in it" in done.stderr
    assert seconds < 1


def test_mistakes_in_the_data_are_told_before_a_folder_is_made(script: Script, tmp_path: Path) -> None:
    settings = ("--set", "data.kind=camvid", "--set", "data.root=nowhere")
    done = script("train", "--run-dir", "run", *settings, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("nowhere/train: no such folder")
    assert list(tmp_path.iterdir()) == []


def test_evaluate_names_unknown_splits(smoke_run: Path, script: Script) -> None:
    done = script("evaluate", "--run", smoke_run, "--split", "vall")
    assert done.returncode == 2
    assert "split 'vall': is not one of train, val, test" in done.stderr


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (("a", "b"), "b/same.png: has the same stem as a/same.png"),
        (("a",), "a/same_mask.png: is an input and would be"),
    ],
)
def test_infer_refuses_to_overwrite_a_file_before_any_work(
    inputs: tuple[str, ...], error: str, smoke_run: Path, script: Script, tmp_path: Path
) -> None:
    for name in ("a/same.png", "a/same_mask.png", "b/same.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    done = script("infer", *inputs, "--run", smoke_run, "--out", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(error)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "error"),
    [
        (("--confidence", "roda"), "--confidence roda: is not a class of the network; name one of background, road\n"),
        *((("--max-height", pixels), f"--max-height {pixels}: is not a height; name") for pixels in ("0", "-1", "x")),
        *((("--alpha", alpha), f"--alpha {alpha}: is out of range; name") for alpha in ("1.5", "nan")),
    ],
)
def test_wrong_options_of_infer_are_refused(
    option: tuple[str, str], error: str, smoke_run: Path, script: Script
) -> None:
    done = script("infer", "--run", smoke_run, *option)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(error)


def test_missing_inputs_are_named_and_the_others_done(smoke_run: Path, script: Script, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "a.webp").touch()
    options = ("--run", smoke_run, "--out", "out", "--confidence", "ROAD")
    done = script("infer", "no.png", "in", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "no.png: no such file" in done.stderr
    assert "in: skipped 1 of 2; only files .png, .jpg, .jpeg are read\n" in done.stderr
    assert done.stdout.startswith(f"weights: {smoke_run}/best.weights.h5 (step 80)\n")
    assert "resized" not in done.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_confidence.png", "a_mask.png", "a_overlay.png"]


def test_evaluate_takes_data_settings_only_and_checks_where_to_write(
    smoke_run: Path, script: Script, tmp_path: Path
) -> None:
    done = script("evaluate", "--run", smoke_run, "--set", "train.steps=7")
    assert done.returncode == 2
    assert done.stderr.startswith("--set train.steps: evaluation only reads data.*")
    done = script("evaluate", "--run", smoke_run, "--json", tmp_path / "no" / "scores.json")
    assert done.returncode == 2
    assert "no such folder" in done.stderr


def test_damaged_weights_are_refused(smoke_run: Path, script: Script, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", smoke_run, copy], check=True)  # noqa: S607
    data = bytearray((copy / "best.weights.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "best.weights.h5").write_bytes(data)
    done = script("infer", "--run", copy)
    assert done.returncode == 2
    assert "best.weights.h5: is damaged" in done.stderr
