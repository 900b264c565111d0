"""The folder of a run: what lies where in it, and the rows and scores that are written into it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcn.config import Config
from fcn.configfile import changed_keys, dump_config, load_config
from fcn.errors import RunStoppedError, UserError
from fcn.files import PART, flush, sha256, write_file

RUNS = Path("runs")

FREE_TO_CHANGE = {  # in a continued run: neither weights nor scores depend on them
    "data.root",  # the frames themselves are compared
    "data.cache_megabytes",
    "data.max_megapixels",
    "train.log_steps",
    "train.checkpoint_steps",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "train.pictures",
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
        self.pictures = path / "pictures"

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists. Raises UserError where the folder holds no run."""
        folder = cls(path)
        if not folder.config_file.is_file():
            raise UserError(f"{path}: is no run folder (it has no config.yaml); name one under {RUNS}/")
        return folder

    @classmethod
    def newest(cls) -> RunFolder:
        """The run under runs/ that was started last and has weights. Raises UserError where there is none."""
        found = [cls(file.parent) for file in RUNS.glob("*/config.yaml") if (file.parent / "best.weights.h5").is_file()]
        if not found:
            raise UserError(
                f"{RUNS}/: holds no trained run; start one with `python scripts/train.py`, or name one with --run"
            )
        return max(found, key=lambda folder: (folder.config_file.stat().st_mtime_ns, folder.path.name))

    def require_new(self) -> None:
        """Raises UserError where the path is taken: no run is overwritten. A folder with nothing in it is free."""
        if not self.path.exists():
            return
        if not self.path.is_dir() or any(not one.name.startswith(PART) for one in self.path.iterdir()):
            raise UserError(f"{self.path}: exists; continue it with --resume or name another --run-dir")

    def create(self, config: Config) -> None:
        """Makes the folder with its config. Raises UserError where it exists or cannot be made."""
        self.require_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be made: {error.strerror}; name another --run-dir") from error
        write_file(self.config_file, dump_config(config))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in the folder. The kernel holds the lock: it ends with the process.

        Raises:
            UserError: another process trains in it.
        """
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{self.path}: another process trains in it; wait for its end or stop it") from error
            yield

    def config(self) -> Config:
        """The config of the run."""
        return load_config(self.config_file)

    def store(self, config: Config) -> None:
        """Writes the config of a continued run, where it is another than before."""
        if changed_keys(self.config(), config):
            write_file(self.config_file, dump_config(config))

    def record_environment(self, environment: dict[str, Any]) -> None:
        """Writes what the bits of the run depend on beside its config."""
        write_file(self.environment_file, json.dumps(environment, indent=2) + "\n")

    def append_row(self, row: dict[str, Any]) -> None:
        """Adds a row to metrics.jsonl; fields that depend on the clock end in `_seconds` or `_per_second`."""
        line = (json.dumps(row) + "\n").encode()
        try:
            with self.metrics_file.open("ab", buffering=0) as file:
                complete = file.write(line) == len(line)
        except OSError as error:
            raise RunStoppedError(
                f"{self.metrics_file}: cannot be written: {error.strerror}; resume the run"
            ) from error
        if not complete:
            raise RunStoppedError(f"{self.metrics_file}: the disk is full; free some space and resume")

    def rows(self) -> list[dict[str, Any]]:
        """The whole rows of metrics.jsonl; one cut off at the end is left out. UserError for a damaged one."""
        if not self.metrics_file.is_file():
            return []
        lines = self.metrics_file.read_bytes().splitlines(keepends=True)
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line) if line.endswith(b"\n") else {"step": -1}
                if row["step"] >= 0:
                    rows.append(row)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{self.metrics_file}:{number}: is a damaged row ({error}); remove the line") from error
        return rows

    def cut_rows(self, step: int, evaluated: int) -> None:
        """Removes the rows beyond a step, and the evaluations beyond another: a resumed run writes them again."""
        rows = (row for row in self.rows() if row["step"] <= (evaluated if "miou" in row else step))
        kept = [json.dumps(row) + "\n" for row in rows]
        write_file(self.metrics_file, "".join(kept))

    def flush_rows(self) -> None:
        """Waits until the disk has the rows: a checkpoint must not be older than what it cuts to."""
        flush(self.metrics_file)

    def record_best(self, record: dict[str, Any]) -> None:
        """Writes best.json for the weights just saved: step, split and scores, with the weights' SHA-256."""
        write_file(self.best_file, json.dumps({**record, "sha256": sha256(self.best_weights)}, indent=2) + "\n")

    def best(self) -> dict[str, Any]:
        """What best.json says, once the weights are known to be those. Raises UserError where they are not."""
        if not self.best_weights.is_file() or not self.best_file.is_file():
            raise UserError(f"{self.path}: has no weights yet; train until the first evaluation (train.evaluate_steps)")
        try:
            record: dict[str, Any] = json.loads(self.best_file.read_bytes())
            expected = record["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.best_file}: is damaged ({error}); resume or repeat the run") from error
        if sha256(self.best_weights) != expected:
            raise UserError(
                f"{self.best_weights}: is damaged (its SHA-256 is not the one in best.json); resume or repeat the run"
            )
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
