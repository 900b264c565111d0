"""Scores a trained network on a split at native resolution, next to a baseline that only looks at a pixel's color.

A network of KITTI Road is also scored with the benchmark's measures; with --predictions, so are any confidences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from fcn.commands.arguments import (
    add_model_arguments,
    add_set_argument,
    add_tta_argument,
    config_with_data,
    find_model,
    tta_of,
)
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.yaml_file import find_config, load_config
from fcn.datasets import open_split
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.evaluate import evaluate_trained, find_baseline, score_table, shown
from fcn.evaluation.kitti.benchmark import road_table, score_predictions
from fcn.files import write_file
from fcn.images import write_image
from fcn.pictures import confusion_picture
from fcn.runs.trained import TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_model_arguments(command, exported=True)
    add_tta_argument(command)
    add_set_argument(command, example="data.root=DIR")
    predictions = "score its 8-bit confidences um_road_000000.png ... instead of a network; needs --config"
    command.add_argument("--predictions", type=Path, metavar="DIR", help=predictions)
    command.add_argument("--config", metavar="YAML|NAME", help="config of the ground truth of --predictions")
    command.add_argument("--split", default="val", metavar="NAME", help="train, val or test; val")
    confusion = "draw the confusion matrix to this file; needs a network"
    command.add_argument("--confusion", type=Path, metavar="FILE.png", help=confusion)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file as JSON")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.predictions is None) != (arguments.config is None):
        raise UserError("--predictions and --config: go together; name both, or a run with --run")
    if arguments.predictions and (arguments.run or arguments.weights or arguments.model or arguments.tta):
        raise UserError("--predictions: are scored without a network; leave out --run, --weights, --model and --tta")
    for name, path in (("--json", arguments.json), ("--confusion", arguments.confusion)):
        if path and not path.parent.is_dir():
            raise UserError(f"{path.parent}: no such folder; create it or name another {name}")
    if arguments.confusion and (arguments.confusion.suffix != ".png" or arguments.predictions):
        raise UserError(f"--confusion {arguments.confusion}: is for a network, and a file NAME.png; change that")
    if arguments.predictions:
        data = load_config(find_config(arguments.config), arguments.set).data
        if data.kind != "kitti_road":
            raise UserError(f"--predictions: need KITTI's ground truth; data.kind is {data.kind}, set it to kitti_road")
        record, problems = score_predictions(data, arguments.predictions)
        print(f"{arguments.predictions}: frames scored: {record['frames']}")
    else:
        record, problems = _network_scores(arguments)
    if "kitti_road" in record:
        print(road_table(record["kitti_road"]))
    if arguments.json:
        write_file(arguments.json, json.dumps(record, indent=2) + "\n")
        print(f"scores: {arguments.json}")
    for problem in problems:
        print_error(printable(problem))
    return 2 if problems and arguments.predictions else 0


def _network_scores(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The scores of a trained network, and a line for each problem."""
    trained = find_model(arguments)
    config = config_with_data(trained, arguments.set)
    if (config.data.kind, arguments.split) == ("kitti_road", "test"):
        raise UserError("--split test: KITTI publishes no labels for it; submit-kitti writes a zip for its server")
    dataset = open_split(config.data, arguments.split)
    tta = tta_of(arguments.tta)
    averaged = f", test-time augmentation: {', '.join(tta)}" if tta else ""
    print(f"{trained.description()}: {len(dataset)} frames of {dataset.split}{averaged}", flush=True)
    for line in trained.changes():
        print(line)
    if isinstance(trained, TrainedModel):
        import_tensorflow()
    record, _, problems = evaluate_trained(trained, config, dataset, tta=tta)
    baseline, reasons = find_baseline(config.data, dataset)
    record |= {key: trained.record[key] for key in ("step", "sha256", "changes") if key in trained.record}
    if arguments.confusion:
        write_image(arguments.confusion, confusion_picture(np.array(record["confusion"]), dataset.classes))
        print(f"confusion matrix: {arguments.confusion}")
    print(score_table(record, baseline))
    print(
        f"boundary F: {shown(record['mean_boundary_f'])} within {record['boundary_tolerance']} px at 360 rows;", end=""
    )
    print(f" expected calibration error: {shown(record['ece'])}")
    height, width = dataset.read(0)[0].shape[:2]
    cost = f"{record['milliseconds']:.0f} ms (median)"
    if "gigaflops" in record:
        cost = f"{record['gigaflops']:.1f} GFLOP at {height} x {width}, {cost}"
        print(f"{record['parameters']:,} parameters; ", end="")
    print(f"a frame: {cost}")
    return record, problems + reasons
