"""A file that exists is whole."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from fcn.errors import RunStoppedError, UserError, exit_with
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


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (None, 0),
        (UserError("a: b"), 2),
        (RunStoppedError("step 3"), 3),
        (OSError(errno.ENOSPC, "no space", "x"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_outcomes_have_their_exit_status(
    outcome: BaseException | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        if outcome is not None:
            raise outcome

    with pytest.raises(SystemExit) as caught:
        exit_with(main)
    assert caught.value.code == status
    assert capsys.readouterr().err.count("\n") == (status != 0)


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise OSError(errno.EINVAL, "of no file")

    with pytest.raises(OSError, match="of no file"):
        exit_with(main)
