"""Segments images and videos with a trained network: a mask of class indices and an overlay for each, or a video.

Without --run, --weights and --model, images that you name are segmented by the newest run on real frames, else by the
network that comes with fcn. Without an image, the newest run segments frames of its own validation set.
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
from fcn.inference.predictor import Predictor, load_predictor
from fcn.inference.segment import segment_images, table
from fcn.inference.sources import Source, sources_of_frames, sources_of_inputs
from fcn.inference.video import check_pyav, is_camera, is_video, segment_video
from fcn.runs.trained import TrainedModel

FRAMES = 6  # validation frames that are segmented where no image is named


def add_arguments(command: argparse.ArgumentParser) -> None:
    images = f"images, folders, patterns, videos or a camera (/dev/video0); {FRAMES} frames of the validation set"
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
    command.add_argument("--masks", action="store_true", help="of a video also write the mask of each frame")
    command.add_argument("--fps", type=float, metavar="N", help="make a video of each folder, at N frames a second")
    command.add_argument("--legend", action="store_true", help="add name and share of the classes below each overlay")


def run(arguments: argparse.Namespace) -> int:
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

    # the images or videos
    problems: list[str] = []
    notes: list[str] = []
    sources: list[Source] = []
    videos = _videos(arguments)
    if arguments.inputs and not videos:
        sources, problems, notes = sources_of_inputs(arguments.inputs, out, config.data.max_megapixels)
    elif not arguments.inputs:
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
    if videos:
        return _segment_videos(predictor, videos, out, arguments)
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
    return 0


def _videos(arguments: argparse.Namespace) -> list[str]:
    """The inputs, if they are to become videos; UserError if only some are, or another argument is for images."""
    videos = [one for one in arguments.inputs if arguments.fps is not None or is_video(one)]
    if not videos:
        if arguments.masks or arguments.fps is not None:
            raise UserError("--masks, --fps: are for videos and folders of frames; name one")
        return []
    for one in arguments.inputs:
        if one not in videos:
            raise UserError(f"{one}: is no video, and {videos[0]} is one; segment them one after the other")
    if arguments.confidence is not None or arguments.legend:
        raise UserError("--confidence, --legend: are for images; leave them out for a video")
    stems = [Path(one).stem for one in videos]
    if len(set(stems)) < len(stems):
        raise UserError(f"{', '.join(videos)}: two have one name, and so would their overlays; rename one")
    check_pyav(videos[0])
    return videos


def _segment_videos(predictor: Predictor, videos: list[str], out: Path, arguments: argparse.Namespace) -> int:
    """Segments one video after the other and prints a line for each; 130 if Ctrl-C ended one before its end."""
    problems = []
    for video in videos:
        try:
            result = segment_video(
                predictor, Path(video), out, alpha=arguments.alpha, masks=arguments.masks, fps=arguments.fps
            )
        except UserError as error:
            problems.append(str(error))
            continue
        height, width = result.size
        text = f"{result.overlay}: {result.frames} frames of {height} x {width}"
        if predictor.network_height(height) != height:
            text += f", segmented at a height of {predictor.network_height(height)} pixels"
        text += f", {result.frames_per_second:.1f} a second"
        if result.interrupted:
            text += ", ended by Ctrl-C"
        print(text, flush=True)
        if result.masks is not None:
            print(f"masks: {result.masks}")
        if result.problem is not None:
            problems.append(result.problem)
        if result.interrupted:
            break
    if problems:
        raise UserError(*problems)
    return 130 if result.interrupted and not is_camera(video) else 0


def _max_height(text: str) -> int | Literal["auto"] | None:
    """The value of --max-height."""
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    if re.fullmatch("[1-9][0-9]{0,5}", text):
        return int(text)
    raise UserError(f"--max-height {text}: is not a height; name a number of pixels of at least 1, none or auto")
