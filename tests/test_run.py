"""The run folder: never overwritten, its rows and its best weights accounted for."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fcn.config.data_settings import DataConfig
from fcn.config.settings import Config, TrainConfig
from fcn.config.yaml_file import changed_keys
from fcn.errors import RunStoppedError, UserError
from fcn.runs.paths import FREE_TO_CHANGE, RunFolder, require_unchanged, write_record

BAD_STEP = '{"bytes": 7, "sha256": "0", "step": 1e999}'


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "one")
    run.create(Config(train=TrainConfig(steps=7)))
    return run


def test_config_is_stored_and_read_back(folder: RunFolder) -> None:
    assert RunFolder.open(folder.path).config() == Config(train=TrainConfig(steps=7))


def test_existing_path_is_refused_unless_nothing_is_in_it(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists; continue it with --resume"):
        folder.create(Config())
    (tmp_path / "empty").mkdir()
    for left in ("lock", ".part-1"):  # a process was killed as it made the run
        (tmp_path / "empty" / left).touch()
    RunFolder(tmp_path / "empty").create(Config())
    assert RunFolder.open(tmp_path / "empty").config() == Config()
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "file").touch()
    for taken in ("photos", "file"):
        with pytest.raises(UserError, match=r"exists and is no run folder \(it has no config.yaml\)"):
            RunFolder(tmp_path / taken).create(Config())


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
    quiet = replace(quiet, intra_op_threads=7, inter_op_threads=7)
    moved = replace(DataConfig(), root="elsewhere", cache_megabytes=7, max_megapixels=7)
    moved = replace(moved, images="i", masks="m", split_lists="s")
    require_unchanged(Path("config.yaml"), Config(), Config(train=quiet, data=moved), [])
    assert set(changed_keys(Config(), Config(train=quiet, data=moved))) == FREE_TO_CHANGE


def test_config_of_a_continued_run_is_stored_where_it_changed(folder: RunFolder) -> None:
    before = folder.config_file.stat().st_mtime_ns
    folder.store(Config(train=TrainConfig(steps=7)))
    assert folder.config_file.stat().st_mtime_ns == before
    folder.store(Config(train=TrainConfig(steps=7, log_steps=3)))
    assert folder.config().train.log_steps == 3


def test_rows_and_best_weights_become_those_of_a_checkpoint(folder: RunFolder, tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    early.mkdir()
    late.mkdir()
    folder.append_row({"step": 1})
    folder.copy_records(early)
    folder.append_row({"step": 2})
    folder.best_weights.write_bytes(b"weights")
    write_record(folder.best_file, folder.best_weights, {"step": 2})
    folder.copy_records(late)
    for damaged in (folder.metrics_file, folder.best_weights, folder.best_file):
        damaged.write_bytes(b"{")
    folder.restore_records(late)
    assert folder.metrics_file.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert folder.best()["step"] == 2
    folder.restore_records(early)
    assert folder.metrics_file.read_text() == '{"step": 1}\n'
    assert not folder.best_file.exists()
    assert not folder.best_weights.exists()


def test_full_disk_stops_a_run_at_its_row(folder: RunFolder) -> None:
    folder.append_row({"step": 1})
    size = folder.metrics_file.stat().st_size
    for limit in (size + 5, size):  # room for a part of the row, and for none
        previous = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, previous[1]))
        try:
            with pytest.raises(RunStoppedError, match=r"metrics.jsonl: cannot be written: .*; mend that and resume"):
                folder.append_row({"step": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, previous)


def test_newest_is_the_last_started_run_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("a", "c", "b", "untrained")):
        run = RunFolder(Path("runs") / name)
        run.create(Config())
        os.utime(run.config_file, ns=(age, age))
        if name != "untrained":
            run.best_weights.touch()
    newest = RunFolder.newest()
    assert newest
    assert newest.path == Path("runs/b")


def test_second_writer_is_refused_and_a_killed_first_leaves_no_lock(folder: RunFolder) -> None:
    hold = "import sys, time; from fcn.runs.paths import RunFolder; from pathlib import Path\n"
    hold += "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, folder.path], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process trains in it"), folder.locked():
            pass
        first.kill()
    with folder.locked():
        pass


def test_folder_that_gets_no_config_goes_again_and_what_a_kill_left_in_it_goes(tmp_path: Path) -> None:
    made = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="no such frame"), made.locked():
        raise UserError("no such frame")
    assert list(tmp_path.iterdir()) == []
    with made.locked():
        made.create(Config())
        made.pictures.mkdir()
    for torn in (made.path / ".part-1", made.pictures / ".part-2"):
        torn.touch()
    with made.locked():
        pass
    assert sorted(path.name for path in made.path.iterdir()) == ["config.yaml", "lock", "pictures"]
    assert list(made.pictures.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "rule"), [("file/run", "cannot be made: Not a directory"), ("caf\udce9", "is no UTF-8")]
)
def test_folder_that_cannot_hold_a_run_is_refused(name: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"{rule}.*; name another --run-dir"), RunFolder(tmp_path / name).locked():
        pass


def test_weights_that_are_not_those_recorded_are_refused(folder: RunFolder) -> None:
    with pytest.raises(UserError, match="has no weights yet"):
        folder.best()
    folder.best_weights.write_bytes(b"weights")
    write_record(folder.best_file, folder.best_weights, {"step": 3, "miou": 0.5})
    assert folder.best()["step"] == 3
    for damaged in ('{"step": 3', "{}", "[]", "", "[" * 100_000, '{"bytes": 7, "sha256": "0"}', BAD_STEP):
        folder.best_file.write_text(damaged)
        with pytest.raises(UserError, match=r"best.json: is damaged"):
            folder.best()
    write_record(folder.best_file, folder.best_weights, {"step": 3, "miou": 0.5})
    folder.best_weights.write_bytes(b"weightz")
    with pytest.raises(UserError, match="is damaged"):
        folder.best()
