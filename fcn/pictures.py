"""Arrays -> pictures for people: overlays and comparisons in the colors of the data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fcn.images import IGNORE, Array, SegmentationClass, palette

STRENGTH = 0.5  # share of the class color in an overlay
BLOCK = 2**16  # pixels tinted at a time: in floats the blend takes 24 times the image's memory
GAP = 4  # pixels between pictures side by side
TILE = (240, 480)  # (height, width) in pixels of a picture on a contact sheet


def overlay(image: Array, mask: Array, classes: Sequence[SegmentationClass]) -> Array:
    """The image (H, W, 3) tinted with the colors of its classes (H, W), not where ignored: uint8 (H, W, 3)."""
    result, colors = image.copy(), palette(classes)
    pixels, labels = result.reshape(-1, 3), mask.reshape(-1)
    for start in range(0, len(pixels), BLOCK):
        part, label = pixels[start : start + BLOCK], labels[start : start + BLOCK, np.newaxis]
        tinted = np.round((1 - STRENGTH) * part + STRENGTH * colors[label[:, 0]])
        np.copyto(part, tinted, where=label != IGNORE, casting="unsafe")
    return result


def comparison(image: Array, truth: Array, prediction: Array, classes: Sequence[SegmentationClass]) -> Array:
    """Image | truth | prediction side by side, each (H, W); ignored truth is black: uint8 (H, 3 W + 2 GAP, 3)."""
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    colors = palette(classes)
    return np.concatenate([image, gap, colors[truth], gap, overlay(image, prediction, classes)], axis=1)


def contact_sheet(frames: Iterable[tuple[Array, Array]], classes: Sequence[SegmentationClass]) -> Array:
    """Image (H, W, 3) | label (H, W) of each frame in a row, small enough for TILE, on white: uint8 RGB."""
    rows, colors = [], palette(classes)
    for image, label in frames:
        shrink = max(1.0, image.shape[0] / TILE[0], image.shape[1] / TILE[1])
        counts = [max(1, round(length / shrink)) for length in label.shape]
        y, x = (np.arange(count) * length // count for count, length in zip(counts, label.shape, strict=True))
        row = np.full((len(y) + GAP, 2 * (TILE[1] + GAP), 3), 255, np.uint8)
        row[: len(y), : len(x)] = image[np.ix_(y, x)]
        row[: len(y), len(x) + GAP : 2 * len(x) + GAP] = colors[label[np.ix_(y, x)]]
        rows.append(row)
    return np.concatenate(rows)
