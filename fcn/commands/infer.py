"""Segments images with a trained network: writes a mask of class indices and an overlay for each.

Without --run and --weights, images that you name are segmented by the newest run on real frames, else by the network
that comes with fcn. Without an image, the newest run segments frames of its own validation set.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Literal

from fcn.commands.arguments import add_model_arguments, add_tta_argument, find_model, tta_of
from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.settings import class_named
from fcn.datasets import classes_of, open_split
from fcn.errors import UserError, print_error, printable
from fcn.inference.predictor import load_predictor
from fcn.inference.segment import segment_images, table
from fcn.inference.sources import sources_of_frames, sources_of_inputs
from fcn.runs.trained import TrainedModel

FRAMES = 6  # validation frames that are segmented where no image is named


def add_arguments(command: argparse.ArgumentParser) -> None:
    images = f"images, folders, patterns; {FRAMES} frames of the validation set"
    out = "folder for the pictures; inference/ in the run's folder or here"
    confidence = "also write the probability of this class, 0 to 255, as a gray picture"
    height = "segment higher images at this height; auto: at the training frames' if 1.5 times higher; none: never"
    command.add_argument("inputs", nargs="*", metavar="INPUT", help=images)
    add_model_arguments(command, exported=True)
    command.add_argument("--out", type=Path, metavar="DIR", help=out)
    command.add_argument("--confidence", metavar="CLASS", help=confidence)
    command.add_argument("--max-height", default="auto", metavar="PIXELS", help=height)
    add_tta_argument(command)
    command.add_argument("--alpha", type=float, default=0.5, metavar="0..1", help="strength of colors in overlays; 0.5")
    command.add_argument("--legend", action="store_true", help="add name and share of the classes below each overlay")


def run(arguments: argparse.Namespace) -> None:
    # everything that can be checked without TensorFlow
    trained = find_model(arguments, real_frames=bool(arguments.inputs))
    config = trained.config()
    out = arguments.out or trained.outputs
    max_height = _max_height(arguments.max_height)
    tta = tta_of(arguments.tta)
    confidence_of = None
    if arguments.confidence is not None:
        names = [one.name for one in classes_of(config.data)]
        name = class_named(arguments.confidence, names)
        if name is None:
            known = ", ".join(names)
            raise UserError(f"--confidence {arguments.confidence}: is not a class of the network; name one of {known}")
        confidence_of = names.index(name)
    if not 0 <= arguments.alpha <= 1:
        raise UserError(f"--alpha {arguments.alpha}: is out of range; name a number from 0 to 1")

    # the images
    problems: list[str] = []
    notes: list[str] = []
    if arguments.inputs:
        sources, problems, notes = sources_of_inputs(arguments.inputs, out, config.data.max_megapixels)
    else:
        try:
            sources = sources_of_frames(open_split(config.data, "val"), FRAMES)
        except UserError as error:
            raise UserError(*str(error).splitlines(), "or name images: fcn infer photo.jpg") from error
    print(f"weights: {trained.description()}", flush=True)
    if trained.frame_height is None and max_height == "auto":
        notes.append("the height of the training frames is not recorded: no image is resized; see --max-height")
    for note in notes:
        print_error(printable(note))

    # masks and overlays
    if isinstance(trained, TrainedModel):
        import_tensorflow()
    predictor = load_predictor(trained, config, tta=tta, max_height=max_height)
    results, unreadable = segment_images(
        predictor, sources, out, confidence_of=confidence_of, alpha=arguments.alpha, with_legend=arguments.legend
    )
    print(table(results, predictor))
    print(f"masks and overlays: {out}", flush=True)
    resized = [result.network_height for result in results if result.network_height != result.size[0]]
    size = predictor.network.size
    if size is not None:
        print_error("segmented at {} x {}, the only size of this file, and resized to full size".format(*size))
    elif resized:
        print_error(
            f"segmented at a height of {resized[0]} pixels and resized to full size: {len(resized)} of {len(results)} "
            "(see `at height`); --max-height none turns this off"
        )
    if problems + unreadable:
        raise UserError(*problems, *unreadable)


def _max_height(text: str) -> int | Literal["auto"] | None:
    """The value of --max-height."""
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    if re.fullmatch("[1-9][0-9]{0,5}", text):
        return int(text)
    raise UserError(f"--max-height {text}: is not a height; name a number of pixels of at least 1, none or auto")
