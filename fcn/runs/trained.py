"""A trained network on disk: its weights and, next to them, its config and the record of its scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.errors import UserError, printable
from fcn.files import sha256, write_file
from fcn.runs.log import INVALID_JSON
from fcn.runs.paths import RUNS, RunPaths, existing_run, trained_runs

SHIPPED = Path(__file__).parents[1] / "pretrained" / "camvid.weights.h5"
ENDING = ".weights.h5"
MAX_RECORD_BYTES = 2**20  # a record has a few lines a class


@dataclass(frozen=True)
class TrainedModel:
    """A trained network whose files exist and whose weights match their record, if there is one."""

    weights: Path
    config_file: Path
    record: dict[str, Any]  # step, split and scores of the weights; empty without a record
    outputs: Path  # default folder for masks and overlays
    reason: str = ""  # why it was taken where the user named none

    @classmethod
    def of_run(cls, path: Path) -> TrainedModel:
        """The best weights of a run. Raises UserError if there is no run or its weights are missing or damaged."""
        run = existing_run(path)
        return cls(run.best_weights, run.config, read_best(run), path / "inference")

    @classmethod
    def of_weights(cls, path: Path) -> TrainedModel:
        """A file NAME.weights.h5 with its config NAME.yaml or config.yaml next to it, and NAME.json if it exists.

        Raises:
            UserError: A file is missing, or the weights do not match NAME.json.
        """
        if not path.name.endswith(ENDING) or not path.is_file():
            raise UserError(f"{path}: is not a file NAME{ENDING}; name the best{ENDING} of a run, or a run with --run")
        stem = path.name.removesuffix(ENDING)
        configs = [path.with_name(name) for name in (f"{stem}.yaml", "config.yaml") if path.with_name(name).is_file()]
        if not configs:
            raise UserError(f"{path}: has no {stem}.yaml next to it; copy the config.yaml of its run there")
        record_file = path.with_name(f"{stem}.json")
        record = read_record(record_file, path) if record_file.is_file() else {}
        return cls(path, configs[0], record, Path("inference"))

    @classmethod
    def find(
        cls, run: Path | None = None, weights: Path | None = None, shipped: bool = True, real_frames: bool = False
    ) -> TrainedModel:
        """The run or weights that the user names, else the newest run under runs/, else the network shipped with fcn.

        `shipped` says whether the last may be taken. `real_frames` leaves out runs on synthetic frames, which do
        not work on photos. Raises UserError if what is named is missing or damaged, or nothing is found.
        """
        if weights is not None:
            return cls.of_weights(weights)
        if run is not None:
            return cls.of_run(run)
        for newest in trained_runs():
            if not real_frames:
                return replace(cls.of_run(newest.directory), reason="newest run")
            if newest.load_config().data.kind != "synthetic":
                return replace(cls.of_run(newest.directory), reason="newest run on real frames")
        if shipped:
            return replace(cls.of_weights(SHIPPED), reason="the network that comes with fcn")
        raise UserError(f"{RUNS}/: holds no trained run; start one with `fcn train`, or name a --run")

    @property
    def frame_height(self) -> int | None:
        """Height in pixels of the training frames; None where the record lacks it, as in version 0.1."""
        height = self.record.get("frame_height")
        return height if isinstance(height, int) and height > 0 else None

    def config(self) -> Config:
        """The config that the network is built from."""
        return load_config(self.config_file, stored=True)

    def description(self) -> str:
        """File of the weights, their step if known, and why they were taken if the user named none, in one line."""
        step = f"step {self.record['step']}" if self.record else ""
        details = ", ".join(filter(None, (step, self.reason)))
        return printable(f"{self.weights} ({details})" if details else str(self.weights))


def write_record(record_file: Path, weights: Path, record: dict[str, Any]) -> None:
    """Writes what is known about weights (step, split, scores), with the size and SHA-256 of their file."""
    about = {"bytes": weights.stat().st_size, "sha256": sha256(weights)}
    write_file(record_file, json.dumps({**record, **about}, indent=2) + "\n")


def read_record(record_file: Path, weights: Path) -> dict[str, Any]:
    """The record of weights. Raises UserError if it is damaged, or the weights are not those that it describes."""
    fix = "restore both files, or resume or repeat the run"
    try:
        with record_file.open("rb") as file:
            record: dict[str, Any] = json.loads(file.read(MAX_RECORD_BYTES))
        size = record["bytes"]
        expected = record["sha256"]
        int(record["step"])
    except INVALID_JSON as error:
        raise UserError(f"{record_file}: is damaged ({error}); {fix}") from error
    if weights.stat().st_size != size or sha256(weights) != expected:
        raise UserError(f"{weights}: is damaged (its SHA-256 is not the one in {record_file.name}); {fix}")
    return record


def read_best(run: RunPaths) -> dict[str, Any]:
    """The record of a run's best weights. Raises UserError if there are none, or they are damaged."""
    if not run.best_weights.is_file() or not run.best_record.is_file():
        raise UserError(f"{run.directory}: has no weights yet; train until the first evaluation (train.evaluate_steps)")
    return read_record(run.best_record, run.best_weights)
