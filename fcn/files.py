"""Files that are whole or do not exist: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

PART = ".part-"  # prefix of temporary names, also of those that a killed process leaves behind


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a file under a temporary name and renames it to `path`; text as UTF-8.

    Raises:
        OSError: It cannot be written; `filename` is `path`. An older file is untouched, the temporary one is gone.
    """
    temporary = path.with_name(f"{PART}{os.getpid()}")  # without the name, which may have the maximum length
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        error.filename = str(path)  # a full disk names no file
        error.filename2 = None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
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
