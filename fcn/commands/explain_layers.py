"""Prints what the layers of a fully convolutional network do, on small numbers and with their rules."""

from __future__ import annotations

import argparse

from fcn.commands.tensorflow_import import import_tensorflow


def add_arguments(command: argparse.ArgumentParser) -> None:
    """This command has no arguments."""


def run(_: argparse.Namespace) -> None:
    import_tensorflow()
    from fcn.explain.examples import page  # imports TensorFlow

    print(page(), end="")
