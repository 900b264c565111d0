"""A camera image seen from above, as KITTI scores it: 6 to 46 m ahead, 10 m to each side, cells of 0.05 m.

x is meters to the right of the camera, z meters ahead of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fcn.errors import UserError
from fcn.files import read_file
from fcn.images import Array

DEPTHS = 46 - 0.025 - 0.05 * np.arange(800)  # z of the center of each row's cells; row 0 is the farthest
SIDES = -10 + 0.025 + 0.05 * np.arange(400)  # x of the center of each column's cells
MAX_BYTES = 2**16  # of a calibration file, which has eight lines
MATRICES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_cam_to_road": (3, 4)}  # the lines of a calibration file that are used


def road_to_image(path: Path) -> Array:
    """Homography of a calibration file, float64 (3, 3): (x, z, 1) in meters on the road -> scale * (u, v, 1).

    (u, v) are pixels, counted from 1. It is P2 R0_rect Tr_cam_to_road^-1 without the column of the height, which is 0.
    Raises UserError where the file cannot be read, a matrix is missing, given twice or not finite, or the homography
    has no inverse.
    """
    fix = "restore the official file"
    lines = read_file(path, MAX_BYTES, fix).decode(errors="replace").splitlines()
    named = [(name.strip(), text.split()) for name, _, text in (line.partition(":") for line in lines)]
    matrices = {}
    for name, shape in MATRICES.items():
        found = [numbers for known, numbers in named if known == name]
        matrices[name] = np.eye(4)
        try:
            (numbers,) = found
            matrix = np.array(numbers, np.float64).reshape(shape)
            matrices[name][: shape[0], : shape[1]] = np.asarray_chkfinite(matrix)
        except ValueError as error:
            got = f"{len(found[0])} values" if len(found) == 1 else f"{len(found)} such lines"
            rule = f"it must be one line of {shape[0] * shape[1]} finite numbers"
            raise UserError(f"{path}: {name}: {got}; {rule}; {fix}") from error
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused
            road_to_camera = np.linalg.inv(matrices["Tr_cam_to_road"])
            homography = (matrices["P2"] @ matrices["R0_rect"] @ road_to_camera)[:3, [0, 2, 3]]
        np.linalg.inv(np.asarray_chkfinite(homography))
    except (np.linalg.LinAlgError, ValueError) as error:
        raise UserError(f"{path}: its matrices map the road to no image ({error}); {fix}") from error
    return homography


def birds_eye(image: Array, homography: Array, outside: int) -> Array:
    """Samples the nearest pixel for every cell of the road, by the homography of `road_to_image`.

    (H, W, ...) -> (800, 400, ...) of the same dtype; cells that are not in the image get the value `outside`.
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
