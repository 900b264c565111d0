"""Arrays -> pictures for people: overlays and comparisons in the colours of the data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcn.images import IGNORE, Array, SegmentationClass, palette

STRENGTH = 0.5  # share of the class colour in an overlay
BLOCK = 2**16  # pixels tinted at a time: in floats the blend takes 24 times the image's memory
GAP = 4  # pixels between pictures side by side


def overlay(image: Array, mask: Array, classes: Sequence[SegmentationClass]) -> Array:
    """The image (H, W, 3) tinted with the colours of its classes (H, W), not where ignored: uint8 (H, W, 3)."""
    result, colours = image.copy(), palette(classes)
    pixels, labels = result.reshape(-1, 3), mask.reshape(-1)
    for start in range(0, len(pixels), BLOCK):
        part, label = pixels[start : start + BLOCK], labels[start : start + BLOCK, np.newaxis]
        tinted = np.round((1 - STRENGTH) * part + STRENGTH * colours[label[:, 0]])
        np.copyto(part, tinted, where=label != IGNORE, casting="unsafe")
    return result


def comparison(image: Array, truth: Array, prediction: Array, classes: Sequence[SegmentationClass]) -> Array:
    """Image | truth | prediction side by side, each (H, W); ignored truth is black: uint8 (H, 3 W + 2 GAP, 3)."""
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    colours = palette(classes)
    return np.concatenate([image, gap, colours[truth], gap, overlay(image, prediction, classes)], axis=1)
