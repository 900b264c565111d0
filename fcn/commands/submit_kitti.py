"""Writes the zip that the KITTI Road server scores: bird's-eye confidences of a run for the test frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.tensorflow_import import import_tensorflow
from fcn.datasets.kitti_road import ROAD
from fcn.errors import UserError
from fcn.evaluation.kitti.submission import submission_frames, write_submission
from fcn.runs.trained import TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, metavar="DIR", help="folder of the run; the newest under runs/")
    command.add_argument("--out", type=Path, metavar="ZIP", required=True, help="the file to write")


def run(arguments: argparse.Namespace) -> None:
    out = arguments.out
    trained = TrainedModel.find(arguments.run, shipped=False)
    config = trained.config().data
    if config.kind != "kitti_road":
        raise UserError(f"{trained.weights}: was trained with data.kind {config.kind}; name a run on kitti_road")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; create it or name another --out")
    names = submission_frames(config)
    print(f"weights: {trained.description()}", flush=True)
    import_tensorflow()
    from fcn.inference.predictor import load_predictor

    predictor = load_predictor(trained, max_height=None)
    write_submission(config, names, lambda image: predictor.labels_and_confidence(image, ROAD)[1], out)
    print(f"{out}: {len(names)} frames")
