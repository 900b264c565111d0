"""SIGTERM, Ctrl-C and a closed terminal: noted, and taken when the state of the run is whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fcn.errors import RunInterruptedError


@contextmanager
def polled_signals() -> Iterator[Callable[[], None]]:
    """Yields a function that raises RunInterruptedError once a signal has come; a second one ends the process."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)

    def poll() -> None:
        if received:
            raise RunInterruptedError(received[0])

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield poll
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
