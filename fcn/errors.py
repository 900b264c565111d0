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
    """The text in one line, with control and bidirectional characters as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def print_error(text: object) -> None:
    """Prints on stderr; ignores that nobody can read it."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class UserError(Exception):
    """Mistakes of the user, one line each: the thing, what was got, the rule, the fix."""

    status = 2

    def __init__(self, *lines: str):
        super().__init__("\n".join(map(printable, lines)))


class ConfigError(UserError):
    """Settings that break their rules. `problems` maps dotted keys to what is wrong and how to fix it."""

    def __init__(self, problems: dict[str, str]):
        self.problems = problems
        super().__init__(*(f"{key}: {text}" for key, text in problems.items()))


class RunStoppedError(Exception):
    """A run that cannot continue, in one line: non-finite numbers, a full disk, no valid checkpoint."""

    status = 3

    def __init__(self, line: str):
        super().__init__(printable(line))


class RunInterruptedError(Exception):
    """A run that got the signal `number` and has saved its state."""

    def __init__(self, number: int):
        self.number = number
        self.status = 128 + number
        super().__init__("interrupted; the run is saved: continue it with --resume")


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command and ends the process.

    Status 0 or what `main` returns; 2 for a mistake of the user, such as a file that cannot be read or written; 3 if
    the run cannot continue; 128 + its number after a signal. Anything else is a bug: traceback, status 1.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        status = main() or 0
    except (UserError, RunStoppedError, RunInterruptedError) as error:
        print_error(error)
        status = error.status
    except BrokenPipeError:  # the reader of the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        if error.errno in DISK_FULL:
            text = f"{error.filename or 'output'}: the disk is full; free some space and repeat or resume"
            status = RunStoppedError.status
        elif error.filename is not None:
            text = f"{error.filename}: {error.strerror}; check the name and its permissions"
            status = UserError.status
        else:
            raise
        print_error(printable(text))
    except MemoryError:
        print_error("the memory is not enough; take smaller images, batches or networks, or more memory")
        status = RunStoppedError.status
    except KeyboardInterrupt:
        print_error("interrupted")
        status = 130
    sys.exit(status)
