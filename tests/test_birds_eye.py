"""The view from above: calibration files, and a warp that is the formula's for every cell."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from fcn.errors import UserError
from fcn.evaluation.kitti.birds_eye import birds_eye, road_to_image

REAL = ROOT / "data/kitti_road/training/calib/um_000000.txt"

# a camera 1.5 m above a flat road (y points down), focal length 100 pixels, center (60, 20); R0_rect turns nothing
CALIBRATION = """P0: 1 2 3
P2: 100 0 60 0 0 100 20 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1

Tr_cam_to_road: 1 0 0 0 0 1 0 -1.5 0 0 1 0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "um_000000.txt"
    path.write_text(CALIBRATION)
    return path


def test_homography_of_a_hand_made_camera(file: Path) -> None:
    # a point (x, 0, z) of the road is (x, 1.5, z) for the camera: u = 100 x/z + 60, v = 150/z + 20
    np.testing.assert_allclose(road_to_image(file), [[100, 60, 0], [0, 20, 150], [0, 1, 0]], atol=1e-12)


@pytest.mark.skipif(not REAL.is_file(), reason="data/kitti_road is not there (data/README.md says how to get it)")
def test_homography_of_a_real_camera() -> None:
    expected = [[721.4074, 609.6736, -120.9516], [-11.0855, 177.6997, 1101.1443], [-0.0001, 1.0, -0.2868]]
    np.testing.assert_allclose(road_to_image(REAL), expected, atol=5e-5)


def test_every_cell_is_the_pixel_that_the_formula_names(file: Path) -> None:
    homography = road_to_image(file)
    homography += [[0, 0, 0.1234], [0.01, 0, 0.4321], [0.001, 0, 0]]  # no cell lies on the border of two pixels
    height, width = 30, 120
    image = np.arange(2 * height * width, dtype=np.uint16).reshape(height, width, 2)
    seen = birds_eye(image, homography, 9999)
    assert (seen.shape, seen.dtype) == ((800, 400, 2), np.uint16)
    outside = 0
    for i in range(0, 800, 3):
        for j in range(0, 400, 3):
            x, z = -10 + 0.025 + 0.05 * j, 46 - 0.025 - 0.05 * i
            u, v, w = (row[0] * x + row[1] * z + row[2] for row in homography.tolist())
            if 1 <= u / w <= width and 1 <= v / w <= height:
                expected = image[math.floor(v / w) - 1, math.floor(u / w) - 1].tolist()
            else:
                expected = [9999, 9999]
                outside += 1
            assert seen[i, j].tolist() == expected
    assert 1000 < outside < 30000


def test_cells_with_no_finite_pixel_are_outside() -> None:
    image = np.zeros((2, 2), np.uint8)
    assert (birds_eye(image, np.zeros((3, 3)), 7) == 7).all()
    assert (birds_eye(image, np.full((3, 3), 1e308), 7) >= 0).all()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("P2:", "P3:", "P2: 0 such lines; it must be one line of 12 finite numbers"),
        ("P2: 100", "P2:", "P2: 11 values; it must be one line of 12 finite numbers"),
        ("R0_rect: 1", "R0_rect: one", "R0_rect: 9 values; it must be one line of 9 finite numbers"),
        ("P2: 100", "P2: nan", "P2: 12 values; it must be one line of 12 finite numbers"),
        ("P2: 100", "P2: 0\nP2: 100", "P2: 2 such lines; it must be one line of 12 finite numbers"),
        ("P2: 100 0 60 0", "P2: 1e308 1e308 1e308 1e308", "its matrices map the road to no image"),
        ("P2: 100 0", "P2: 0 0", "its matrices map the road to no image"),
        ("road: 1 0 0", "road: 0 0 0", "its matrices map the road to no image"),
        (CALIBRATION, "\x00\xff", "P2: 0 such lines"),
        (CALIBRATION, "", "P2: 0 such lines"),
        (CALIBRATION, "#" * 65_537, "has 65,537 bytes, more than 65,536"),
        (CALIBRATION, None, "no such file"),
    ],
)
def test_bad_calibration_is_one_line_with_the_fix(old: str, new: str | None, expected: str, file: Path) -> None:
    if new is None:
        file.unlink()
    else:
        file.write_text(CALIBRATION.replace(old, new), encoding="latin-1")
    with pytest.raises(UserError, match=rf"{file}: {expected}.*; restore the official file\Z"):
        road_to_image(file)
