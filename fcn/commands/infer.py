"""Segments images with a trained network: a mask of class indices and an overlay for each."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.arguments import add_model_arguments
from fcn.datasets import classes_of, open_split
from fcn.errors import UserError
from fcn.inference.sources import sources_of_frames, sources_of_inputs
from fcn.runs.trained import SHIPPED_HEIGHT, TrainedModel

FRAMES = 6  # of the split val where no image is given


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    command.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help=f"images, folders, patterns; {FRAMES} frames of the run's split val",
    )
    add_model_arguments(command)
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the pictures; inference/ in the run's or here"
    )
    command.add_argument(
        "--confidence", metavar="CLASS", help="also write the probability of this class, 0 to 255, as a gray picture"
    )
    command.add_argument(
        "--max-height",
        type=int,
        metavar="PIXELS",
        help="segment higher images at this height, best that of the training frames, and bring the result to their "
        f"size; no limit ({SHIPPED_HEIGHT} where what comes with fcn is taken unasked)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    trained = TrainedModel.find(arguments.run, arguments.weights)
    config = trained.config()
    out = arguments.out or trained.outputs
    names = [one.name for one in classes_of(config.data)]
    if arguments.confidence not in (None, *names):
        raise UserError(f"--confidence {arguments.confidence}: is no class of the run; name one of {', '.join(names)}")
    if arguments.max_height is not None and arguments.max_height < 1:
        raise UserError(f"--max-height {arguments.max_height}: is no height; name one of at least 1")
    if arguments.inputs:
        sources, missing = sources_of_inputs(arguments.inputs, out, config.data.max_megapixels)
    else:
        try:
            sources, missing = sources_of_frames(open_split(config.data, "val"), FRAMES), []
        except UserError as error:
            raise UserError(*str(error).splitlines(), "or name images: python scripts/infer.py photo.jpg") from error

    from fcn.inference.predictor import load_predictor
    from fcn.inference.segment import infer, table  # TensorFlow: only now that nothing is known to be wrong

    predictor = load_predictor(trained)
    confidence_of = names.index(arguments.confidence) if arguments.confidence else None
    max_height = arguments.max_height or trained.max_height
    results, unreadable = infer(predictor, sources, out, confidence_of, max_height)
    print(table(results, predictor))
    at = f"  higher images segmented at a height of {max_height}" if max_height else ""
    print(f"weights: {trained.weights}  masks and overlays: {out}{at}")
    if missing + unreadable:
        raise UserError(*missing, *unreadable)
