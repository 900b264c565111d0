"""A file that exists is complete, and reading one never hangs."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fcn.errors import UserError
from fcn.files import PART, flush, read_file, sha256, write_file


def test_only_regular_files_within_the_limit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    assert read_file(path, 4) == b"1234"
    os.mkfifo(tmp_path / "pipe")
    problems = {
        path: "has 4 bytes, more than 3; replace it",
        tmp_path / "pipe": "is a pipe or device; replace it",
        Path("/dev/zero"): "is a pipe or device; replace it",
        tmp_path: "is a folder; replace it",
        tmp_path / "no": "no such file; replace it",
        path / "a": "cannot be read: Not a directory; check the name and its permissions",
    }
    for wrong, problem in problems.items():
        with pytest.raises(UserError) as caught:
            read_file(wrong, 3)
        assert str(caught.value) == f"{wrong}: {problem}"


def test_writers_with_one_process_id_do_not_mix_their_files(tmp_path: Path) -> None:
    def write(name: int) -> None:  # as two processes of the same number in two containers
        for _ in range(50):
            write_file(tmp_path / str(name), str(name) * 10**5)
            assert (tmp_path / str(name)).read_text() == str(name) * 10**5

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(list(tmp_path.iterdir())) == 4


def test_link_in_the_way_of_a_temporary_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0")
    (tmp_path / "private").write_text("old")
    (tmp_path / f"{PART}0").symlink_to("private")
    with pytest.raises(FileExistsError) as caught:
        write_file(tmp_path / "a", "new")
    assert caught.value.filename == str(tmp_path / "a")
    assert (tmp_path / "private").read_text() == "old"


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

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only", "the temporary file")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", read_only)
        patch.setattr(Path, "unlink", read_only)
        with pytest.raises(OSError, match="read-only") as caught:
            write_file(path, "new")
    assert caught.value.filename == str(path)
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
