"""Arguments that several commands share."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path


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
