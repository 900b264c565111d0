"""Arguments that several commands share."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.settings import Config
from fcn.config.yaml_file import changed_keys
from fcn.errors import UserError
from fcn.inference.predictor import Variation
from fcn.inference.runtimes import ExportedModel, format_of
from fcn.runs.trained import TrainedModel


def add_model_arguments(
    command: ArgumentParser,
    default: str = "the newest under runs/, else the network that comes with fcn",
    exported: bool = False,
) -> None:
    """Adds --run and --weights, which name the trained network to use; `default` says which it is without them.

    With `exported`, also --model, which `find_model` knows as well.
    """
    source = command.add_mutually_exclusive_group()
    run_help = f"folder of the run; {default}"
    source.add_argument("--run", type=Path, metavar="DIR", help=run_help)
    weights_help = "a file NAME.weights.h5 with its config NAME.yaml next to it, instead of a run"
    source.add_argument("--weights", type=Path, metavar="FILE", help=weights_help)
    if exported:
        model_help = "a file that `fcn export` wrote, run without TensorFlow (a SavedModel with it)"
        source.add_argument("--model", type=Path, metavar="FILE", help=model_help)


def find_model(arguments: Namespace, real_frames: bool = False) -> TrainedModel | ExportedModel:
    """The network that the arguments name (`TrainedModel.find`, `ExportedModel.open`); imports TensorFlow if needed."""
    if arguments.model is not None:
        if format_of(arguments.model) == "saved_model":
            import_tensorflow()
        return ExportedModel.open(arguments.model)
    return TrainedModel.find(arguments.run, arguments.weights, real_frames=real_frames)


def add_set_argument(command: ArgumentParser, example: str) -> None:
    """Adds --set KEY=VALUE, which may be given several times."""
    text = f"override one setting, for example {example}"
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)


def add_tta_argument(command: ArgumentParser) -> None:
    """Adds --tta, whose value `tta_of` reads."""
    text = "test-time augmentation: average over the mirror image (flip), three sizes (scales), or both (flip,scales)"
    command.add_argument("--tta", default="", metavar="flip,scales", help=text)


def tta_of(text: str) -> tuple[Variation, ...]:
    """The value of --tta; UserError for another word."""
    names: dict[str, Variation] = {name: name for name in get_args(Variation)}
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if word not in names:
            raise UserError(f"--tta {text}: {word!r} is not one of {', '.join(names)}; join both by a comma")
    return tuple(names[word] for word in words)


def config_with_data(trained: TrainedModel | ExportedModel, overrides: Sequence[str]) -> Config:
    """The config of a trained network with overrides of data.*; UserError for one of another section."""
    config = trained.config(overrides)
    for key in changed_keys(trained.config(), config):
        if not key.startswith("data."):
            raise UserError(f"--set {key}: is a setting of the training; only data.* can be changed here")
    return config


def size_of(text: str) -> tuple[int, int]:
    """The value H,W of --size as (height, width) in pixels; UserError for another text."""
    match = re.fullmatch(r"([1-9][0-9]{0,4}),([1-9][0-9]{0,4})", text)
    if not match:
        raise UserError(f"--size {text}: is not a size; name height and width in pixels, such as --size 360,480")
    return int(match[1]), int(match[2])
