"""The directory of a run: where its files lie, that it is new, that one process writes in it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.errors import RunStoppedError, UserError
from fcn.files import PART, flush

RUNS = Path("runs")


class RunPaths:
    """The files of a run in a directory, which need not exist."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.config = directory / "config.yaml"  # the effective config, written before the first step
        self.environment = directory / "environment.json"  # versions, processor, threads, data fingerprint, commit
        self.lock = directory / "lock"  # held by the process that trains
        self.metrics = directory / "metrics.jsonl"  # one row for each log or evaluation, each with `step`
        self.checkpoints = directory / "checkpoints"  # what --resume continues from
        self.best_weights = directory / "best.weights.h5"  # of the best evaluation
        self.best_record = directory / "best.json"  # step and scores of these weights, their size and SHA-256
        self.report = directory / "report.html"  # the page to look at, written at the end; its figures are report.json
        self.tensorboard = directory / "tensorboard"  # what TensorBoard shows (train.tensorboard)
        self.pictures = directory / "pictures"  # image, ground truth and prediction of a few validation frames

    def has_begun(self) -> bool:
        """Whether there is a trace of training: all of them are written after the first checkpoint."""
        traces = (self.environment, self.metrics, self.best_weights, self.best_record, *self.pictures.glob("*"))
        return any(trace.exists() for trace in traces)

    def load_config(self) -> Config:
        """The config of the run."""
        return load_config(self.config, stored=True)


def existing_run(directory: Path) -> RunPaths:
    """The run in a directory. Raises UserError if there is none."""
    run = RunPaths(directory)
    if not run.config.is_file():
        raise UserError(f"{directory}: is not a run (it has no config.yaml); name a directory under {RUNS}/")
    return run


def trained_runs() -> list[RunPaths]:
    """Runs under runs/ that have weights, the one started last first."""
    runs = [RunPaths(file.parent) for file in RUNS.glob("*/config.yaml")]
    trained = [run for run in runs if run.best_weights.is_file()]
    return sorted(trained, key=lambda run: (run.config.stat().st_mtime_ns, run.directory.name), reverse=True)


def require_new(run: RunPaths) -> None:
    """Raises UserError if the directory is taken. Leftovers of a killed start are ignored."""
    directory = run.directory
    if not directory.exists():
        return
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else {""}
    if run.config.name in names:
        raise UserError(f"{directory}: exists; continue it with --resume, or name another --run-dir")
    if any(name != run.lock.name and not name.startswith(PART) for name in names):
        raise UserError(f"{directory}: exists and is not a run (it has no config.yaml); name another --run-dir")


def open_lock(path: Path) -> FileIO:
    """Opens the file of a lock, which is made if it does not exist. Raises UserError if a link or pipe is there."""
    try:
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, mode=0o666), "r+")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened: {error.strerror}; remove it") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path}: is a pipe or device; remove it")
    return file


@contextmanager
def locked(run: RunPaths) -> Iterator[Callable[[], None]]:
    """Keeps other processes from training in the directory, which is made if it does not exist.

    The kernel holds the lock: it ends with the process. A directory that has no config after the block is removed.
    Yields a function that raises RunStoppedError if the lock's file was deleted, so that others can train here, too.

    Raises:
        UserError: Another process trains in it, or it cannot be made or locked.
    """
    directory = run.directory
    is_new = not directory.exists()
    try:
        str(directory.absolute()).encode()
        directory.mkdir(parents=True, exist_ok=True)
        flush(directory.parent)
    except UnicodeEncodeError as error:
        raise UserError(f"{directory}: is not UTF-8, which TensorFlow needs; name another --run-dir") from error
    except OSError as error:
        raise UserError(f"{directory}: cannot be made: {error.strerror}; name another --run-dir") from error
    with open_lock(run.lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{directory}: another process trains in it; wait until it ends, or stop it") from error
        except OSError as error:  # some network file systems have none
            reason = f"cannot be locked: {error.strerror}"
            raise UserError(f"{directory}: {reason}; name a --run-dir on another file system") from error
        for part in [*directory.glob(f"{PART}*"), *run.pictures.glob(f"{PART}*")]:  # of a process that was killed
            part.unlink()

        def require_lock() -> None:
            if not run.lock.exists() or not os.path.samestat(run.lock.stat(), os.fstat(file.fileno())):
                line = "its lock was deleted, and another process may train in it; stop that, then resume"
                raise RunStoppedError(f"{directory}: {line}")

        try:
            yield require_lock
        finally:
            if is_new and not run.config.exists():
                run.lock.unlink()
                directory.rmdir()
