"""Files that are read once within limits, and that are whole or do not exist: temporary name, flush, rename."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from fcn.errors import UserError

PART = ".part-"  # prefix of temporary names, also of those that a killed process leaves behind


@contextmanager
def open_file(path: Path, limit: float = math.inf, fix: str = "replace it") -> Iterator[BufferedReader]:
    """Opens a regular file of at most `limit` bytes for reading.

    Raises UserError, also while it is read, if it cannot be read, is larger, or is a folder, pipe or device.
    """
    try:
        # without O_NONBLOCK a pipe that nobody writes to would wait forever
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path}: is a pipe or device; {fix}")
            if status.st_size > limit:
                raise UserError(f"{path}: has {status.st_size:,} bytes, more than {limit:,}; {fix}")
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; {fix}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; {fix}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the name and its permissions") from error


def read_file(path: Path, limit: float, fix: str = "replace it") -> bytes:
    """Contents of a file, opened and read once; UserError as `open_file`."""
    with open_file(path, limit, fix) as file:
        return file.read(os.fstat(file.fileno()).st_size)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary name next to `path`; the file that is written there is then flushed and renamed to `path`.

    Raises:
        OSError: It cannot be written; `filename` is `path`. An older file is untouched, the temporary one is gone.
    """
    # a random name: processes in two containers may have one id; without the file's own, which may be the longest
    temporary = path.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        error.filename = str(path)  # a full disk names no file
        error.filename2 = None
        raise
    finally:
        with suppress(OSError):  # it was renamed, or the disk is read-only
            temporary.unlink()


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a file as `whole_file` does, with its errors; text as UTF-8."""
    with whole_file(path) as temporary, temporary.open("xb") as file:  # "x" follows no link that lies there
        file.write(data.encode() if isinstance(data, str) else data)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file; UserError as `open_file`."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Waits until the contents of a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
