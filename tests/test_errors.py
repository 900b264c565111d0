"""Mistakes are reported in plain lines, and every way to end has its exit status and message."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn.errors import ConfigError, RunInterruptedError, RunStoppedError, UserError, exit_with, print_error

FULL = "the disk is full; free some space and repeat or resume\n"


def status_of(main: Callable[[], int | None]) -> int:
    with pytest.raises(SystemExit) as caught:
        exit_with(main)
    return caught.value.code


@given(st.lists(st.text(st.characters()), min_size=1))
def test_each_mistake_is_one_printable_line_whatever_it_quotes(texts: list[str]) -> None:
    lines = str(UserError(*texts)).split("\n")
    assert len(lines) == len(texts)
    assert all(line.isprintable() for line in lines)


def test_printable_text_stays_and_the_rest_is_escaped() -> None:
    assert str(UserError("Straße 道: a\\b")) == "Straße 道: a\\b"
    assert str(UserError("a\nb\x1b[0m", "\u202e\udcff")) == "a\\nb\\x1b[0m\n\\u202e\\udcff"
    problems = {"train.steps": "is odd", "data.root": "is even"}
    assert ConfigError(problems).problems == problems
    assert str(ConfigError(problems)) == "train.steps: is odd\ndata.root: is even"


def test_names_that_are_not_utf_8_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="utf-8", write_through=True))
    assert status_of(lambda: print("caf\udce9.png")) == 0
    assert output.getvalue() == b"caf\\udce9.png\n"


def test_errors_are_flushed_and_may_be_unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(output, 1000)))
    print_error("a line")
    assert output.getvalue() == b"a line\n"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        print_error("a line")
        assert status_of(lambda: print_error("another") or 5) == 5
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize(
    ("outcome", "words", "status", "printed"),
    [
        (UserError, ["a: b"], 2, "a: b\n"),
        (RunStoppedError, ["step 3\x1b"], 3, "step 3\\x1b\n"),
        (RunInterruptedError, [15], 143, "interrupted; the run is saved: continue it with --resume\n"),
        (OSError, [errno.ENOSPC, "no space", "x"], 3, f"x: {FULL}"),
        (OSError, [errno.EDQUOT, "no quota"], 3, f"output: {FULL}"),
        (OSError, [errno.EFBIG, "too big", "x"], 3, f"x: {FULL}"),
        (OSError, [errno.EACCES, "Not yours", "x"], 2, "x: Not yours; check the name and its permissions\n"),
        (OSError, [errno.EACCES, "Not yours", "x\ny"], 2, "x\\ny: Not yours; check the name and its permissions\n"),
        (MemoryError, [], 3, "the memory is not enough; take smaller images, batches or networks, or more memory\n"),
        (KeyboardInterrupt, [], 130, "interrupted\n"),
    ],
)
def test_outcomes_have_their_status_and_words(
    outcome: type[BaseException], words: list[Any], status: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise outcome(*words)

    assert (status_of(main), *capsys.readouterr()) == (status, "", printed)


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (5, 5)])
def test_what_main_returns_is_the_status(returned: int | None, status: int) -> None:
    assert status_of(lambda: returned) == status


def test_script_ends_silently_if_nobody_reads_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert status_of(lambda: print("line", flush=True)) == 1
        print("what Python still flushes at its end", flush=True)


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise OSError(errno.EINVAL, "not about a file")

    with pytest.raises(OSError, match="not about a file"):
        exit_with(main)
