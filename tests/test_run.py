"""The run folder: never overwritten, its rows and its best weights accounted for."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fcn.config import Config, DataConfig, TrainConfig
from fcn.configfile import changed_keys
from fcn.errors import RunStoppedError, UserError
from fcn.run import FREE_TO_CHANGE, RunFolder, require_unchanged


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


def test_other_config_is_refused_with_its_keys_unless_they_are_allowed() -> None:
    before, now = Config(), Config(train=TrainConfig(steps=8, seed=1))
    file = Path("config.yaml")
    with pytest.raises(
        UserError, match=r"config.yaml: was made with another train\.steps, train\.seed; change that back"
    ):
        require_unchanged(file, before, now, [])
    with pytest.raises(UserError, match=r"another train\.seed; .* with --allow-changed train\.seed$"):
        require_unchanged(file, before, now, ["train.steps"])
    require_unchanged(file, before, now, ["train.seed", "train.steps"])


def test_settings_that_no_score_depends_on_are_free_to_change() -> None:
    quiet = replace(
        TrainConfig(), log_steps=7, checkpoint_steps=7, checkpoint_minutes=7, keep_checkpoints=7, pictures=7
    )
    moved = replace(DataConfig(), root="elsewhere", cache_megabytes=7, max_megapixels=7)
    require_unchanged(Path("config.yaml"), Config(), Config(train=quiet, data=moved), [])
    assert set(changed_keys(Config(), Config(train=quiet, data=moved))) == FREE_TO_CHANGE


def test_config_of_a_continued_run_is_stored_where_it_changed(folder: RunFolder) -> None:
    before = folder.config_file.stat().st_mtime_ns
    folder.store(Config(train=TrainConfig(steps=7)))
    assert folder.config_file.stat().st_mtime_ns == before
    folder.store(Config(train=TrainConfig(steps=7, log_steps=3)))
    assert folder.config().train.log_steps == 3


def test_rows_beyond_a_step_are_cut_and_a_torn_row_goes(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.append_row({"step": step, "loss": 0.1 * step})
    with folder.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')
    folder.cut_rows(2, 0)
    rows = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    assert rows == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}]


def test_a_damaged_row_is_named_before_anything_is_cut(folder: RunFolder) -> None:
    for damaged in (b'{"step', b"{}", b"[]", b"3", b'{"step": "1"}', b"\xff", b""):
        folder.metrics_file.write_bytes(b'{"step": 1}\n' + damaged + b"\n")
        with pytest.raises(UserError, match=r"metrics.jsonl:2: is a damaged row .*; remove the line"):
            folder.cut_rows(1, 1)
        assert folder.metrics_file.read_bytes() == b'{"step": 1}\n' + damaged + b"\n"


def test_full_disk_stops_a_run_at_its_row_which_a_resumed_one_cuts(folder: RunFolder) -> None:
    folder.append_row({"step": 1})
    size = folder.metrics_file.stat().st_size
    for limit in (size + 5, size):  # room for a part of the row, and for none
        previous = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, previous[1]))
        try:
            with pytest.raises(RunStoppedError, match=r"metrics.jsonl: the disk is full|File too large"):
                folder.append_row({"step": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        assert folder.rows() == [{"step": 1}]
        folder.cut_rows(1, 1)


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
