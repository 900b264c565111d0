"""Prints the validation scores over the minutes of training, of one run or of several seeds, and can plot them."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.errors import UserError
from fcn.report.curves import curve_table, plot_curves, read_curve
from fcn.runs.paths import existing_run


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of runs of one recipe")
    command.add_argument("--out", type=Path, metavar="PNG", help="plot the curves to this file (needs the extra plot)")


def run(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if out and (out.suffix != ".png" or not out.parent.is_dir()):
        raise UserError(f"--out {out}: cannot be written; name a file NAME.png in an existing folder")
    curves = {str(path): read_curve(existing_run(path)) for path in arguments.runs}
    print(curve_table(curves))
    if out:
        plot_curves(curves, out)
        print(f"curves: {out}")
