"""A trained network on disk: its weights and, next to them, its config and the record of its scores."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from fcn.config.settings import Config, ModelConfig
from fcn.config.yaml_file import load_config
from fcn.errors import UserError, printable
from fcn.files import read_file, sha256, write_file
from fcn.runs.log import INVALID_JSON
from fcn.runs.paths import RUNS, existing_run, trained_runs

SHIPPED = Path(__file__).parents[1] / "pretrained" / "camvid.weights.h5"
ENDING = ".weights.h5"
MAX_WEIGHTS_BYTES = 2**32  # twice the largest network that a config can describe
MAX_RECORD_BYTES = 2**22  # a confusion matrix of 255 classes has a third of it
IDENTITY = (  # settings that say what network it is and what its channels mean
    *("data.kind", "data.labels", "data.kitti_truth", "data.class_names", "data.class_colors", "data.road_classes"),
    *("data.mask_kind", "data.mask_values", "data.ignore_values", "data.ignore_colors"),
    *("model.encoder", "model.width", "model.batch_norm", "model.head_window", "model.head_units"),
    *("model.stride", "model.skips", "model.skip_scale", "model.preprocessing"),
)
HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of a file
MAX_SHOWN = 40  # characters of a value that has changed
WAITS = (0.0, 0.1, 0.3, 0.6, 1.0, 3.0)  # seconds before each reading of weights and record


@dataclass(frozen=True)
class TrainedModel:
    """A trained network whose files exist and whose weights match their record, if there is one.

    The record is that of `content`, also while a run that trains replaces both files.
    """

    weights: Path
    content: bytes = field(repr=False)  # of the file of weights
    config_file: Path
    record: dict[str, Any]  # step, split and scores of the weights; empty without a record
    outputs: Path  # default folder for masks and overlays
    reason: str = ""  # why it was taken where the user named none

    @classmethod
    def of_run(cls, path: Path) -> TrainedModel:
        """The best weights of a run. Raises UserError if there is no run or its weights are missing or damaged."""
        run = existing_run(path)
        if not run.best_weights.is_file() or not run.best_record.is_file():
            raise UserError(f"{path}: has no weights yet; train until the first evaluation (train.evaluate_steps)")
        content, record = read_weights(run.best_weights, run.best_record)
        return cls(
            weights=run.best_weights, content=content, config_file=run.config, record=record, outputs=path / "inference"
        )

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
        if record_file.is_file():
            content, record = read_weights(path, record_file)
        else:
            content, record = read_file(path, MAX_WEIGHTS_BYTES), {}
        return cls(weights=path, content=content, config_file=configs[0], record=record, outputs=Path("inference"))

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

    def changes(self) -> list[str]:
        """A line for each setting, version or other thing that changed where the run was continued."""
        try:
            return [
                f"step {int(row['step'])}: {describe_change(name, values)}"
                for row in self.record.get("changes", [])
                for name, values in row["changed"].items()
            ]
        except (*INVALID_JSON, AttributeError) as error:
            raise UserError(f"{self.weights}: its record names the changes of the run wrongly; restore it") from error

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """The config that the network is built from, then the overrides KEY=VALUE.

        Raises UserError if, by the record, the weights are of another config.
        """
        config = load_config(self.config_file, stored=True)
        now = settings_of_weights(config)
        for key, trained in self.record.get("config", {}).items():  # version 0.1 recorded none
            if key in now and now[key] != trained:
                was = f"{self.weights.name} was trained with {trained}"
                raise UserError(f"{self.config_file}: {key}: {now[key]}; {was}: restore the config of the weights")
        return load_config(self.config_file, overrides, stored=True) if overrides else config

    def description(self) -> str:
        """File of the weights, their step if known, and why they were taken if the user named none, in one line."""
        step = f"step {self.record['step']}" if self.record else ""
        details = ", ".join(filter(None, (step, self.reason)))
        return printable(f"{self.weights} ({details})" if details else str(self.weights))


def settings_of_weights(config: Config) -> dict[str, Any]:
    """The settings without which weights mean something else: dotted key -> value as JSON has it."""
    return {key: json.loads(json.dumps(attrgetter(key)(config))) for key in IDENTITY}


def describe_change(name: str, values: list[Any]) -> str:
    """In words, that a run was continued with another setting or environment; of long values the beginning."""
    before, now = (text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..." for text in map(str, values))
    return printable(f"continued with {name} {now} instead of {before}")


class InitialWeights(NamedTuple):
    """Weights to start from, read but not yet checked against a network."""

    path: Path
    content: bytes | None  # None for `imagenet`: Keras downloads it
    config: Config | None  # of weights of fcn; None for a file of Keras


def find_initial_weights(config: ModelConfig) -> InitialWeights | None:
    """What `initial_weights` names; None for `none`. Raises UserError if it is missing or damaged."""
    name = config.initial_weights
    if name == "none":
        return None
    if name == "imagenet":
        return InitialWeights(Path(name), content=None, config=None)
    path = SHIPPED if name == "camvid" else Path(name)
    stem = path.name.removesuffix(ENDING)
    is_run = path.is_dir()
    # a config.yaml next to another file may be of something else
    config_name = "config.yaml" if path.name == "best.weights.h5" else f"{stem}.yaml"
    if is_run or (path.name.endswith(ENDING) and path.with_name(config_name).is_file()):
        trained = TrainedModel.of_run(path) if is_run else TrainedModel.of_weights(path)
        theirs = trained.config()
        for key in ("encoder", "width", "batch_norm", "preprocessing"):
            value = getattr(theirs.model, key)
            if value != getattr(config, key):
                raise UserError(f"{trained.weights}: is of another network; set model.{key}: {str(value).lower()}")
        return InitialWeights(trained.weights, trained.content, theirs)
    fix = "set model.initial_weights to camvid, imagenet, a run, or a file of weights that fcn or Keras saved"
    content = read_file(path, MAX_WEIGHTS_BYTES, fix)
    if not content.startswith(HDF5):
        raise UserError(f"{path}: is not HDF5; {fix}")
    return InitialWeights(path, content, config=None)


def write_record(record_file: Path, weights: Path, record: dict[str, Any]) -> None:
    """Writes what is known about weights (step, split, scores), with the size and SHA-256 of their file."""
    about = {"bytes": weights.stat().st_size, "sha256": sha256(weights)}
    write_file(record_file, json.dumps({**record, **about}, indent=2) + "\n")


def read_weights(weights: Path, record_file: Path) -> tuple[bytes, dict[str, Any]]:
    """The content of a file of weights and its record.

    A run that trains replaces the two files one after the other, so both are read again for five seconds until they
    match. Raises UserError if one cannot be read, the record is damaged, or the weights are not those it describes.
    """
    fix = "restore both files, or resume or repeat the run"
    for wait in WAITS:
        time.sleep(wait)
        content = read_file(weights, MAX_WEIGHTS_BYTES, fix)
        try:
            record: dict[str, Any] = json.loads(read_file(record_file, MAX_RECORD_BYTES, fix))
            if type(record["step"]) is not int:
                raise ValueError(f"step {record['step']}")
            {**record.get("config", {})}
            if record["bytes"] == len(content) and record["sha256"] == hashlib.sha256(content).hexdigest():
                return content, record
        except INVALID_JSON as error:
            raise UserError(f"{record_file}: is damaged ({error}); {fix}") from error
    raise UserError(f"{weights}: is damaged (its SHA-256 is not the one in {record_file.name}); {fix}")
