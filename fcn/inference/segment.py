"""Images -> masks and overlays on disk, and a table of what was found and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcn.errors import DISK_FULL, UserError, printable
from fcn.images import write_image, write_mask
from fcn.inference.predictor import Predictor
from fcn.inference.sources import Source
from fcn.pictures import legend, overlay


@dataclass(frozen=True)
class Result:
    """What was found in an image.

    Attributes:
        source: the image.
        size: its (height, width) in pixels.
        network_height: height in pixels at which it was segmented.
        shares: fraction of the pixels of each class, in the order of the classes.
        milliseconds: time of decoding, of the network, and of writing the files.
    """

    source: Source
    size: tuple[int, int]
    network_height: int
    shares: tuple[float, ...]
    milliseconds: tuple[float, float, float]


def segment_images(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    confidence_of: int | None = None,
    alpha: float = 0.5,
    with_legend: bool = False,
) -> tuple[list[Result], list[str]]:
    """Writes mask, overlay and, if wanted, confidence of each image under the names of `Source.outputs`.

    Args:
        predictor: the network.
        sources: the images.
        out: folder for the pictures; made if it does not exist.
        confidence_of: index of a class, whose probability x 255 is also written as a gray picture.
        alpha: strength of the class colors in the overlays, 0 to 1.
        with_legend: adds a strip below each overlay with the color, name and share of each class.

    Returns:
        Results of the images that were read and written, and a line for each other image.

    Raises:
        UserError: the folder `out` cannot be made.
        OSError: the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}; name another --out") from error
    predictor.labels(np.zeros((1, 1, 3), np.uint8))  # builds the graph, which must not count as time of the first image
    classes = predictor.classes
    results = []
    problems = []
    for source in sources:
        mask_file, overlay_file, confidence_file = source.outputs(out)
        confidence = None
        try:
            started = time.perf_counter()
            image = source.read()
            decoded = time.perf_counter()
            if confidence_of is None:
                mask = predictor.labels(image)
            else:
                mask, confidence = predictor.labels_and_confidence(image, confidence_of)
            predicted = time.perf_counter()
            shares = tuple(float(np.mean(mask == index)) for index in range(len(classes)))
            picture = overlay(image, mask, classes, alpha=alpha)
            if with_legend:
                picture = np.concatenate([picture, legend(classes, picture.shape[1], shares)])
            write_mask(mask_file, mask, classes)
            write_image(overlay_file, picture)
            if confidence is not None:
                write_image(confidence_file, confidence)
            written = time.perf_counter()
        except UserError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            if error.errno in DISK_FULL:  # the other images would fail as well
                raise
            reason = f"cannot be written: {error.strerror}; check the name and its permissions"
            problems.append(f"{error.filename}: {reason}")
            continue
        times = (1000 * (decoded - started), 1000 * (predicted - decoded), 1000 * (written - predicted))
        results.append(Result(source, mask.shape, predictor.network_height(mask.shape[0]), shares, times))
    return results, problems


def table(results: Sequence[Result], predictor: Predictor) -> str:
    """One line per image: file, size, height at which it was segmented, times, and the classes of at least 1 %."""
    names = [printable(result.source.name) for result in results]
    wide = max(map(len, ["file", *names]))
    lines = [
        f"{'file':<{wide}} {'height x width':>14} {'at height':>9}  {'decode':>7} {'model':>7} {'write':>7} ms  classes"
    ]
    for name, result in zip(names, results, strict=True):
        shares = sorted(zip(result.shares, predictor.classes, strict=True), key=lambda pair: -pair[0])
        classes = ", ".join(f"{one.name} {share:.1%}" for share, one in shares if share >= 0.01)
        size = "{} x {}".format(*result.size)
        times = " ".join(f"{milliseconds:7.1f}" for milliseconds in result.milliseconds)
        lines.append(f"{name:<{wide}} {size:>14} {result.network_height:>9}  {times}     {classes}")
    return "\n".join(lines)
