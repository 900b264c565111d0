"""A camera image seen from above, as KITTI scores it: 6 to 46 m ahead, 10 m to each side, cells of 0.05 m.

x is meters to the right of the camera, z meters ahead of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fcn.errors import UserError
from fcn.images import Array

DEPTHS = 46 - 0.025 - 0.05 * np.arange(800)  # z of the center of each row's cells; row 0 is the farthest
SIDES = -10 + 0.025 + 0.05 * np.arange(400)  # x of the center of each column's cells
MATRICES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_cam_to_road": (3, 4)}  # the lines of a calibration file that are used
MAX_BYTES = 2**16  # of a calibration file; an official one has two thousand


def road_to_image(path: Path) -> Array:
    """The homography of a calibration file, float64 (3, 3): (x, z, 1) in meters on the road -> (u, v, 1) times a scale.

    (u, v) are pixels, counted from 1. A point of the road is taken back to the camera's frame and projected:
    P2 R0_rect Tr_cam_to_road^-1, without the column of the height, which is 0.

    Raises:
        UserError: the file cannot be read, or a matrix is missing or not valid.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(MAX_BYTES).splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; restore the official file") from error
    values = {name.strip(): text.split() for name, _, text in (line.partition(":") for line in lines)}
    matrices = {}
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
        matrices[name] = np.eye(4)
        matrices[name][:rows, :columns] = matrix
    try:
        road_to_camera = np.linalg.inv(matrices["Tr_cam_to_road"])
    except np.linalg.LinAlgError as error:
        raise UserError(f"{path}: Tr_cam_to_road: has no inverse; restore the official file") from error
    projection = matrices["P2"] @ matrices["R0_rect"] @ road_to_camera
    return projection[:3, [0, 2, 3]]


def birds_eye(image: Array, homography: Array, outside: Any) -> Array:
    """Samples the nearest pixel for every cell of the road: (H, W, ...) -> (800, 400, ...) of the same type.

    Cells that are not in the image get the value `outside`. The homography is that of `road_to_image`.
    """
    height, width = image.shape[:2]
    x, z = np.meshgrid(SIDES, DEPTHS)
    u, v, scale = np.einsum("ij,jrc->irc", homography, np.stack([x, z, np.ones_like(x)]))
    with np.errstate(all="ignore"):  # the scale may be 0; such cells are not in the image
        u = u / scale
        v = v / scale
    inside = (u >= 1) & (u <= width) & (v >= 1) & (v <= height)
    result = np.full((*x.shape, *image.shape[2:]), outside, image.dtype)
    result[inside] = image[v[inside].astype(int) - 1, u[inside].astype(int) - 1]
    return result
