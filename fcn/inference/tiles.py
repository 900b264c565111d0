"""An image of any size in bounded memory: by overlapping tiles, with the numbers of the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import keras
from keras import layers

from fcn.images import Array
from fcn.model.vgg import ENCODER_STRIDE

# A tile of vgg16 takes about 1 GB at width 0.25 and 2.5 GB at width 1. Of each 2048 x 2048 pixels two thirds are kept;
# larger tiles are no faster, and of smaller ones less is kept.
TILE_PIXELS = 2**22
THIN = 3 * ENCODER_STRIDE  # a thinner image takes as much memory: its only cell is upsampled with a copy on each side


def by_tiles(function: Callable[[Array], Array], image: Array, result: Array, reach: int, limit: int) -> Array:
    """Fills `result` with what `function` gives for the image, seeing about `limit` pixels at a time.

    Every tile begins on the grid of the network's coarsest cells. On each side it ends at the image's border, where
    padding acts as on the whole image, or sees at least `reach` pixels more than are kept of it. An image within the
    limit is one tile.

    Args:
        function: uint8 (h, w, 3) -> (h, w, ...), each pixel from those at most `reach` rows and columns off.
        image: uint8 (H, W, 3).
        result: (H, W, ...), which is returned.
        reach: as `reach_of` gives it.
        limit: pixels of a tile, a side below THIN counted as THIN; exceeded where the overlap leaves no room.
    """
    height, width = image.shape[:2]
    margin = -(-reach // ENCODER_STRIDE) * ENCODER_STRIDE
    tile_height = min(height, max(math.isqrt(limit), limit // max(width, THIN)))
    columns = list(spans(width, limit // max(tile_height, THIN), margin))
    for y, rows_kept, rows_of_tile in spans(height, tile_height, margin):
        for x, columns_kept, columns_of_tile in columns:
            result[rows_kept, columns_kept] = function(image[y, x])[rows_of_tile, columns_of_tile]
    return result


def spans(length: int, longest: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    """Cuts an axis into overlapping tiles of one length, about `longest`; the last one ends with the axis.

    Args:
        length: of the axis.
        longest: is rounded up to the grid, so that a tile as long as the axis holds all of it.
        margin: what a tile sees beyond what is kept of it, a multiple of ENCODER_STRIDE.

    Yields:
        A tile, what is kept of it, and the same counted from the tile's begin.
    """
    step = max(ENCODER_STRIDE, -(-(longest - 2 * margin) // ENCODER_STRIDE) * ENCODER_STRIDE)
    for start in range(0, max(1, length - 2 * margin), step):
        stop = min(start + step + 2 * margin, length)
        first, last = (start + margin if start else 0), (stop - margin if stop < length else length)
        yield slice(start, stop), slice(first, last), slice(first - start, last - start)


def reach_of(model: keras.Model) -> int:
    """How many rows or columns off a pixel of the image may lie that has a part in a pixel's logits.

    Half a receptive field, added up layer by layer as by Araujo, Norris and Sim (2019), in cells: a cell of a map
    stands for its own pixels and sees `reach` more on each side. A k x k convolution adds k // 2 cells of its map.
    Pooling adds nothing, as its windows are the cells. A transposed convolution by s cuts cells into s parts; with
    SAME padding each sees at most (k + s) / 2 - 1 parts beyond itself, to the far end of a neighboring cell. A skip
    sees less than what it is added to, and its scorer, 1x1, adds nothing.
    """
    reach, cell = 0, 1
    for layer in model.layers:
        if isinstance(layer, layers.MaxPooling2D):
            cell *= layer.strides[0]
        elif isinstance(layer, layers.Conv2D):
            reach += layer.kernel_size[0] // 2 * cell
        elif isinstance(layer, layers.Conv2DTranspose):
            cell //= layer.strides[0]
            reach += ((layer.kernel_size[0] + layer.strides[0]) // 2 - 1) * cell
    return reach
