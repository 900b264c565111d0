"""Images -> masks and overlays on disk, and a table of what was found and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fcn.errors import DISK_FULL, UserError, printable
from fcn.images import Array, write_image, write_mask
from fcn.inference.predictor import Predictor
from fcn.inference.sources import Source
from fcn.pictures import legend, overlay


@dataclass(frozen=True)
class Result:
    """What was found in an image."""

    name: str
    size: tuple[int, int]  # (height, width) in pixels
    network_height: int  # in pixels, at which it was segmented
    shares: Array  # fraction of the pixels of each class
    milliseconds: Array  # of decoding, of the network, and of writing the files


def segment_images(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    confidence_of: int | None = None,
    alpha: float = 0.5,
    with_legend: bool = False,
) -> tuple[list[Result], list[str]]:
    """Writes mask, overlay and, if wanted, confidence of each image under the names of `Source.outputs` in `out`.

    The confidence, written for the class with the index `confidence_of`, is its probability x 255 as a gray picture.
    `alpha` is the strength of the class colors, 0 to 1; `with_legend` adds colors, names and shares below each overlay.
    Returns results of the images that were read and written, and a line for each other image.

    Raises:
        UserError: The folder `out` cannot be made.
        OSError: The disk is full.
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
        clock = [time.perf_counter()]
        try:
            image = source.read()
            clock.append(time.perf_counter())
            if confidence_of is None:
                mask = predictor.labels(image)
            else:
                mask, confidence = predictor.labels_and_confidence(image, confidence_of)
            clock.append(time.perf_counter())
            counts = Image.fromarray(mask).histogram()  # np.bincount would copy 8 bytes per pixel
            shares = np.array(counts[: len(classes)]) / mask.size
            picture = overlay(image, mask, classes, alpha=alpha)
            if with_legend:
                picture = np.concatenate([picture, legend(classes, picture.shape[1], shares)])
            write_mask(mask_file, mask, classes)
            write_image(overlay_file, picture)
            if confidence_of is not None:
                write_image(confidence_file, confidence)
            clock.append(time.perf_counter())
        except UserError as error:
            problems.append(str(error))
        except OSError as error:
            if error.errno in DISK_FULL:  # the other images would fail as well
                raise
            reason = f"cannot be written: {error.strerror}; check the name and its permissions"
            problems.append(f"{error.filename}: {reason}")
        except MemoryError:
            problems.append(f"{source.name}: does not fit into memory; reduce it, or name a --max-height")
        else:
            height, width = mask.shape
            at_height = predictor.network_height(height)
            milliseconds = 1000 * np.diff(clock)
            results.append(Result(source.name, (height, width), at_height, shares, milliseconds))
    return results, problems


def table(results: Sequence[Result], predictor: Predictor) -> str:
    """One line per image: file, size, height at which it was segmented, times, and the classes of at least 1 %."""
    names = [printable(result.name) for result in results]
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
