"""Pictures show the image, the colors and names of the classes, and no tint where a pixel is background or ignored."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fcn.datasets.camvid import CLASSES as CAMVID
from fcn.images import IGNORE, SegmentationClass
from fcn.pictures import GAP, MIN_WIDTH, TILE, comparison, contact_sheet, legend, overlay

CLASSES = (SegmentationClass("a", (0, 0, 0)), SegmentationClass("b", (200, 100, 0)))
IMAGE = np.full((2, 3, 3), 100, np.uint8)
MASK = np.array([[0, 1, IGNORE], [1, 0, IGNORE]], np.uint8)
TITLE = 24  # height in pixels of the titles of a picture of at most 1000 pixels


@pytest.mark.parametrize(("alpha", "expected"), [(0.5, [150, 100, 50]), (0.25, [125, 100, 75]), (0, [100] * 3)])
def test_overlay_mixes_image_and_class_color_by_alpha(alpha: float, expected: list[int]) -> None:
    tinted = overlay(IMAGE, MASK, CLASSES, alpha)
    assert tinted.dtype == np.uint8
    assert tinted[0].tolist() == [[round(100 * (1 - alpha))] * 3, expected, [100, 100, 100]]


@pytest.mark.parametrize("name", ["background", "Background"])
def test_overlay_leaves_background_and_ignored_pixels_alone(name: str) -> None:
    tinted = overlay(IMAGE, MASK, (SegmentationClass(name, (70, 70, 70)), CLASSES[1]))
    np.testing.assert_array_equal(tinted[MASK != 1], IMAGE[MASK != 1])
    assert (tinted[MASK == 1] == (150, 100, 50)).all()


def test_overlay_of_a_large_image_needs_little_memory_beyond_the_result() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 1000, 3), dtype=np.uint8)
    mask = np.resize(np.array([0, 1, IGNORE], np.uint8), image.shape[:2])
    tracemalloc.start()
    tinted = overlay(image, mask, CLASSES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image.nbytes
    for row in (0, 350, 699):
        np.testing.assert_array_equal(tinted[row], overlay(image[row], mask[row], CLASSES))


@pytest.mark.parametrize("shares", [None, [1 / 11] * 11])
@pytest.mark.parametrize("width", [320, 480, 1920])
def test_legend_shows_every_class_and_wraps_to_the_width(width: int, shares: list[float] | None) -> None:
    strip = legend(CAMVID, width, shares)
    assert (strip.dtype, strip.shape[1:]) == (np.uint8, (width, 3))
    for one in CAMVID:
        assert (strip == one.color).all(axis=-1).sum() > 50
    assert (strip[:, -GAP:] == 255).all()  # no name is cut off
    assert (strip < 60).any(axis=(1, 2)).any()  # text is black
    assert strip.shape[0] < width / 2
    assert legend(CAMVID[:2], width, shares and shares[:2]).shape[0] < legend(CAMVID, 320, shares).shape[0]


def test_legend_names_the_share_of_each_class_in_one_line_per_name() -> None:
    assert not np.array_equal(legend(CLASSES, 320, [0.25, 0.75]), legend(CLASSES, 320, [0.75, 0.25]))
    odd = (SegmentationClass("two\nlines", (1, 2, 3)), SegmentationClass("long" * 200, (4, 5, 6)))
    assert legend(odd, 320).shape[1] == 320


def test_comparison_is_image_ground_truth_and_prediction_with_titles_and_legend() -> None:
    image = np.full((50, 200, 3), 100, np.uint8)
    label = np.resize(np.array([0, 1, IGNORE, 1], np.uint8), (50, 200))
    prediction = np.ones_like(label)
    picture = comparison(image, label, prediction, CLASSES)
    titles, row, below = picture[:TITLE], picture[TITLE : TITLE + 50], picture[TITLE + 50 + GAP :]
    columns = [slice(left, left + 200) for left in (0, 200 + GAP, 400 + 2 * GAP)]
    expected = [image, np.resize(np.array([[0] * 3, (200, 100, 0), [0] * 3, (200, 100, 0)]), (50, 200, 3))]
    expected.append(overlay(image, prediction, CLASSES))
    for column, shown in zip(columns, expected, strict=True):
        np.testing.assert_array_equal(row[:, column], shown)
        assert (titles[:, column] == 0).any()
    ignored = SegmentationClass("ignored", (0, 0, 0))
    np.testing.assert_array_equal(below, legend([*CLASSES, ignored], 600 + 2 * GAP, [0.25, 0.5, 0.25]))


def test_comparisons_of_one_size_stack() -> None:
    for shape in ((2, 3), (64, 200)):
        image = np.zeros((*shape, 3), np.uint8)
        labels = [np.full(shape, value, np.uint8) for value in (0, IGNORE)]
        widths = {comparison(image, label, label, CLASSES).shape[1] for label in labels}
        assert widths == {max(MIN_WIDTH, 3 * shape[1] + 2 * GAP)}


def test_contact_sheet_has_a_row_a_frame_and_keeps_label_colors_however_large_the_frame() -> None:
    small = np.zeros((2, 3), np.uint8)
    large = np.full((4000, 3001), 1, np.uint8)
    sheet = contact_sheet([(IMAGE, small), (np.full((4000, 3001, 3), 9, np.uint8), large)], CLASSES)
    column = 180 + GAP  # 3001 x 240 / 4000, rounded
    assert sheet.shape[1] == 2 * 180 + GAP  # no empty column
    np.testing.assert_array_equal(sheet[TITLE : TITLE + 2, :3], IMAGE)
    assert (sheet[TITLE : TITLE + 2, column : column + 3] == 0).all()
    below = sheet[TITLE + 2 + GAP :]
    assert (below[: TILE[0], :180] == 9).all()
    assert (below[: TILE[0], column:] == (200, 100, 0)).all()
    assert (below[TILE[0] : TILE[0] + GAP] == 255).all()
    assert (sheet[:TITLE, column:] == 0).any()
    np.testing.assert_array_equal(
        below[TILE[0] + GAP :], legend([*CLASSES, SegmentationClass("ignored", (0, 0, 0))], sheet.shape[1])
    )
