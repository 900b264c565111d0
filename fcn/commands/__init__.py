"""The command line: `fcn COMMAND`. One module a command: arguments -> one library call -> where the result lies."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from fcn.errors import exit_with, print_error


def main(*words: str) -> None:
    """Runs the command that `words` and then the process's own arguments name, and ends the process.

    Exit status as `exit_with` has it; 2 for arguments that cannot be parsed.
    """
    open_closed_streams()

    def run() -> int | None:
        handler = signal.getsignal(signal.SIGINT)
        if handler is signal.default_int_handler:  # not in the background, where Ctrl-C is ignored
            signal.signal(signal.SIGINT, quit_importing)
        from fcn.commands.parser import build_parser  # imports all commands

        signal.signal(signal.SIGINT, handler)
        arguments = build_parser().parse_args([*words, *sys.argv[1:]])
        status: int | None = arguments.call(arguments)
        return status

    exit_with(run)


def quit_importing(number: int, _: FrameType | None) -> None:
    """Ends the process at Ctrl-C; the KeyboardInterrupt of Python is lost if an extension module is being imported."""
    print_error("interrupted")
    os._exit(128 + number)


def open_closed_streams() -> None:
    """Opens /dev/null in place of closed standard streams, or the next files would get their numbers and their text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
