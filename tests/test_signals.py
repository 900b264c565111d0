"""The first signal waits for the next poll, the second does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from fcn.errors import RunInterruptedError
from fcn.runs.signals import polled_signals

TWO_SIGNALS = """\
import os, signal
from fcn.runs.signals import polled_signals
with polled_signals():
    os.kill(os.getpid(), signal.SIGTERM)
    print('after the first', flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print('after the second')
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_is_raised_by_the_next_poll_only(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with polled_signals() as poll:
        poll()
        os.kill(os.getpid(), number)
        with pytest.raises(RunInterruptedError) as caught:
            poll()
    assert caught.value.number == number
    assert signal.getsignal(number) == before


def test_second_signal_ends_the_process_at_once_with_its_status() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_SIGNALS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "after the first\n")
