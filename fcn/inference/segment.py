"""Images -> masks and overlays on disk, and a table of what was found and how long it took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from fcn.errors import DISK_FULL, UserError, printable
from fcn.images import Array, SegmentationClass, write_image, write_mask
from fcn.inference.predictor import Predictor
from fcn.inference.sources import Source
from fcn.pictures import overlay


@dataclass(frozen=True)
class Result:
    """What was found in an image.

    Attributes:
        source: the image.
        size: (height, width) in pixels.
        shares: fraction of the pixels of each class, in the order of the classes.
        milliseconds: of decoding, of the network, of writing the files.
    """

    source: Source
    size: tuple[int, int]
    shares: tuple[float, ...]
    milliseconds: tuple[float, float, float]


def infer(
    predictor: Predictor,
    sources: Sequence[Source],
    out: Path,
    confidence_of: int | None = None,
    max_height: int | None = None,
) -> tuple[list[Result], list[str]]:
    """Writes `<stem>_mask.png` (class indices with the palette, at the image's size) and `<stem>_overlay.png`.

    Args:
        predictor: of the run.
        sources: the images.
        out: the folder.
        confidence_of: index of a class, for which `<stem>_confidence.png` is written too: gray, 255 x its probability.
        max_height: in pixels, at least 1; a higher image is segmented at this height, and the result resized to the
            image's own size. A network knows things at the size that they have in its training frames.

    Returns:
        What was found in each image that could be read and its files written, and a line for each other one.

    Raises:
        UserError: the folder `out` cannot be made.
        OSError: the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made: {error.strerror}; name another --out") from error
    predictor.labels(np.zeros((1, 1, 3), np.uint8))  # makes the graph, which is no part of the first image's time
    results, mistakes = [], []
    for source in sources:
        start = time.perf_counter()
        try:
            image = source.read()
            decoded = time.perf_counter()
            mask, confidence = _segment(predictor, image, confidence_of, max_height)
            predicted = time.perf_counter()
            _write(source.outputs(out), image, mask, confidence, predictor.classes)
        except UserError as error:
            mistakes.append(str(error))
            continue
        written = time.perf_counter()
        shares = tuple(float(np.mean(mask == index)) for index in range(len(predictor.classes)))
        times = (1000 * (decoded - start), 1000 * (predicted - decoded), 1000 * (written - predicted))
        results.append(Result(source, mask.shape, shares, times))
    return results, mistakes


def _segment(
    predictor: Predictor, image: Array, confidence_of: int | None, max_height: int | None
) -> tuple[Array, Array | None]:
    """Mask and confidence, uint8 (H, W), of an image (H, W, 3), as `infer` has them."""
    size = height, width = image.shape[:2]
    if max_height is not None and height > max_height:
        image = _resize(image, (max_height, max(1, round(width * max_height / height))), Resampling.BILINEAR)
    if confidence_of is None:
        return _resize(predictor.labels(image), size, Resampling.NEAREST), None
    mask, confidence = predictor.labels_and_confidence(image, confidence_of)
    return _resize(mask, size, Resampling.NEAREST), _resize(confidence, size, Resampling.BILINEAR)


def _resize(image: Array, size: tuple[int, int], method: Resampling) -> Array:
    """uint8 (H, W, 3) or (H, W) of another (height, width); Pillow's bilinear takes in all pixels where it shrinks."""
    return image if image.shape[:2] == size else np.asarray(Image.fromarray(image).resize(size[::-1], method))


def _write(
    files: tuple[Path, Path, Path],
    image: Array,
    mask: Array,
    confidence: Array | None,
    classes: Sequence[SegmentationClass],
) -> None:
    """Writes mask, overlay and confidence; UserError where that cannot be, OSError where the disk is full."""
    mask_file, overlay_file, confidence_file = files
    try:
        write_mask(mask_file, mask, classes)
        write_image(overlay_file, overlay(image, mask, classes))
        if confidence is not None:
            write_image(confidence_file, confidence)
    except OSError as error:
        if error.errno in DISK_FULL:  # so would the other images
            raise
        raise UserError(
            f"{error.filename}: cannot be written: {error.strerror}; check the name and its permissions"
        ) from error


def table(results: Sequence[Result], predictor: Predictor) -> str:
    """A line an image: file, size, the classes that take at least 1 % of it, milliseconds of each stage."""
    names = [printable(result.source.name) for result in results]
    wide = max(map(len, ["file", *names]))
    lines = [f"{'file':<{wide}} {'height x width':>14}  {'decode':>7} {'model':>7} {'write':>7} ms  classes"]
    for name, result in zip(names, results, strict=True):
        shares = sorted(zip(result.shares, predictor.classes, strict=True), key=lambda pair: -pair[0])
        classes = ", ".join(f"{one.name} {share:.1%}" for share, one in shares if share >= 0.01)
        size = "{} x {}".format(*result.size)
        times = " ".join(f"{milliseconds:7.1f}" for milliseconds in result.milliseconds)
        lines.append(f"{name:<{wide}} {size:>14}  {times}     {classes}")
    return "\n".join(lines)
