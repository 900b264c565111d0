"""Scores a trained network on a split at native resolution, beside a table that knows the color of a pixel only.

A network of KITTI Road is also scored as the benchmark does; with --predictions, so are confidences made by anything.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from fcn.commands.arguments import add_model_arguments, add_set_argument
from fcn.config.yaml_file import changed_keys, load_config
from fcn.datasets import open_split
from fcn.datasets.kitti_road import ROAD
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.evaluate import evaluate, evaluate_color_table, score_table, timed
from fcn.evaluation.kitti.benchmark import evaluate_road, road_table, score_predictions
from fcn.files import write_file
from fcn.runs.trained import TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_model_arguments(command)
    command.add_argument("--flip", action="store_true", help="average over the image and its mirror image")
    add_set_argument(command, example="data.root=DIR")
    command.add_argument(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="score the 8-bit confidences um_road_000000.png ... in it instead of a network's; needs --config",
    )
    command.add_argument(
        "--config", type=Path, metavar="YAML", help="where the truth of --predictions lies (data.root)"
    )
    command.add_argument("--split", default="val", metavar="NAME", help="train, val or test; val")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the network's scores there as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    if (arguments.predictions is None) != (arguments.config is None):
        raise UserError("--predictions and --config: go together; name both, or a run with --run")
    if arguments.predictions and (arguments.run or arguments.weights or arguments.flip):
        raise UserError("--predictions: are scored without a network; leave out --run, --weights and --flip")
    if arguments.json and not arguments.json.parent.is_dir():
        raise UserError(f"{arguments.json.parent}: no such folder; make it or name another --json")
    record, mistakes = (of_predictions if arguments.predictions else of_run)(arguments)
    if arguments.flip:
        record["flip"] = True
    if "kitti_road" in record:
        print(road_table(record["kitti_road"]))
    if arguments.json:
        write_file(arguments.json, json.dumps(record, indent=2) + "\n")
        print(f"scores: {arguments.json}")
    for mistake in mistakes:
        print_error(printable(mistake))
    return 2 if mistakes and arguments.predictions else 0


def of_predictions(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Scores a folder of confidences; returns the record and what is wrong with some of them."""
    config = load_config(arguments.config, arguments.set).data
    if config.kind != "kitti_road":
        raise UserError(f"--predictions: are scored by KITTI's truth; data.kind is {config.kind}, set it to kitti_road")
    record, mistakes = score_predictions(config, arguments.predictions)
    print(f"{arguments.predictions}: {record['frames']} frames")
    return record, mistakes


def of_run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Scores a trained network; returns the network's record and the frames that could not be scored in full."""
    trained = TrainedModel.find(arguments.run, arguments.weights)
    config = load_config(trained.config_file, arguments.set, stored=True)

    foreign = [key for key in changed_keys(trained.config(), config) if not key.startswith("data.")]
    if foreign:
        raise UserError(f"--set {foreign[0]}: evaluation only reads data.*; the rest is what was trained")
    if (config.data.kind, arguments.split) == ("kitti_road", "test"):
        raise UserError("--split test: KITTI publishes no truth of it; its server scores what submit_kitti.py writes")
    dataset = open_split(config.data, arguments.split)

    from fcn.inference.predictor import load_predictor  # TensorFlow: only now that nothing is known to be wrong

    predictor = load_predictor(trained, config, arguments.flip)
    mistakes: list[str] = []
    seconds: list[float] = []
    if config.data.kind == "kitti_road":
        predict = timed(partial(predictor.labels_and_confidence, index=ROAD), seconds)
        record, mistakes = evaluate_road(config.data, dataset, predict)
    else:
        record = evaluate(dataset, timed(predictor.labels, seconds))
    columns = {"network": record}
    try:
        columns["color table"] = evaluate_color_table(open_split(config.data, "train"), dataset)
    except UserError as error:
        print_error(f"no color table, as it is fitted on the split train: {error}")
    step = f" of step {trained.record['step']}" if trained.record else ""
    flipped = ", averaged over the mirror images" if arguments.flip else ""
    print(f"{trained.weights}{step}: {record['frames']} frames of {record['split']}{flipped}")
    print(score_table(columns))
    height, width = dataset.read(0)[0].shape[:2]
    gigaflops, milliseconds = predictor.gigaflops(height, width), 1000 * median(seconds)
    parameters = predictor.model.count_params()
    cost = f"{gigaflops:.1f} GFLOP at {height} x {width}, {milliseconds:.0f} ms (median)"
    print(f"{parameters:,} parameters; a frame: {cost}")
    return {**record, "parameters": parameters, "gigaflops": gigaflops, "milliseconds": milliseconds}, mistakes
