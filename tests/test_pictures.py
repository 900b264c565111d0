"""Pictures show the image, the colors and names of the classes, and no tint where a pixel is background or ignored."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fcn.datasets.camvid import CLASSES as CAMVID
from fcn.images import IGNORE, SegmentationClass
from fcn.pictures import GAP, MIN_WIDTH, comparison, confusion_picture, legend, overlay

CLASSES = (SegmentationClass("a", (0, 0, 0)), SegmentationClass("b", (200, 100, 0)))
WITH_IGNORED = (*CLASSES, SegmentationClass("ignored", (0, 0, 0)))
TITLE = 24  # height in pixels of the titles of a picture of at most 1000 pixels


@pytest.mark.parametrize("name", ["background", "Background", "a"])
@pytest.mark.parametrize(("alpha", "expected"), [(0.5, (150, 100, 50)), (0.25, (125, 100, 75)), (0, (100,) * 3)])
def test_overlay_mixes_in_the_class_color_but_not_on_background_and_ignored_pixels(
    name: str, alpha: float, expected: tuple[int, ...]
) -> None:
    image = np.full((700, 1000, 3), 100, np.uint8)
    mask = np.resize(np.array([0, 1, IGNORE], np.uint8), image.shape[:2])
    tracemalloc.start()
    tinted = overlay(image, mask, (SegmentationClass(name, (0, 0, 0)), CLASSES[1]), alpha)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image.nbytes
    assert tinted.dtype == np.uint8
    assert (tinted[mask == 0] == (round(100 * (1 - alpha)) if name == "a" else 100)).all()
    assert (tinted[mask == 1] == expected).all()
    assert (tinted[mask == IGNORE] == 100).all()
    assert (image == 100).all()


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
    truth = np.where(label[..., np.newaxis] == 1, (200, 100, 0), 0)
    for index, shown in enumerate((image, truth, overlay(image, prediction, CLASSES))):
        column = slice(index * (200 + GAP), index * (200 + GAP) + 200)
        np.testing.assert_array_equal(row[:, column], shown)
        assert (titles[:, column] == 0).any()
    np.testing.assert_array_equal(below, legend(WITH_IGNORED, 600 + 2 * GAP, [0.25, 0.5, 0.25]))


@pytest.mark.parametrize(("shape", "width"), [((2, 3), MIN_WIDTH), ((64, 200), 600 + 2 * GAP)])
def test_comparisons_of_one_size_stack(shape: tuple[int, int], width: int) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    for label in (image[..., 0], image[..., 0] + IGNORE):
        assert comparison(image, label, label, CLASSES).shape[1] == width


def test_columns_of_small_frames_leave_room_for_their_titles() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    row = comparison(image, image[..., 0], image[..., 0], CLASSES)[TITLE]
    columns = np.flatnonzero((row == 0).all(axis=-1))
    assert columns.min() == 0
    assert 2 * (MIN_WIDTH // 3) in columns  # the prediction


def test_confusion_matrix_is_green_where_right_orange_where_wrong_and_white_where_nothing_is() -> None:
    counts = np.array([[3, 1], [0, 4]])
    picture = confusion_picture(counts, [SegmentationClass(name, (0, 0, 0)) for name in ("road", "a longer name")])
    side = 2 * 36
    corner = picture.shape[1] - side - 4
    cells = {
        at: picture[36 * at[0] + 3, corner + 36 * at[1] + 3].astype(int) for at in np.ndindex(2, 2)
    }  # off the text
    assert cells[0, 0][1] > cells[0, 0][0]
    assert cells[0, 1][0] > cells[0, 1][1] > cells[0, 1][2]
    assert cells[1, 0].tolist() == [255, 255, 255]
    assert cells[1, 1].sum() < cells[0, 0].sum()  # more of the row, so stronger
