"""A camera's image as seen from above, as KITTI scores it: 6 to 46 m ahead, 10 m to each side, 0.05 m a cell.

x is meters to the right of the camera, z meters ahead of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fcn.errors import UserError
from fcn.images import Array

DEPTHS = 46 - 0.025 - 0.05 * np.arange(800)  # z of the middle of each row's cells; row 0 is the farthest
SIDES = -10 + 0.025 + 0.05 * np.arange(400)  # x of the middle of each column's cells
MATRICES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_cam_to_road": (3, 4)}  # of a calibration file; others are not used
MAX_BYTES = 2**16  # of a calibration file, which has two thousand


def road_to_image(path: Path) -> Array:
    """The homography of a calibration file, float64 (3, 3): (x, z, 1) in meters on the road -> (u, v, 1) times a scale.

    (u, v) are pixels, counted from 1. A point of the road goes back into the camera's frame and through its projection:
    P2 R0_rect Tr_cam_to_road^-1, without the column of the height, which is 0.

    Raises:
        UserError: the file cannot be read, lacks a matrix or holds one that is none.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = (line.partition(":") for line in file.read(MAX_BYTES).splitlines())
        values = {name.strip(): text.split() for name, _, text in lines}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; restore the official file") from error
    whole = {name: np.eye(4) for name in MATRICES}
    for name, (rows, columns) in MATRICES.items():
        numbers = values.get(name, [])
        try:
            matrix = np.array(numbers, np.float64).reshape(rows, columns)
        except ValueError:
            matrix = np.full((rows, columns), np.nan)
        if not np.isfinite(matrix).all():
            found = f"{len(numbers)} values" if name in values else "no such line"
            raise UserError(
                f"{path}: {name}: {found}; it must be {rows * columns} finite numbers: restore the official file"
            )
        whole[name][:rows, :columns] = matrix
    try:
        projection = whole["P2"] @ whole["R0_rect"] @ np.linalg.inv(whole["Tr_cam_to_road"])
    except np.linalg.LinAlgError as error:
        raise UserError(f"{path}: Tr_cam_to_road: has no inverse; restore the official file") from error
    return projection[:3, [0, 2, 3]]


def birds_eye(image: Array, homography: Array, outside: Any) -> Array:
    """Gives every cell of the road its nearest pixel: (H, W, ...) -> (800, 400, ...) of the same type.

    Args:
        image: of any type; the first axes are rows and columns.
        homography: as `road_to_image` gives it.
        outside: the value of cells that the image does not show.
    """
    height, width = image.shape[:2]
    x, z = np.meshgrid(SIDES, DEPTHS)
    u, v, scale = np.einsum("ij,jrc->irc", homography, np.stack([x, z, np.ones_like(x)]))
    with np.errstate(all="ignore"):  # beside the camera, where nothing is shown
        u, v = u / scale, v / scale
    shown = (u >= 1) & (u <= width) & (v >= 1) & (v <= height)
    result = np.full((*x.shape, *image.shape[2:]), outside, image.dtype)
    result[shown] = image[v[shown].astype(int) - 1, u[shown].astype(int) - 1]
    return result
