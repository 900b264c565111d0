"""The command line: `fcn COMMAND`. One module a command: arguments -> one library call -> where the result lies."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from fcn.errors import exit_with

COMMANDS = (
    *("train", "infer", "evaluate", "check-data"),
    *("fetch-data", "explain-layers", "submit-kitti", "plot-runs"),
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses holds the command's function as `call`."""
    parser = argparse.ArgumentParser(prog="fcn", description="Train and run small fully convolutional networks.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = import_module(f"fcn.commands.{name.replace('-', '_')}")
        command = commands.add_parser(name, description=module.__doc__, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(call=module.run)
    return parser


def main(*words: str) -> None:
    """Runs the command that `words` and then the process's own arguments name, and ends the process.

    Exit status as `exit_with` has it; 2 for arguments that cannot be parsed.
    """
    open_closed_streams()

    def run() -> int | None:  # imports all commands, which Ctrl-C may interrupt as well
        arguments = build_parser().parse_args([*words, *sys.argv[1:]])
        status: int | None = arguments.call(arguments)
        return status

    exit_with(run)


def open_closed_streams() -> None:
    """Opens /dev/null in place of closed standard streams, or the next files would get their numbers and their text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
