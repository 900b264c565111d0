"""The command line: `fcn COMMAND`. One module a command: arguments -> one library call -> where the result lies."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from fcn.commands import (
    check_data,
    evaluate,
    explain_layers,
    fetch_data,
    infer,
    plot_runs,
    submit_kitti,
    train,
)
from fcn.errors import exit_with

COMMANDS = {
    "train": train,
    "infer": infer,
    "evaluate": evaluate,
    "check-data": check_data,
    "fetch-data": fetch_data,
    "explain-layers": explain_layers,
    "submit-kitti": submit_kitti,
    "plot-runs": plot_runs,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses holds the command's function as `call`."""
    parser = argparse.ArgumentParser(prog="fcn", description="Train and run small fully convolutional networks.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, description=module.__doc__, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(call=module.run)
    return parser


def main(*words: str) -> None:
    """Runs the command that `words` and then the process's own arguments name, and ends the process.

    Exit status as `exit_with` has it; 2 for arguments that cannot be parsed.
    """
    arguments = build_parser().parse_args([*words, *sys.argv[1:]])
    exit_with(partial(arguments.call, arguments))
