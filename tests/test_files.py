"""A file that exists is whole."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from fcn.files import sha256, whole_file, write_file


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")
    with pytest.raises(OSError, match="full"), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise OSError(errno.ENOSPC, "full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_bytes_are_read_back_and_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for data in (b"first", b"\x00second"):
        write_file(path, data)
        assert path.read_bytes() == data
        assert sha256(path) == hashlib.sha256(data).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_name_keeps_the_ending(tmp_path: Path) -> None:
    with whole_file(tmp_path / "best.weights.h5") as temporary:
        temporary.touch()
        assert temporary.name.endswith(".weights.h5")


def test_failed_write_names_the_file_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        write_file(tmp_path / "no" / "a.txt", "")
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")
