"""A trained network on disk: its weights, and beside them its config and the record of its scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcn.config.settings import Config
from fcn.config.yaml_file import load_config
from fcn.errors import UserError, print_error
from fcn.runs.paths import RUNS, RunFolder, read_record

SHIPPED = Path(__file__).parents[1] / "pretrained" / "camvid.weights.h5"
SHIPPED_HEIGHT = 360  # pixels of the frames that it learned from
ENDING = ".weights.h5"


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
        folder = RunFolder.open(path)
        return cls(folder.best_weights, folder.config_file, folder.best(), folder.path / "inference")

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
        if newest := RunFolder.newest():
            return cls.of_run(newest.path)
        if not shipped:
            raise UserError(f"{RUNS}/: holds no trained run; start one with `python scripts/train.py`, or name a --run")
        print_error(f"{RUNS}/: holds no trained run; taking {SHIPPED}, which knows frames of about 360 x 480 pixels")
        return replace(cls.of_weights(SHIPPED), max_height=SHIPPED_HEIGHT)

    def config(self) -> Config:
        """The config that the network is built from."""
        return load_config(self.config_file, stored=True)
