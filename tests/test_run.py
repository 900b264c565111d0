"""The run folder: never overwritten, its rows and its best weights accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcn.config import Config, TrainConfig
from fcn.errors import UserError
from fcn.run import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "one")
    run.create(Config(train=TrainConfig(steps=7)))
    return run


def test_config_is_stored_and_read_back(folder: RunFolder) -> None:
    assert RunFolder.open(folder.path).config() == Config(train=TrainConfig(steps=7))


def test_existing_path_is_refused_unless_it_is_an_empty_folder(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists; continue it with --resume"):
        folder.create(Config())
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".part-1-config.yaml").touch()  # a process was killed as it made the run
    RunFolder(tmp_path / "empty").create(Config())
    assert RunFolder.open(tmp_path / "empty").config() == Config()
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "empty"}
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made: Not a directory"):
        RunFolder(tmp_path / "file" / "run").create(Config())


def test_other_config_is_refused_with_its_keys(folder: RunFolder) -> None:
    folder.require(Config(train=TrainConfig(steps=7)))
    with pytest.raises(UserError, match=r"another train\.steps, train\.seed"):
        folder.require(Config(train=TrainConfig(steps=8, seed=1)))


def test_rows_beyond_a_step_are_cut_and_a_torn_row_goes(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.append_row({"step": step, "loss": 0.1 * step})
    with folder.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')
    folder.cut_rows(2, 0)
    rows = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    assert rows == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}]


def test_a_damaged_row_is_named_before_anything_is_cut(folder: RunFolder) -> None:
    folder.metrics_file.write_text('{"step": 1}\n{"step\n')
    with pytest.raises(UserError, match=r"metrics.jsonl: holds a damaged row"):
        folder.cut_rows(1, 1)
    assert folder.metrics_file.read_text() == '{"step": 1}\n{"step\n'


def test_newest_is_the_last_started_run_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("a", "c", "b", "untrained")):
        run = RunFolder(Path("runs") / name)
        run.create(Config())
        os.utime(run.config_file, ns=(age, age))
        if name != "untrained":
            run.best_weights.touch()
    assert RunFolder.newest().path == Path("runs/b")


def test_second_writer_is_refused_and_a_killed_first_leaves_no_lock(folder: RunFolder) -> None:
    hold = "import sys, time; from fcn.run import RunFolder; from pathlib import Path\n"
    hold += "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, folder.path], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process trains in it"), folder.locked():
            pass
        first.kill()
    with folder.locked():
        pass


def test_environment_names_versions_and_cores(folder: RunFolder) -> None:
    assert folder.start(["CPU:0"], "abc") == []
    record = json.loads(folder.environment_file.read_text())
    assert set(record) >= {"python", "tensorflow", "keras", "numpy", "threads", "commit", "devices", "processor"}


def test_what_changed_since_the_start_is_named_and_the_record_stays(folder: RunFolder) -> None:
    folder.start(["CPU:0"], "abc")
    assert folder.start(["CPU:0"], "abc") == []
    assert folder.start(["CPU:0", "GPU:0"], "abd") == ["devices", "data_fingerprint"]
    assert json.loads(folder.environment_file.read_text())["data_fingerprint"] == "abc"


def test_weights_that_are_not_those_recorded_are_refused(folder: RunFolder) -> None:
    with pytest.raises(UserError, match="has no weights yet"):
        folder.best()
    folder.best_weights.write_bytes(b"weights")
    folder.record_best({"step": 3, "miou": 0.5})
    assert folder.best()["step"] == 3
    for damaged in ('{"step": 3', "{}", "[]", ""):
        folder.best_file.write_text(damaged)
        with pytest.raises(UserError, match=r"best.json: is damaged"):
            folder.best()
    folder.record_best({"step": 3, "miou": 0.5})
    folder.best_weights.write_bytes(b"weightz")
    with pytest.raises(UserError, match="is damaged"):
        folder.best()
