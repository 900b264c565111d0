"""Imports TensorFlow without the lines that it prints at the start, which would hide what the command says."""

from __future__ import annotations

import os
import platform
import signal
import sys
from importlib import import_module
from importlib.util import find_spec

from fcn.errors import UserError

UNUSED = ("matplotlib", "sklearn")  # Keras imports them where they are installed, which takes a second or two
SUCCESS = b"\0"  # ends what is captured if the import succeeded


def import_tensorflow() -> None:
    """Imports TensorFlow. What it prints on stderr meanwhile is shown only if the import fails or ends the process.

    Later on only its fatal errors are printed. If TF_CPP_MIN_LOG_LEVEL is set to another level than 3, everything is.
    Keras gets the backend and the layout of arrays that fcn needs, whatever its own configuration says.
    Raises UserError if TensorFlow is not installed.
    """
    if find_spec("tensorflow") is None:
        raise UserError("tensorflow: is not installed; pip install tensorflow, or name an exported file with --model")
    set_environment()
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "3":
        _import()
        return
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _show_unless_success(reading, writing)
    os.close(reading)
    stderr = os.dup(2)
    os.dup2(writing, 2)
    try:
        _import()
        os.write(writing, SUCCESS)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(writing)
        os.waitpid(child, 0)


def set_environment() -> None:
    """Sets what TensorFlow and Keras read at their import, in this process and in those that it starts.

    On x86 oneDNN is on unless TF_ENABLE_ONEDNN_OPTS says otherwise.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine() in ("x86_64", "AMD64"):
        # TensorFlow itself turns it on only for processors with AVX-512 VNNI or AMX; a step takes half as long on AVX2
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _import() -> None:
    hidden = [name for name in UNUSED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import_module("tensorflow")
        keras = import_module("keras")
    finally:
        for name in hidden:
            del sys.modules[name]
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


def _show_unless_success(reading: int, writing: int) -> None:
    """The child process: it outlives a native crash of its parent, and runs no cleanup of the parent's."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the parent's terminal or process group
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            captured = pipe.read()
        if not captured.endswith(SUCCESS):
            os.write(2, captured)
    finally:
        os._exit(0)
