"""A trained network on disk: its weights, and beside them its config and the record of its scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.errors import UserError, print_error
from fcn.files import sha256, write_file
from fcn.runs.log import INVALID_JSON
from fcn.runs.paths import RUNS, RunPaths, existing_run, trained_runs

SHIPPED = Path(__file__).parents[1] / "pretrained" / "camvid.weights.h5"
SHIPPED_HEIGHT = 360  # pixels of the frames that it learned from
ENDING = ".weights.h5"
MAX_RECORD_BYTES = 2**20  # a record has a few lines a class


@dataclass(frozen=True)
class TrainedModel:
    """A trained network whose files are there, and whose weights are those of the record, if there is one.

    Attributes:
        weights: file of the weights.
        config_file: config of the run that they are from.
        record: what was written down with them: step, split, scores; empty where nothing was.
        outputs: folder for what is inferred.
        max_height: a higher image is segmented at this height, in pixels, where the user names none; None for no limit.
    """

    weights: Path
    config_file: Path
    record: dict[str, Any]
    outputs: Path
    max_height: int | None = None

    @classmethod
    def of_run(cls, path: Path) -> TrainedModel:
        """The best weights of a run. Raises UserError where there is no run, or its weights are missing or damaged."""
        run = existing_run(path)
        return cls(run.best_weights, run.config, read_best(run), path / "inference")

    @classmethod
    def of_weights(cls, path: Path) -> TrainedModel:
        """A file NAME.weights.h5 with its config, NAME.yaml or config.yaml, beside it, and NAME.json if there is one.

        Raises:
            UserError: a file is missing, or the weights are not those that NAME.json is about.
        """
        if not path.name.endswith(ENDING) or not path.is_file():
            raise UserError(f"{path}: is no file NAME{ENDING}; name the best{ENDING} of a run, or a run with --run")
        stem = path.name.removesuffix(ENDING)
        config_file = next(
            (file for file in (path.with_name(f"{stem}.yaml"), path.with_name("config.yaml")) if file.is_file()), None
        )
        if config_file is None:
            raise UserError(
                f"{path}: lacks {stem}.yaml beside it, the config of the run; copy the run's config.yaml there"
            )
        record_file = path.with_name(f"{stem}.json")
        record = read_record(record_file, path) if record_file.is_file() else {}
        return cls(path, config_file, record, Path("inference"))

    @classmethod
    def find(cls, run: Path | None = None, weights: Path | None = None, shipped: bool = True) -> TrainedModel:
        """What the user names; else the newest run under runs/; where there is none, what comes with fcn, if `shipped`.

        Raises:
            UserError: what is named is missing or damaged, or nothing is found.
        """
        if weights is not None:
            return cls.of_weights(weights)
        if run is not None:
            return cls.of_run(run)
        runs = trained_runs()
        if runs:
            return cls.of_run(runs[0].directory)
        if not shipped:
            raise UserError(f"{RUNS}/: holds no trained run; start one with `python scripts/train.py`, or name a --run")
        print_error(f"{RUNS}/: holds no trained run; taking {SHIPPED}, which knows frames of about 360 x 480 pixels")
        return replace(cls.of_weights(SHIPPED), max_height=SHIPPED_HEIGHT)

    def config(self) -> Config:
        """The config that the network is built from."""
        return load_config(self.config_file, stored=True)


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
