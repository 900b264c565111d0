"""The folder of a run: what lies where in it, and the rows and scores that are written into it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from fcn.config import Config
from fcn.configfile import changed_keys, dump_config, load_config
from fcn.errors import UserError
from fcn.files import PART, sha256, write_file

RUNS = Path("runs")
PACKAGES = ("tensorflow", "keras", "numpy", "pillow")


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
        """The config that the run was started with."""
        return load_config(self.config_file)

    def require(self, config: Config) -> None:
        """Raises UserError where `config` is not the run's own: what was trained so far would be something else."""
        keys = changed_keys(self.config(), config)
        if keys:
            changed = ", ".join(keys)
            raise UserError(f"{self.path}: was started with another {changed}; change it back, or start a new run")

    def start(self, devices: list[str], data_fingerprint: str) -> list[str]:
        """Makes the folders in it and records what the bits of a run depend on beside its config.

        Args:
            devices: names of those that TensorFlow sees.
            data_fingerprint: of the frames, as `datasets.open_for_training` gives it.

        Returns:
            What a run that is continued was started with another of; its bits will not be those of a straight run.
        """
        for folder in (self.checkpoints, self.pictures):
            folder.mkdir(exist_ok=True)
        record = {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
            "processor": _processor(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "threads": len(os.sched_getaffinity(0)),
            "devices": devices,
            "data_fingerprint": data_fingerprint,
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
            "commit": _commit(),
        }
        if self.environment_file.is_file():
            first = json.loads(self.environment_file.read_text(encoding="utf-8"))
            return [key for key in record if key != "commit" and first.get(key) != record[key]]
        write_file(self.environment_file, json.dumps(record, indent=2) + "\n")
        return []

    def append_row(self, row: dict[str, Any]) -> None:
        """Adds a row to metrics.jsonl; fields that depend on the clock end in `_seconds` or `_per_second`."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """The whole rows of metrics.jsonl; one cut off at the end is left out. UserError for a damaged one."""
        if not self.metrics_file.is_file():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8").splitlines(keepends=True)
        try:
            return [json.loads(line) for line in lines if line.endswith("\n")]
        except ValueError as error:
            raise UserError(f"{self.metrics_file}: holds a damaged row ({error}); remove that line") from error

    def cut_rows(self, step: int, evaluated: int) -> None:
        """Removes the rows beyond a step, and the evaluations beyond another: a resumed run writes them again."""
        rows = (row for row in self.rows() if row["step"] <= (evaluated if "miou" in row else step))
        kept = [json.dumps(row) + "\n" for row in rows]
        write_file(self.metrics_file, "".join(kept))

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


def _processor() -> str:
    """Model name of the processor; oneDNN chooses its kernels, and so the last bits, by it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """Commit of the checkout that this file lies in, None outside of one."""
    git = ("git", "rev-parse", "HEAD")
    try:
        done = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
