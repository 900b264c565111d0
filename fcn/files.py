"""Files that are whole or not there: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

PART = ".part-"  # begins the temporary names, also of what a killed process leaves behind


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a whole file under a temporary name, which then becomes `path`; text as UTF-8.

    Raises:
        OSError: it cannot be written; `filename` is `path`, the temporary file is gone, an older `path` untouched.
    """
    temporary = path.with_name(f"{PART}{os.getpid()}")  # not made of the name, which may be as long as names can be
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a full disk names nothing; the temporary name tells nothing
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Waits until the disk has a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
