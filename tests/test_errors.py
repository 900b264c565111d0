"""Mistakes are a line each, whatever a file is called; every outcome has its exit status."""

from __future__ import annotations

import errno
import io
import sys

import pytest

from fcn.errors import RunStoppedError, UserError, exit_with


def test_mistake_stays_a_line_whatever_the_file_is_called() -> None:
    named = "no\nreal \x1b[31m line\udcff\u2028.png: is bad"
    assert str(UserError(named, "Straße.png: is bad")) == (
        r"no\nreal \x1b[31m line\udcff\u2028.png: is bad" + "\nStraße.png: is bad"
    )


def test_names_that_are_no_utf_8_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="utf-8", write_through=True))
    with pytest.raises(SystemExit) as caught:
        exit_with(lambda: print("caf\udce9.png"))
    assert caught.value.code == 0
    assert output.getvalue() == b"caf\\udce9.png\n"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (None, 0),
        (UserError("a: b"), 2),
        (RunStoppedError("step 3"), 3),
        (OSError(errno.ENOSPC, "no space", "x"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "x\ny"), 2),
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
