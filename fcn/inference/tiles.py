"""Overlapping tiles: an image of any size goes through the network in bounded memory, with the logits of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fcn.config.settings import ENCODER_STRIDE

TILE_PIXELS = 2**22
"""2048 x 2048, of which two thirds are kept: about 1 GB with vgg16 at width 0.25, 2.5 GB at width 1; larger tiles are
no faster, and of smaller ones less is kept."""

MIN_SIDE = 3 * ENCODER_STRIDE  # a thinner tile takes as much memory: upsampling pads its only cell on both sides
Window = tuple[slice, slice]  # rows and columns


def tiles(height: int, width: int, radius: int, limit: int) -> Iterator[tuple[Window, Window, Window]]:
    """Cuts an image (height, width) into overlapping tiles of about `limit` pixels; one within the limit is one tile.

    Every tile starts on the grid of the coarsest feature map. Each of its sides is either the image's border, where
    padding acts as on the whole image, or at least `radius` pixels (from `receptive_radius`) away from the kept part.
    A side below MIN_SIDE counts as MIN_SIDE; the limit is exceeded if the overlap needs more.

    Yields:
        The tile, its kept part, and the same part in the tile's own coordinates. The kept parts cover the image once.
    """
    margin = math.ceil(radius / ENCODER_STRIDE) * ENCODER_STRIDE
    tile_height = min(height, max(math.isqrt(limit), limit // max(width, MIN_SIDE)))
    tile_width = limit // max(tile_height, MIN_SIDE)
    for rows, kept_rows, inner_rows in spans(height, tile_height, margin):
        for columns, kept_columns, inner_columns in spans(width, tile_width, margin):
            yield (rows, columns), (kept_rows, kept_columns), (inner_rows, inner_columns)


def spans(length: int, longest: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cuts an axis of `length` pixels into overlapping spans of one length; the last one ends with the axis.

    They have about `longest` pixels, rounded up to the grid, and overlap by `margin`, a multiple of ENCODER_STRIDE, on
    each side of the kept part. Yields the span, its kept part, and the same part counted from the span's start.
    """
    step = max(ENCODER_STRIDE, math.ceil((longest - 2 * margin) / ENCODER_STRIDE) * ENCODER_STRIDE)
    for start in range(0, max(1, length - 2 * margin), step):
        stop = min(start + step + 2 * margin, length)
        first = start + margin if start > 0 else 0
        last = stop - margin if stop < length else length
        yield slice(start, stop), slice(first, last), slice(first - start, last - start)
