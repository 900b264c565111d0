"""The folder of a run: what lies where in it, and the rows and scores that are written into it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys, dump_config, load_config
from fcn.errors import RunStoppedError, UserError
from fcn.files import PART, flush, sha256, write_file

RUNS = Path("runs")
LOCK = "lock"
MAX_BYTES = 2**20  # of best.json, which has a few lines a class
NO_RECORD = (ValueError, KeyError, TypeError, OverflowError, RecursionError)  # where a text is no JSON of ours

FREE_TO_CHANGE = {  # in a continued run: neither weights nor scores depend on them, but for rounding
    "data.root",  # the frames themselves are compared
    "data.images",
    "data.masks",
    "data.split_lists",
    "data.cache_megabytes",
    "data.max_megapixels",
    "train.log_steps",
    "train.checkpoint_steps",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "train.pictures",
    "train.intra_op_threads",  # named as a change of the environment
    "train.inter_op_threads",
}


class RunFolder:
    """Paths of a run and access to its small files.

    path/
        config.yaml           effective config, written before the first step
        environment.json      versions, processor, threads, fingerprint of the data, commit: those of the start
        lock                  held by the process that trains
        metrics.jsonl         a row a log or evaluation, each with `step`
        checkpoints/          what `--resume` continues from
        best.weights.h5       weights of the best evaluation
        best.json             its step, scores and the weights' SHA-256
        best.raw.weights.h5   the raw weights of that step, where the best ones are averages; best.raw.json alike
        pictures/             image | truth | prediction of a few frames of val
    """

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / "config.yaml"
        self.environment_file = path / "environment.json"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.best_weights = path / "best.weights.h5"
        self.best_file = path / "best.json"
        self.raw_weights = path / "best.raw.weights.h5"
        self.raw_file = path / "best.raw.json"
        self.pictures = path / "pictures"
        self._began: float | None = None
        best = (self.best_weights, self.best_file, self.raw_weights, self.raw_file)
        self._records = (self.metrics_file, *best)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists. Raises UserError where the folder holds no run."""
        folder = cls(path)
        if not folder.config_file.is_file():
            raise UserError(f"{path}: is no run folder (it has no config.yaml); name one under {RUNS}/")
        return folder

    @classmethod
    def newest(cls) -> RunFolder | None:
        """The run under runs/ that was started last and has weights, if there is one."""
        found = [cls(file.parent) for file in RUNS.glob("*/config.yaml") if (file.parent / "best.weights.h5").is_file()]
        return max(found, key=lambda run: (run.config_file.stat().st_mtime_ns, run.path.name), default=None)

    def require_new(self) -> None:
        """Raises UserError where the path is taken: no run is overwritten. What a kill left of a start is free."""
        if not self.path.exists():
            return
        names = {one.name for one in self.path.iterdir()} if self.path.is_dir() else {""}
        if self.config_file.name in names:
            raise UserError(f"{self.path}: exists; continue it with --resume or name another --run-dir")
        if any(name != LOCK and not name.startswith(PART) for name in names):
            raise UserError(f"{self.path}: exists and is no run folder (it has no config.yaml); name another --run-dir")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in the folder, which is made where it is not there.

        The kernel holds the lock: it ends with the process. A folder that gets no config in the block goes again.

        Raises:
            UserError: another process trains in it, or it cannot be made.
        """
        made = not self.path.exists()
        try:
            str(self.path.absolute()).encode()
            self.path.mkdir(parents=True, exist_ok=True)
            flush(self.path.parent)
        except UnicodeEncodeError as error:
            raise UserError(f"{self.path}: is no UTF-8, as TensorFlow needs it; name another --run-dir") from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be made: {error.strerror}; name another --run-dir") from error
        with (self.path / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{self.path}: another process trains in it; wait for its end or stop it") from error
            for torn in [*self.path.glob(f"{PART}*"), *self.pictures.glob(f"{PART}*")]:  # of a process that was killed
                torn.unlink()
            try:
                yield
            finally:
                if made and not self.config_file.exists():
                    (self.path / LOCK).unlink()
                    self.path.rmdir()

    def create(self, config: Config) -> None:
        """Writes the config of a new run into its folder. Raises UserError where the folder is taken."""
        self.require_new()
        self.path.mkdir(parents=True, exist_ok=True)
        write_file(self.config_file, dump_config(config))

    def config(self) -> Config:
        """The config of the run."""
        return load_config(self.config_file, stored=True)

    def store(self, config: Config) -> None:
        """Writes the config of a continued run, where it is another than before."""
        if changed_keys(self.config(), config):
            write_file(self.config_file, dump_config(config))

    def record_environment(self, environment: dict[str, Any]) -> None:
        """Writes what the bits of the run depend on beside its config."""
        write_file(self.environment_file, json.dumps(environment, indent=2) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, but for a last one that was cut off. Raises UserError where one is damaged."""
        lines = self.metrics_file.read_bytes().split(b"\n")[:-1] if self.metrics_file.is_file() else []
        try:
            rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
            for row in rows:
                int(row["step"])
            return rows
        except NO_RECORD as error:
            raise UserError(f"{self.metrics_file}: is damaged ({error}); resume or repeat the run") from error

    def start_clock(self) -> None:
        """From now on rows say how long the run has taken, as `run_seconds`, which goes on from the last row's.

        What came before this call is not in it, nor, of a run that was broken off, what came after its last row.
        """
        before = self.rows()[-1:]
        self._began = time.perf_counter() - (before[0].get("run_seconds", 0.0) if before else 0.0)

    def append_row(self, row: dict[str, Any]) -> None:
        """Adds a row to metrics.jsonl; fields that depend on the clock end in `_seconds` or `_per_second`.

        Raises:
            RunStoppedError: the disk does not take it.
        """
        clock = {} if self._began is None else {"run_seconds": time.perf_counter() - self._began}
        line = (json.dumps({**row, **clock}) + "\n").encode()
        try:
            with self.metrics_file.open("ab", buffering=0) as file:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            text = f"{self.metrics_file}: cannot be written: {error.strerror}; mend that and resume"
            raise RunStoppedError(text) from error

    def copy_records(self, folder: Path) -> None:
        """Copies rows and best weights, as far as there are any, into a checkpoint."""
        for file in self._records:
            if file.is_file():
                shutil.copyfile(file, folder / file.name)

    def restore_records(self, folder: Path) -> None:
        """Makes rows and best weights those of a checkpoint; what it does not hold goes."""
        for file in self._records:
            copy = folder / file.name
            if copy.is_file():
                write_file(file, copy.read_bytes())
            else:
                file.unlink(missing_ok=True)

    def best(self) -> dict[str, Any]:
        """What best.json says, once the weights are known to be those. Raises UserError where they are not."""
        if not self.best_weights.is_file() or not self.best_file.is_file():
            raise UserError(f"{self.path}: has no weights yet; train until the first evaluation (train.evaluate_steps)")
        return read_record(self.best_file, self.best_weights)


def write_record(record_file: Path, weights: Path, record: dict[str, Any]) -> None:
    """Writes what is to be known of weights: step, split and scores, with the file's size and SHA-256."""
    about = {"bytes": weights.stat().st_size, "sha256": sha256(weights)}
    write_file(record_file, json.dumps({**record, **about}, indent=2) + "\n")


def read_record(record_file: Path, weights: Path) -> dict[str, Any]:
    """What was written down about weights, once they are known to be those. Raises UserError where they are not."""
    mend = "restore both files, resume or repeat the run"
    try:
        with record_file.open("rb") as file:
            record: dict[str, Any] = json.loads(file.read(MAX_BYTES))
        size, expected, _ = record["bytes"], record["sha256"], int(record["step"])
    except NO_RECORD as error:
        raise UserError(f"{record_file}: is damaged ({error}); {mend}") from error
    if weights.stat().st_size != size or sha256(weights) != expected:
        raise UserError(f"{weights}: is damaged (its SHA-256 is not the one in {record_file.name}); {mend}")
    return record


def require_unchanged(source: Path, before: Config, now: Config, allowed: Sequence[str]) -> None:
    """Refuses to continue what `source` holds with a config that would make something else of it.

    Args:
        source: named in the error.
        before: config that it was made with.
        now: config that it is to be continued with.
        allowed: dotted keys that may differ, beside those that no weight and no score depends on.

    Raises:
        UserError: other keys differ.
    """
    keys = [key for key in changed_keys(before, now) if key not in FREE_TO_CHANGE and key not in allowed]
    if keys:
        raise UserError(
            f"{source}: was made with another {', '.join(keys)}; change that back, start a new run, or continue "
            f"all the same with {' '.join(f'--allow-changed {key}' for key in keys)}"
        )
