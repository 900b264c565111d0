"""What can go wrong without being a bug of fcn, and the exit status of each."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def printable(text: str) -> str:
    """Text of one line that shows what it says: control and bidi characters and the like of a name as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def print_error(text: object) -> None:
    """Prints on stderr. Nothing is lost where nobody can read it: the reader has left, its disk is full."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class UserError(Exception):
    """Mistakes of the user's, a line each: the thing, what was got, the rule, the mend."""

    def __init__(self, *lines: str):
        super().__init__("\n".join(map(printable, lines)))


class ConfigError(UserError):
    """Settings that break their rules.

    Attributes:
        problems: dotted key -> what is wrong with its value and how to mend it.
    """

    def __init__(self, problems: dict[str, str]):
        self.problems = problems
        super().__init__(*(f"{key}: {text}" for key, text in problems.items()))


class RunStoppedError(Exception):
    """A run that cannot go on, in one line: non-finite numbers, a full disk, no whole checkpoint."""

    def __init__(self, line: str):
        super().__init__(printable(line))


class RunInterruptedError(Exception):
    """A run that was told to stop and has saved its state.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__("interrupted; the run is saved: continue it with --resume")


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Runs a script's `main` and ends the process with the status that its outcome has.

    0 (or what `main` returns) done, 2 a mistake of the user's (a file that cannot be read or written is one), 3 the run
    cannot go on, 128 + its number after a signal. Anything else is a bug: it keeps its traceback and Python's status 1.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are no UTF-8; stderr is set so
    try:
        status = main() or 0
    except UserError as error:
        print_error(error)
        status = 2
    except RunStoppedError as error:
        print_error(error)
        status = 3
    except RunInterruptedError as error:
        print_error(error)
        status = 128 + error.number
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        if error.errno in DISK_FULL:
            print_error(
                printable(f"{error.filename or 'output'}: the disk is full; free some space and repeat or resume")
            )
            status = 3
        elif error.filename is not None:
            print_error(printable(f"{error.filename}: {error.strerror}; check the name and its permissions"))
            status = 2
        else:
            raise
    except KeyboardInterrupt:
        print_error("interrupted")
        status = 130
    sys.exit(status)
