"""Prints scores and settings of runs side by side: different recipes, or the seeds of one; can draw their curves."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.errors import UserError
from fcn.files import write_file
from fcn.report.charts import Line, line_chart, standalone
from fcn.report.curves import changed_settings, curve_table, read_curve
from fcn.runs.paths import existing_run


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    out = "draw mIoU over the minutes of training to this file, a line for each run"
    command.add_argument("--out", type=Path, metavar="FILE.svg", help=out)


def run(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if out and (out.suffix != ".svg" or not out.parent.is_dir()):
        raise UserError(f"--out {out}: cannot be written; name a file NAME.svg in an existing folder")
    runs = {str(path): existing_run(path) for path in arguments.runs}
    curves = {name: read_curve(one) for name, one in runs.items()}
    print(curve_table(curves))
    if len(runs) > 1:
        print(changed_settings({name: one.load_config() for name, one in runs.items()}))
    if out:
        lines = [
            Line(name, [(row["run_seconds"] / 60, row["miou"] or 0.0) for row in curve.values()])
            for name, curve in curves.items()
        ]
        write_file(out, standalone(line_chart("mIoU on the validation set", lines, "minutes of training")))
        print(f"curves: {out}")
