"""Arguments that several commands share."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import get_args

from fcn.errors import UserError
from fcn.inference.predictor import Variation


def add_model_arguments(
    command: ArgumentParser, default: str = "the newest under runs/, else the network that comes with fcn"
) -> None:
    """Adds --run and --weights, which name the trained network to use; `default` says which it is without them."""
    source = command.add_mutually_exclusive_group()
    run_help = f"folder of the run; {default}"
    source.add_argument("--run", type=Path, metavar="DIR", help=run_help)
    weights_help = "a file NAME.weights.h5 with its config NAME.yaml next to it, instead of a run"
    source.add_argument("--weights", type=Path, metavar="FILE", help=weights_help)


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
