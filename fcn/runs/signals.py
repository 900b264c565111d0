"""SIGTERM, Ctrl-C and a closed terminal, taken where the state of a run is whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fcn.errors import RunInterruptedError


@contextmanager
def polled_signals() -> Iterator[Callable[[], None]]:
    """Inside the block the first signal is only noted; a second one ends the process at once.

    Yields:
        A function that raises RunInterruptedError once a signal has come.
    """
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)

    def poll() -> None:
        if received:
            raise RunInterruptedError(received[0])

    taken = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        taken.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield poll
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
