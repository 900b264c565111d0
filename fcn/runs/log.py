"""The rows of metrics.jsonl: one for each log or evaluation."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

from fcn.errors import RunStoppedError, UserError
from fcn.files import read_file

MAX_BYTES = 2**28  # a million rows of evaluations
MAX_SECONDS = 1e9  # thirty years
INVALID_JSON = (ValueError, KeyError, TypeError, OverflowError, RecursionError)  # for text that fcn did not write


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without a last one that was cut off. Raises UserError if one is damaged."""
    lines = read_file(file, MAX_BYTES).split(b"\n")[:-1] if file.exists() else []
    try:
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for row in rows:
            if type(row["step"]) is not int or not 0 <= row.get("run_seconds", 0.0) < MAX_SECONDS:
                raise ValueError(f"a row of step {row['step']}")
    except INVALID_JSON as error:
        raise UserError(f"{file}: is damaged ({error}); resume or repeat the run") from error
    return rows


class MetricsLog:
    """Appends rows to metrics.jsonl with the time of the run so far, `run_seconds`, continued from the last row.

    Fields that depend on the clock end in `_seconds` or `_per_second`.

    Attributes:
        changes: `step` and `changed` of each row with what a continued run changed: name -> [before, now].
    """

    def __init__(self, file: Path):
        self._file = file
        rows = read_rows(file)
        self.changes = [{"step": row["step"], "changed": row["changed"]} for row in rows if "changed" in row]
        self._seconds_before = rows[-1].get("run_seconds", 0.0) if rows else 0.0
        self._started = time.perf_counter()

    def append_changes(self, step: int, changed: dict[str, Any]) -> None:
        """Adds a row of what a run that continues at this step has changed."""
        self.changes.append({"step": step, "changed": changed})
        self.append(self.changes[-1])

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row. Raises RunStoppedError if the disk is full or fails."""
        seconds = self._seconds_before + time.perf_counter() - self._started
        line = (json.dumps({**row, "run_seconds": seconds}) + "\n").encode()
        try:
            with self._file.open("ab", buffering=0) as file:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RunStoppedError(f"{self._file}: cannot be written: {error.strerror}; fix that and resume") from error
