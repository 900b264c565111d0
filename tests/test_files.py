"""A file that exists is whole."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from fcn.files import PART, flush, sha256, write_file


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")
    during = []

    def full(_: int) -> None:
        during.extend(file.name for file in tmp_path.iterdir() if file != path)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full") as caught:
        write_file(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert [name.startswith(PART) for name in during] == [True]  # so that what a kill leaves can be told


def test_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    write_file(tmp_path / ("x" * 255), "long")
    assert (tmp_path / ("x" * 255)).read_text() == "long"


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.txt", []

    def fsync(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(PART), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(path, "new")
    assert seen == [(True, False), (False, True)]


def test_waiting_for_the_disk_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    flush(tmp_path)
    assert os.listdir("/proc/self/fd") == before

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full") as caught:
        flush(tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert os.listdir("/proc/self/fd") == before


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_file(tmp_path / "a.txt", "é")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9"


def test_written_bytes_are_read_back_and_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for data in (b"first", b"\x00second"):
        write_file(path, data)
        assert path.read_bytes() == data
        assert sha256(path) == hashlib.sha256(data).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_names_the_file_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        write_file(tmp_path / "no" / "a.txt", "")
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")
