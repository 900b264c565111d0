"""A file that exists is complete."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from fcn.files import PART, flush, sha256, write_file


def test_content_is_read_back_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)  # the longest name that there can be
    open_files = os.listdir("/proc/self/fd")
    for content, data in ((b"first", b"first"), (b"\x00second", b"\x00second"), ("é", b"\xc3\xa9")):
        write_file(path, content)
        assert path.read_bytes() == data
        assert sha256(path) == hashlib.sha256(data).hexdigest()
    assert list(tmp_path.iterdir()) == [path]
    assert os.listdir("/proc/self/fd") == open_files


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    seen = []

    def fsync(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(PART), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(path, "new")
    assert seen == [(True, False), (False, True)]


def test_failed_write_names_the_file_and_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No such file") as caught:
        write_file(tmp_path / "no" / "a.txt", "")
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")
    write_file(path, "old")
    open_files = os.listdir("/proc/self/fd")
    temporary = []

    def full(_: int) -> None:
        temporary.extend(file.name for file in tmp_path.iterdir() if file != path)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full") as caught:
        write_file(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    assert [name.startswith(PART) for name in temporary] == [True]  # so that what a kill leaves is recognized
    with pytest.raises(OSError, match="full") as caught:
        flush(tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert os.listdir("/proc/self/fd") == open_files
