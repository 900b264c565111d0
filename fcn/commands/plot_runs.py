"""Draws the score on val over the minutes of training, of one run or of several seeds together, and prints it."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.errors import UserError
from fcn.report.curves import curve_table, draw_curves, read_curve
from fcn.runs.paths import existing_run


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    command.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of runs of one recipe")
    command.add_argument(
        "--out", type=Path, metavar="PNG", help="draw the curves into this file (needs the extra plot)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if arguments.out and (arguments.out.suffix != ".png" or not arguments.out.parent.is_dir()):
        raise UserError(
            f"--out {arguments.out}: is no place for a picture; name a file NAME.png in a folder that is there"
        )
    curves = {str(path): read_curve(existing_run(path)) for path in arguments.runs}
    print(curve_table(curves))
    if arguments.out:
        draw_curves(curves, arguments.out)
        print(f"curves: {arguments.out}")
