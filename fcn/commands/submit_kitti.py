"""Writes the zip that the server of KITTI Road scores: a run's confidences of the test frames, seen from above."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.datasets.kitti_road import ROAD, testing_names
from fcn.errors import UserError, print_error, printable
from fcn.evaluation.kitti.submission import submission_frames, write_submission
from fcn.runs.trained import TrainedModel


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    command.add_argument("--run", type=Path, metavar="DIR", help="folder of the run; the newest under runs/")
    command.add_argument("--out", type=Path, metavar="ZIP", required=True, help="the file to write")
    command.add_argument(
        "--partial", action="store_true", help="leave missing frames out; the server takes all or none"
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    trained = TrainedModel.find(arguments.run, shipped=False)
    config = trained.config().data
    if config.kind != "kitti_road":
        raise UserError(f"{trained.weights}: was trained with data.kind {config.kind}; name a run on kitti_road")
    if not arguments.out.parent.is_dir():
        raise UserError(f"{arguments.out.parent}: no such folder; make it or name another --out")
    frames, missing = submission_frames(config)
    if not frames or (missing and not arguments.partial):
        raise UserError(*missing)

    from fcn.inference.predictor import load_predictor  # TensorFlow: only now that nothing is known to be wrong

    predictor = load_predictor(trained)
    mistakes = write_submission(
        config,
        frames,
        lambda image: predictor.labels_and_confidence(image, ROAD)[1],
        arguments.out,
        arguments.partial,
    )
    for line in missing + mistakes:
        print_error(printable(line))
    print(f"{arguments.out}: {len(frames) - len(mistakes)} of {len(testing_names(config))} frames")
