"""Trains the classifier on windows of the frames, as was done before FCN, and keeps it converted to an FCN-32s.

Takes the arguments of `fcn train`. A window is 32 x model.head_window pixels high and wide; its class is that of the
pixel at its center. `fcn train --initial-weights RUN` trains an FCN from the result.
"""

from __future__ import annotations

import argparse

from fcn.commands import train

add_arguments = train.add_arguments


def run(arguments: argparse.Namespace) -> None:
    arguments.set = [*arguments.set, "train.target=window_center"]
    train.run(arguments)
