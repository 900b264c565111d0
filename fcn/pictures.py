"""Arrays -> pictures for people: overlays, comparisons and contact sheets with titles and a legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn.errors import printable
from fcn.images import IGNORE, Array, SegmentationClass, palette

BLOCK = 2**16  # pixels tinted at a time: in floats the blend takes 24 times the image's memory
GAP = 4  # pixels between pictures side by side
TILE = (240, 480)  # largest (height, width) in pixels of a picture on a contact sheet
MIN_WIDTH = 320  # of captioned pictures, in pixels: narrower ones would cut off titles and legend
IGNORED = SegmentationClass("ignored", (0, 0, 0))  # as `palette` shows it


def overlay(image: Array, mask: Array, classes: Sequence[SegmentationClass], alpha: float = 0.5) -> Array:
    """The image tinted with the colors of its classes, except where it is background or ignored.

    Args:
        image: uint8 RGB (H, W, 3).
        mask: Label map (H, W).
        classes: Classes of the labels; one named "background", in any case, is not tinted.
        alpha: Share of the class color, from 0 to 1.

    Returns:
        uint8 RGB (H, W, 3).
    """
    colors = palette(classes)
    tinted = np.zeros(256, bool)
    tinted[: len(classes)] = [one.name.casefold() != "background" for one in classes]
    result = image.copy()
    pixels = result.reshape(-1, 3)
    labels = mask.reshape(-1)
    for start in range(0, len(pixels), BLOCK):
        block = pixels[start : start + BLOCK]
        label = labels[start : start + BLOCK]
        blend = np.round((1 - alpha) * block + alpha * colors[label])
        np.copyto(block, blend, where=tinted[label][:, np.newaxis], casting="unsafe")
    return result


def legend(classes: Sequence[SegmentationClass], width: int, shares: Sequence[float] | None = None) -> Array:
    """A white strip with the color and the name of each class, in as many rows as the width needs.

    Args:
        classes: Classes of a data set.
        width: Width of the strip in pixels.
        shares: Fraction of the pixels of each class, written behind its name.

    Returns:
        uint8 RGB (height, width, 3).
    """
    texts = [printable(one.name) for one in classes]
    if shares is not None:
        texts = [f"{text} {share:.1%}" for text, share in zip(texts, shares, strict=True)]
    swatch = _text_size(width)
    line = round(1.6 * swatch)
    font = ImageFont.load_default(swatch)
    cell = 3 * swatch + math.ceil(max(font.getlength(text) for text in texts))
    columns = max(1, width // cell)
    rows = math.ceil(len(texts) / columns)
    strip = Image.new("RGB", (width, rows * line + swatch), "white")
    draw = ImageDraw.Draw(strip)
    for index, (one, text) in enumerate(zip(classes, texts, strict=True)):
        left = GAP + index % columns * cell
        top = swatch // 2 + index // columns * line + (line - swatch) // 2
        draw.rectangle((left, top, left + swatch, top + swatch), fill=one.color, outline="gray")
        draw.text((left + 1.6 * swatch, top + swatch / 2), text, fill="black", font=font, anchor="lm")
    return np.asarray(strip)


def comparison(image: Array, label: Array, prediction: Array, classes: Sequence[SegmentationClass]) -> Array:
    """Image | ground truth | overlay of the prediction, with titles above and the legend of the ground truth below.

    Args:
        image: uint8 RGB (H, W, 3).
        label: Ground truth (H, W); ignored pixels are shown black.
        prediction: Label map (H, W).
        classes: Classes of the labels.

    Returns:
        uint8 RGB; its width depends only on W.
    """
    counts = np.bincount(label.reshape(-1), minlength=256)
    shares = counts[[*range(len(classes)), IGNORE]] / label.size
    row = [image, palette(classes)[label], overlay(image, prediction, classes)]
    return _captioned([row], ["image", "ground truth", "prediction"], classes, shares.tolist())


def contact_sheet(frames: Iterable[tuple[Array, Array]], classes: Sequence[SegmentationClass]) -> Array:
    """Image (H, W, 3) | label (H, W), a row per frame, shrunk to fit TILE, with titles and a legend: uint8 RGB."""
    colors = palette(classes)
    rows = []
    for image, label in frames:
        shrink = max(1.0, image.shape[0] / TILE[0], image.shape[1] / TILE[1])
        height, width = (max(1, round(length / shrink)) for length in label.shape)
        nearest = np.ix_(np.arange(height) * label.shape[0] // height, np.arange(width) * label.shape[1] // width)
        rows.append([image[nearest], colors[label[nearest]]])
    return _captioned(rows, ["image", "label"], classes)


def _captioned(
    rows: Sequence[Sequence[Array]],
    titles: Sequence[str],
    classes: Sequence[SegmentationClass],
    shares: Sequence[float] | None = None,
) -> Array:
    """Rows of pictures (H, W, 3) under a title per column, with the legend of classes and IGNORE below, on white."""
    column = max(row[0].shape[1] for row in rows) + GAP
    width = max(MIN_WIDTH, len(titles) * column - GAP)
    size = _text_size(width)
    heading = Image.new("RGB", (width, 2 * size), "white")
    draw = ImageDraw.Draw(heading)
    for index, title in enumerate(titles):
        place = (index * column + GAP, size)
        draw.text(place, title, fill="black", font=ImageFont.load_default(size), anchor="lm")
    parts = [np.asarray(heading)]
    for row in rows:
        strip = np.full((row[0].shape[0] + GAP, width, 3), 255, np.uint8)
        for index, picture in enumerate(row):
            left = index * column
            strip[:-GAP, left : left + picture.shape[1]] = picture
        parts.append(strip)
    parts.append(legend([*classes, IGNORED], width, shares))
    return np.concatenate(parts)


def _text_size(width: int) -> int:
    """Height of a font in pixels: wide pictures are shown smaller, so that their text has to be larger."""
    return max(12, width // 90)
