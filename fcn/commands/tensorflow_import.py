"""Imports TensorFlow without the lines that it prints at the start, which would hide what the command says."""

from __future__ import annotations

import os

SUCCESS = b"\0"  # ends what is captured if the import succeeded


def import_tensorflow() -> None:
    """Imports TensorFlow. What it prints on stderr meanwhile is shown only if the import fails or ends the process.

    Later on only its fatal errors are printed. If TF_CPP_MIN_LOG_LEVEL is set to another level than 3, everything is.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        import tensorflow

        return
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # lives on if a native crash ends this process
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            captured = pipe.read()
        if not captured.endswith(SUCCESS):
            os.write(2, captured)
        os._exit(0)
    os.close(reading)
    stderr = os.dup(2)
    os.dup2(writing, 2)
    try:
        import tensorflow  # noqa: F401

        os.write(writing, SUCCESS)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(writing)
        os.waitpid(child, 0)
