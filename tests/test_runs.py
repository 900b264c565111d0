"""The directory of a run: one writer, never overwritten, rows and best weights accounted for; runs of version 0.1."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import ROOT, Script, file_size_limit, make_run

from fcn.config.settings import Config, TrainConfig
from fcn.errors import RunStoppedError, UserError
from fcn.files import write_file
from fcn.inference.predictor import load_predictor
from fcn.runs import trained as trained_module
from fcn.runs.log import MetricsLog, read_rows
from fcn.runs.paths import RunPaths, existing_run, locked, require_new, trained_runs
from fcn.runs.trained import TrainedModel, write_record
from fcn.training import loop


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return make_run(tmp_path / "runs" / "one", Config(train=TrainConfig(steps=7)))


def test_directory_is_new_only_if_nothing_of_a_user_is_in_it(run: RunPaths, tmp_path: Path) -> None:
    assert existing_run(run.directory).load_config() == Config(train=TrainConfig(steps=7))
    with pytest.raises(UserError, match="exists; continue it with --resume"):
        require_new(run)
    (tmp_path / "empty").mkdir()
    for left in ("lock", ".part-1"):  # a process was killed while it made the run
        (tmp_path / "empty" / left).touch()
    for new in ("empty", "nothing"):
        require_new(RunPaths(tmp_path / new))
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "file").touch()
    for taken in ("photos", "file"):
        with pytest.raises(UserError, match=r"exists and is not a run \(it has no config.yaml\)"):
            require_new(RunPaths(tmp_path / taken))


def test_rows_carry_the_time_of_the_whole_run_and_a_torn_last_one_is_left_out(run: RunPaths) -> None:
    log = MetricsLog(run.metrics)
    for step in (1, 2):
        log.append({"step": step})
    before = read_rows(run.metrics)[-1]["run_seconds"]
    run.metrics.write_bytes(run.metrics.read_bytes() + b'{"step": 3')
    assert [row["step"] for row in read_rows(run.metrics)] == [1, 2]
    run.metrics.write_bytes(run.metrics.read_bytes().rpartition(b"\n")[0] + b"\n")
    MetricsLog(run.metrics).append({"step": 3})
    assert read_rows(run.metrics)[-1]["run_seconds"] >= before
    run.metrics.write_text("[1]\n")
    with pytest.raises(UserError, match=r"metrics.jsonl: is damaged .*; resume or repeat the run"):
        read_rows(run.metrics)


def test_full_disk_stops_a_run_at_its_row(run: RunPaths) -> None:
    log = MetricsLog(run.metrics)
    log.append({"step": 1})
    size = run.metrics.stat().st_size
    problem = r"metrics.jsonl: cannot be written: .*; fix that and resume"
    for limit in (size + 5, size):  # room for a part of the row, and for none
        with file_size_limit(limit), pytest.raises(RunStoppedError, match=problem):
            log.append({"step": 2})


def test_trained_runs_are_those_with_weights_the_last_started_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("a", "c", "b", "untrained")):
        made = make_run(Path("runs") / name)
        os.utime(made.config, ns=(age, age))
        if name != "untrained":
            made.best_weights.touch()
    assert [made.directory.name for made in trained_runs()] == ["b", "c", "a"]


def test_second_writer_is_refused_and_a_killed_first_leaves_no_lock(run: RunPaths) -> None:
    hold = "import sys, time; from fcn.runs.paths import RunPaths, locked; from pathlib import Path\n"
    hold += "with locked(RunPaths(Path(sys.argv[1]))): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, run.directory], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process trains in it"), locked(run):
            pass
        first.kill()
    with locked(run) as require_lock:
        require_lock()
        run.lock.unlink()
        with locked(run), pytest.raises(RunStoppedError, match="its lock was deleted"):  # another process could come in
            require_lock()
    for make in (os.mkfifo, lambda path: path.symlink_to("elsewhere")):
        run.lock.unlink()
        make(run.lock)
        with pytest.raises(UserError, match=r"lock: .*; remove it"), locked(run):
            pass
    assert not (run.directory / "elsewhere").exists()


def test_directory_that_gets_no_config_is_removed_and_so_is_what_a_kill_left_in_it(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "run")
    with pytest.raises(UserError, match="no such frame"), locked(run):
        raise UserError("no such frame")
    assert list(tmp_path.iterdir()) == []
    with locked(run):
        run.config.touch()
        run.pictures.mkdir()
    for part in (run.directory / ".part-1", run.pictures / ".part-2"):
        part.touch()
    with locked(run):
        pass
    assert sorted(path.name for path in run.directory.iterdir()) == ["config.yaml", "lock", "pictures"]
    assert list(run.pictures.iterdir()) == []


def test_directory_that_cannot_hold_a_run_is_refused(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rule in {"config.yaml/run": "cannot be made: Not a directory", "caf\udce9": "is not UTF-8"}.items():
        refused = RunPaths(run.directory / name)
        with pytest.raises(UserError, match=rf"{rule}.*; name another --run-dir"), locked(refused):
            pass
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    with pytest.raises(UserError, match="cannot be locked: No locks available; name a --run-dir on"), locked(run):
        pass


def test_score_is_that_of_the_weights_while_both_are_replaced(run: RunPaths) -> None:
    def publish(step: int) -> None:  # as a run that trains does it, but slower
        write_file(run.best_weights, f"weights of {step}")
        time.sleep(0.01)
        write_record(run.best_record, run.best_weights, {"step": step})
        time.sleep(0.01)

    publish(0)
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(lambda: [publish(step) for step in range(1, 40)])
        seen = set()
        while not training.done():
            trained = TrainedModel.of_run(run.directory)
            assert trained.content == f"weights of {trained.record['step']}".encode()
            seen.add(trained.record["step"])
    assert len(seen) > 1


def test_weights_that_are_not_those_recorded_are_refused(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_module, "WAITS", (0,))
    with pytest.raises(UserError, match="has no weights yet"):
        TrainedModel.of_run(run.directory)
    run.best_weights.write_bytes(b"weights")
    write_record(run.best_record, run.best_weights, {"step": 3, "miou": 0.5})
    assert TrainedModel.of_run(run.directory).record["step"] == 3
    run.best_weights.write_bytes(b"weightz")
    with pytest.raises(UserError, match="is damaged"):
        TrainedModel.of_run(run.directory)
    bad_step = '{"bytes": 7, "sha256": "0", "step": 1e999}'
    odd = ['{"step": "5\\n", "bytes": 7}', '{"step": true, "bytes": 7}', '{"step": 1, "config": []}']
    for damaged in ('{"step": 3', "{}", "[]", "", "[" * 100_000, '{"bytes": 7, "sha256": "0"}', bad_step, *odd):
        run.best_record.write_text(damaged)
        with pytest.raises(UserError, match=r"best.json: is damaged"):
            TrainedModel.of_run(run.directory)


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that version 0.1 made: 4 steps, with the names that settings had then."""
    folder = tmp_path_factory.mktemp("old")
    shutil.unpack_archive(ROOT / "tests" / "data" / "run-0.1.zip", folder)
    return folder / "run-0.1"


def test_run_of_version_0_1_predicts_as_it_did(old_run: Path) -> None:
    image = np.random.RandomState(0).randint(0, 256, (40, 70, 3)).astype("uint8")
    labels = load_predictor(old_run).labels(image)
    assert np.bincount(labels.ravel()).tolist() == [0, 1043, 0, 0, 0, 1757]
    expected = "54375007bbcc508a38505c5b3c152bf056e86574abc192cc3cd58fabc40ec42e"  # by version 0.1 itself
    assert hashlib.sha256(labels.tobytes()).hexdigest() == expected


@pytest.mark.slow
def test_run_of_version_0_1_is_evaluated_and_continued(
    old_run: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = script("evaluate", "--run", old_run)
    assert done.returncode == 0, done.stderr
    copy = shutil.copytree(old_run, tmp_path / "run")
    monkeypatch.setattr(loop, "configure_tensorflow", lambda _: None)  # too late in this process
    done = script("train", "--run-dir", copy, "--resume", "--set", "train.steps=6", "--allow-changed", "train.steps")
    assert done.returncode == 0, done.stderr
    assert "continued with code " in done.stderr
    rows = read_rows(copy / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    config = (copy / "config.yaml").read_text()
    assert "  labels: all\n" in config
    assert "  ema_decay: 0.9\n" in config
