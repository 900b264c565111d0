"""Scores a run on a split at native resolution, beside a table that knows the colour of a pixel only."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from fcn.configfile import changed_keys, load_config
from fcn.datasets import open_split
from fcn.errors import UserError, exit_with
from fcn.evaluation.evaluate import evaluate, evaluate_colour_table, score_table
from fcn.files import write_file
from fcn.run import RunFolder


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--run", type=Path, metavar="DIR", help="folder of the run; the newest under runs/")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value of one of the run's settings, such as data.root=DIR",
    )
    command.add_argument("--split", default="val", metavar="NAME", help="train, val or test; val")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the network's scores there as JSON")
    return command


def main() -> None:
    """Runs the command."""
    arguments = parser().parse_args()
    folder = RunFolder.open(arguments.run) if arguments.run else RunFolder.newest()
    config = load_config(folder.config_file, arguments.set)

    foreign = [key for key in changed_keys(folder.config(), config) if not key.startswith("data.")]
    if foreign:
        raise UserError(f"--set {foreign[0]}: evaluation only reads data.*; the rest is what was trained")
    if arguments.json and not arguments.json.parent.is_dir():
        raise UserError(f"{arguments.json.parent}: no such folder; make it or name another --json")
    dataset = open_split(config.data, arguments.split)
    best = folder.best()

    from fcn.inference.predictor import load_predictor  # TensorFlow: only now that nothing is known to be wrong

    scores = evaluate(dataset, load_predictor(folder, config).labels)
    columns = {"network": scores}
    try:
        columns["colour table"] = evaluate_colour_table(open_split(config.data, "train"), dataset)
    except UserError as error:
        print(f"no colour table, as it is fitted on the split train: {error}", file=sys.stderr)
    print(f"{folder.path}, weights of step {best['step']}: {scores['frames']} frames of {scores['split']}")
    print(score_table(columns))
    if arguments.json:
        write_file(arguments.json, json.dumps(scores, indent=2) + "\n")
        print(f"scores: {arguments.json}")


if __name__ == "__main__":
    exit_with(main)
