"""Boundary F-scores worked out by hand, distances compared with a plain search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fcn.evaluation.boundaries import BoundaryScores, boundary, changes, matched, pixels_at, within
from fcn.images import IGNORE, SegmentationClass

CLASSES = [SegmentationClass(name, (0, 0, 0)) for name in "ab"]
SIZE = st.tuples(st.integers(1, 9), st.integers(1, 9))
LABELS = SIZE.flatmap(lambda size: arrays.arrays(np.uint8, size, elements=st.sampled_from([0, 1, IGNORE])))


def split_at(column: int, height: int = 360, width: int = 40) -> np.ndarray:
    """Class a left of a column, class b from it on."""
    label = np.zeros((height, width), np.uint8)
    label[:, column:] = 1
    return label


def scores(label: np.ndarray, prediction: np.ndarray) -> dict:
    found = BoundaryScores(CLASSES)
    found.add(label, prediction)
    return found.scores()


@given(LABELS)
def test_boundary_is_the_pixels_next_to_another_class_but_not_to_ignored_ones(label: np.ndarray) -> None:
    height, width = label.shape
    for (row, column), value in np.ndenumerate(label):
        steps = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        near = {int(label[one]) for one in steps if 0 <= one[0] < height and 0 <= one[1] < width}
        is_boundary = value != IGNORE and bool(near - {int(value), IGNORE})
        assert boundary(label)[row, column] == (value if is_boundary else IGNORE)
        assert changes(label)[row, column] == bool(near - {int(value)})


@given(LABELS, LABELS, st.integers(0, 3))
def test_distances_are_those_of_a_plain_search(one: np.ndarray, other: np.ndarray, radius: int) -> None:
    other = np.resize(other, one.shape)
    places = [place for place, _ in np.ndenumerate(one)]
    for place in places:
        square = [p for p in places if max(abs(p[0] - place[0]), abs(p[1] - place[1])) <= radius]
        assert within(one == 1, radius)[place] == any(one[p] == 1 for p in square)
        circle = [p for p in places if (p[0] - place[0]) ** 2 + (p[1] - place[1]) ** 2 <= radius**2]
        is_near = one[place] != IGNORE and any(other[p] == one[place] for p in circle)
        assert matched(one, other, radius)[place] == is_near


@pytest.mark.parametrize(("height", "shift", "expected"), [(360, 2, 1), (360, 3, 0), (1080, 6, 1), (1080, 7, 0)])
def test_boundary_counts_as_met_within_two_pixels_at_360_rows(height: int, shift: int, expected: int) -> None:
    result = scores(split_at(10, height), split_at(10 + shift, height))
    assert result["boundary_f"] == {"a": expected, "b": expected}
    assert (result["mean_boundary_f"], result["boundary_tolerance"]) == (expected, 2)


def test_boundary_f_is_the_harmonic_mean_of_precision_and_recall_averaged_over_frames() -> None:
    label = split_at(10)
    stripe = label.copy()
    stripe[:, 30:] = 0  # one more boundary: precision 1/2, recall 1
    found = BoundaryScores(CLASSES)
    found.add(label, stripe)
    assert found.scores()["boundary_f"] == {"a": pytest.approx(2 / 3), "b": pytest.approx(2 / 3)}
    found.add(label, np.zeros_like(label))  # no boundary is predicted
    found.add(np.zeros_like(label), label)  # none is there, so the frame does not count
    assert found.scores()["boundary_f"] == {"a": pytest.approx(1 / 3), "b": pytest.approx(1 / 3)}


def test_boundary_near_ignored_pixels_does_not_count() -> None:
    label = split_at(10)
    label[:, 8:12] = IGNORE
    assert scores(label, split_at(20))["boundary_f"] == {"a": None, "b": None}
    label = split_at(10)
    label[:180, 8:12] = IGNORE  # the lower half counts, but for two rows
    assert scores(label, split_at(9))["boundary_f"] == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("height", [360, 1080])
def test_bands_hold_the_pixels_of_their_distance_and_all_labeled_pixels_once(height: int) -> None:
    scale = height // 360
    label = split_at(100 * scale, height, width=200 * scale)
    prediction = split_at(95 * scale, height, width=200 * scale)  # wrong up to 5 pixels from the boundary
    rows = scores(label, prediction)["by_distance"]
    assert [(row["from"], row["to"]) for row in rows] == [(0, 2), (2, 4), (4, 8), (8, 16), (16, None)]
    assert [row["share"] * 200 for row in rows] == pytest.approx([4, 4, 8, 16, 168])
    assert [row["errors"] for row in rows] == pytest.approx([2 / 5, 2 / 5, 1 / 5, 0, 0])
    assert [row["pixel_accuracy"] for row in rows] == pytest.approx([1 / 2, 1 / 2, 7 / 8, 1, 1])
    assert rows[0]["iou"] == {"a": 0.0, "b": pytest.approx(1 / 2)}
    nothing = scores(np.full((9, 9), IGNORE, np.uint8), np.zeros((9, 9), np.uint8))["by_distance"]
    assert {row["share"] for row in nothing} == {None}


def test_distance_is_at_least_a_pixel() -> None:
    assert [pixels_at(height, 2) for height in (1, 90, 360, 1080)] == [1, 1, 2, 6]
