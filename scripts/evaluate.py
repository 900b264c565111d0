"""Scores a run on a split at native resolution, beside a table that knows the colour of a pixel only."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fcn.configfile import load_config
from fcn.datasets import open_split
from fcn.errors import exit_with
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

    dataset, training = open_split(config.data, arguments.split), open_split(config.data, "train")
    folder.best()

    from fcn.inference.predictor import load_predictor  # TensorFlow: only now that nothing is known to be wrong

    scores = evaluate(dataset, load_predictor(folder, config).labels)
    baseline = evaluate_colour_table(training, dataset)
    print(f"{folder.path}: {scores['frames']} frames of {scores['split']}")
    print(score_table({"network": scores, "colour table": baseline}))
    if arguments.json:
        write_file(arguments.json, json.dumps(scores, indent=2) + "\n")
        print(f"scores: {arguments.json}")


if __name__ == "__main__":
    exit_with(main)
