"""Draws the score on val over the minutes of training, of one run or of several seeds together, and prints it."""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fcn.errors import UserError, exit_with
from fcn.files import write_file
from fcn.run import RunFolder


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of runs of one recipe")
    command.add_argument(
        "--out", type=Path, metavar="PNG", help="draw the curves into this file (needs the extra plot)"
    )
    return command


def main() -> None:
    """Runs the command."""
    arguments = parser().parse_args()
    if arguments.out and (arguments.out.suffix != ".png" or not arguments.out.parent.is_dir()):
        raise UserError(
            f"--out {arguments.out}: is no place for a picture; name a file NAME.png in a folder that is there"
        )
    curves = {str(path): evaluations(RunFolder.open(path)) for path in arguments.runs}
    print(table(list(curves.values())))
    if arguments.out:
        draw(curves, arguments.out)
        print(f"curves: {arguments.out}")


def evaluations(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """Step -> the row of its evaluation. Raises UserError where there is none."""
    rows = {row["step"]: row for row in folder.rows() if {"miou", "run_seconds"} <= row.keys()}
    if not rows:
        raise UserError(f"{folder.path}: was never evaluated; train until the first evaluation (train.evaluate_steps)")
    return rows


def table(curves: list[dict[int, dict[str, Any]]]) -> str:
    """Mean, lowest and highest score of the runs at each step that all have, then of each class at the last one."""
    steps = sorted(set.intersection(*map(set, curves)))
    classes = {tuple(row["iou"]) for curve in curves for row in curve.values()}
    if not steps or len(classes) > 1:
        raise UserError("the runs have no evaluated step in common, or other classes; name runs of one recipe")
    lines = [f"{'step':<16}{'minutes':>9}{'mIoU':>8}  lowest  highest  runs {len(curves)}"]
    for step in steps:
        minutes = np.median([curve[step]["run_seconds"] for curve in curves]) / 60
        lines.append(f"{step:<16}{minutes:>9.1f}" + spread([curve[step]["miou"] for curve in curves]))
    last = [curve[steps[-1]]["iou"] for curve in curves]
    lines += [f"iou {name:<21}" + spread([iou[name] for iou in last]) for name in last[0]]
    return "\n".join(lines)


def spread(values: list[float | None]) -> str:
    """Mean, lowest and highest; '-' where a class does not occur."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):>8.3f}  {min(known):.3f}   {max(known):.3f}" if known else f"{'-':>8}"


def draw(curves: dict[str, dict[int, dict[str, Any]]], path: Path) -> None:
    """Writes the curves as a picture. Raises UserError where matplotlib is missing."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise UserError("--out: needs matplotlib; install it with `pip install -e '.[plot]'`") from error
    figure = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes of training", ylabel="mIoU on val")
    for name, rows in curves.items():
        axes.plot(
            [row["run_seconds"] / 60 for row in rows.values()], [row["miou"] for row in rows.values()], label=name
        )
    axes.grid(alpha=0.3)
    axes.legend()
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_file(path, picture.getvalue())


if __name__ == "__main__":
    exit_with(main)
