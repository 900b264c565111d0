"""Pictures show the image, the classes' colors and nothing where a pixel is ignored."""

from __future__ import annotations

import tracemalloc

import numpy as np

from fcn.images import IGNORE, SegmentationClass
from fcn.pictures import GAP, TILE, comparison, contact_sheet, overlay

CLASSES = (SegmentationClass("a", (0, 0, 0)), SegmentationClass("b", (200, 100, 0)))
IMAGE = np.full((2, 3, 3), 100, np.uint8)
MASK = np.array([[0, 1, IGNORE], [1, 0, IGNORE]], np.uint8)


def test_overlay_is_half_image_half_class_color() -> None:
    tinted = overlay(IMAGE, MASK, CLASSES)
    assert tinted.dtype == np.uint8
    assert tinted[0].tolist() == [[50, 50, 50], [150, 100, 50], [100, 100, 100]]


def test_overlay_of_a_large_image_is_made_in_little_memory_beside_its_own() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 1000, 3), dtype=np.uint8)
    mask = np.resize(np.array([0, 1, IGNORE], np.uint8), image.shape[:2])
    tracemalloc.start()
    tinted = overlay(image, mask, CLASSES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image.nbytes
    for row in (0, 350, 699):
        np.testing.assert_array_equal(tinted[row], overlay(image[row], mask[row], CLASSES))


def test_comparison_is_image_truth_and_prediction_from_left_to_right() -> None:
    picture = comparison(IMAGE, MASK, np.ones_like(MASK), CLASSES)
    assert picture.shape == (2, 9 + 2 * GAP, 3)
    np.testing.assert_array_equal(picture[:, :3], IMAGE)
    assert picture[0, 3 + GAP : 6 + GAP].tolist() == [[0, 0, 0], [200, 100, 0], [0, 0, 0]]
    np.testing.assert_array_equal(picture[:, 6 + 2 * GAP :], overlay(IMAGE, np.ones_like(MASK), CLASSES))


def test_contact_sheet_has_a_row_a_frame_and_keeps_label_colors_however_large_the_frame() -> None:
    small = np.zeros((2, 3), np.uint8)
    large = np.full((4000, 3001), 1, np.uint8)
    sheet = contact_sheet([(IMAGE, small), (np.full((4000, 3001, 3), 9, np.uint8), large)], CLASSES)
    assert sheet.shape == (2 + GAP + TILE[0] + GAP, 2 * (TILE[1] + GAP), 3)
    np.testing.assert_array_equal(sheet[:2, :3], IMAGE)
    assert (sheet[:2, 3 + GAP : 6 + GAP] == 0).all()
    below = sheet[2 + GAP :]
    assert (below[0, :180] == 9).all()  # 3001 x 240 / 4000, rounded
    assert (below[239, 180 + GAP : 360 + GAP] == (200, 100, 0)).all()
    assert (below[240:] == 255).all()
    assert (below[:, 360 + GAP :] == 255).all()
