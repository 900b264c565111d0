"""Outlines and run lengths of labeling tools -> masks."""

from __future__ import annotations

import numpy as np

from fcn.images import Array

MAX_POINTS = 100_000  # of a polygon
MAX_CROSSINGS = 2**22  # of a polygon's edges with rows of pixels; each takes 50 bytes


def fill_polygon(points: Array, height: int, width: int) -> Array:
    """The pixels whose centers are inside a polygon, bool (H, W).

    `points` are float64 (N, 2), (x, y) in pixels, the image's top left corner at (0, 0); the last one joins the first.
    Inside is what an odd number of edges encloses. A center on an edge belongs to the pixels right of it or below.
    pycocotools differs in pixels whose centers are at most a pixel away from the outline. Raises ValueError if there
    are too many points or a coordinate is farther away from the image than its own size.
    """
    if len(points) > MAX_POINTS:
        raise ValueError(f"has {len(points):,} points, more than {MAX_POINTS:,}")
    size = np.array([width, height])
    if not np.all((points >= -size) & (points <= 2 * size)):  # also for NaN
        raise ValueError(f"reaches far out of the image, which is {width}x{height} (width x height)")
    x, y = points.T
    next_x, next_y = np.roll(points, -1, axis=0).T
    first = np.clip(np.ceil(np.minimum(y, next_y) - 0.5), 0, height).astype(
        np.int64
    )  # rows whose centers an edge spans
    last = np.clip(np.ceil(np.maximum(y, next_y) - 0.5), 0, height).astype(np.int64)
    spans = last - first
    if spans.sum() > MAX_CROSSINGS:
        raise ValueError(f"has edges that cross {spans.sum():,} rows of pixels, more than {MAX_CROSSINGS:,}")
    edge = np.repeat(np.arange(len(x)), spans)
    row = np.arange(spans.sum()) - np.repeat(np.cumsum(spans) - spans, spans) + first[edge]
    share = (row + 0.5 - y[edge]) / (next_y - y)[edge]
    crossing = x[edge] + share * (next_x - x)[edge]
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)  # the first whose center is right of it
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1


def decode_runs(counts: list[int] | str, height: int, width: int) -> Array:
    """The mask of COCO's run lengths, bool (H, W): numbers of pixels outside, inside, outside ..., down the columns.

    A text holds them compressed. Raises ValueError if they do not cover the image.
    """
    runs = np.array(_decompressed(counts) if isinstance(counts, str) else counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(f"has run lengths that do not add up to the image's {width}x{height} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """Run lengths of COCO's text: 5 bits a character, lowest first, from the third on as differences to two before."""
    runs: list[int] = []
    value = 0
    shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 50:
            raise ValueError("has compressed run lengths with a wrong character")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:  # the last character of a number, whose highest bit is the sign
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = 0
            shift = 0
    return runs
