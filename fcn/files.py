"""Files that are whole or not there: written under a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part-"  # begins the temporary names, also of what a killed process leaves behind


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; it takes the name `path` when the block ends without error.

    The temporary name ends as `path` does, for writers that look at the ending.

    Raises:
        OSError: as the writer or the renaming raised it, but with the name `path`; the temporary file is gone, an older
            `path` untouched.
    """
    temporary = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # a full disk names nothing; the temporary name tells nothing
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes | str) -> None:
    """Writes a whole file; text as UTF-8. Raises OSError as `whole_file` does."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Waits until the disk has a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
