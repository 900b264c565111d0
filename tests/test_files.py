"""A file that exists is whole."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from fcn.files import PART, flush, sha256, whole_file, write_file


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")
    with pytest.raises(OSError, match="full"), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise OSError(errno.ENOSPC, "full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.txt", []

    def fsync(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink().suffix, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(path, "new")
    assert seen == [(".txt", False), ("", True)]


def test_waiting_for_the_disk_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    flush(tmp_path)
    assert os.listdir("/proc/self/fd") == before

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        flush(tmp_path)
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


def test_temporary_name_keeps_the_ending_and_tells_what_a_kill_left(tmp_path: Path) -> None:
    with whole_file(tmp_path / "best.weights.h5") as temporary:
        temporary.touch()
        assert temporary.name.endswith("best.weights.h5")
        assert temporary.name.startswith(PART)


def test_failed_write_names_the_file_not_its_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        write_file(tmp_path / "no" / "a.txt", "")
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")
