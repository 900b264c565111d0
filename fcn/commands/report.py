"""Writes a page about a trained network: scores, errors, curves, frames, boundaries, calibration, cost, settings.

A training leaves the same page in its directory. The page is one file that needs nothing else; its figures are also in
a JSON file of the same name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.arguments import add_model_arguments, add_set_argument, config_with_data
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.datasets import open_split
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.evaluate import find_baseline
from fcn.runs.paths import RunPaths
from fcn.runs.trained import TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_model_arguments(command)
    add_set_argument(command, example="data.root=DIR")
    command.add_argument("--split", default="val", metavar="NAME", help="train, val or test; val")
    out = "report.html in the folder of the run; of --weights, in the current folder"
    command.add_argument("--out", type=Path, metavar="FILE.html", help=out)


def run(arguments: argparse.Namespace) -> None:
    trained = TrainedModel.find(arguments.run, arguments.weights)
    run = RunPaths(trained.weights.parent)
    is_run = trained.weights == run.best_weights and run.config.is_file()
    out = arguments.out or (run.report if is_run else Path(run.report.name))
    if out.suffix != ".html" or not out.parent.is_dir():
        raise UserError(f"--out {out}: cannot be written; name a file NAME.html in an existing folder")
    config = config_with_data(trained, arguments.set)
    if (config.data.kind, arguments.split) == ("kitti_road", "test"):
        raise UserError("--split test: KITTI publishes no labels for it; name train or val")
    dataset = open_split(config.data, arguments.split)
    print(f"{trained.description()}: {len(dataset)} frames of {dataset.split}", flush=True)
    import_tensorflow()
    from fcn.report.report import write_report

    baseline, reasons = find_baseline(config.data, dataset)
    problems = write_report(trained, config, dataset, baseline=baseline, out=out, run=run if is_run else None)
    print(f"report: {out}  figures: {out.with_suffix('.json')}")
    for problem in problems + reasons:
        print_error(printable(problem))
