"""Scores compared with counts done by hand and in plain loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fcn.evaluation.metrics import ConfusionMatrix
from fcn.images import IGNORE, SegmentationClass

A, B, C, D = (SegmentationClass(name, (0, 0, 0)) for name in "abcd")

SIZES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9)
FRAMES = SIZES.flatmap(
    lambda size: st.tuples(
        arrays.arrays(np.uint8, size, elements=st.sampled_from([0, 1, 2, IGNORE])),
        arrays.arrays(np.uint8, size, elements=st.integers(0, 2)),
    )
)
MATRICES = arrays.arrays(np.int64, (3, 3), elements=st.integers(0, 3) | st.integers(0, 2**40))


def counted(*frames: tuple[np.ndarray, np.ndarray]) -> ConfusionMatrix:
    matrix = ConfusionMatrix((A, B, C))
    for label, prediction in frames:
        matrix.add("name", label, prediction)
    return matrix


def scores(counts: np.ndarray, classes: tuple[SegmentationClass, ...] = (A, B, C)) -> dict[str, object]:
    matrix = ConfusionMatrix(classes)
    matrix.counts += counts
    return matrix.scores()


def measures(result: dict[str, object]) -> list[float | None]:
    """All numbers of the scores, those of the classes last."""
    return [result[name] for name in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou")] + [*result["iou"].values()]


@given(FRAMES)
def test_counts_are_those_of_a_plain_loop_over_the_pixels(frame: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [[0] * 3 for _ in range(3)]
    for label, prediction in zip(*(labels.ravel().tolist() for labels in frame), strict=True):
        if label != IGNORE:
            expected[label][prediction] += 1
    counts = counted(frame).counts
    assert counts.tolist() == expected
    assert counts.dtype == np.int64


@given(FRAMES, st.integers(0, 9))
def test_counts_do_not_depend_on_how_pixels_are_grouped(frame: tuple[np.ndarray, np.ndarray], row: int) -> None:
    label, prediction = frame
    parts = counted((label[:row], prediction[:row]), (label[row:], prediction[row:]))
    np.testing.assert_array_equal(parts.counts, counted(frame).counts)


@given(FRAMES, st.integers(0, 2))
def test_predictions_on_ignored_pixels_change_nothing(frame: tuple[np.ndarray, np.ndarray], value: int) -> None:
    label, prediction = frame
    other = np.where(label == IGNORE, value, prediction)
    np.testing.assert_array_equal(counted((label, other)).counts, counted(frame).counts)


@given(MATRICES)
def test_scores_are_those_of_fractions_added_in_a_plain_loop(matrix: np.ndarray) -> None:
    m = matrix.tolist()
    every = range(3)
    label = [sum(m[i]) for i in every]
    union = [label[i] + sum(m[j][i] for j in every) - m[i][i] for i in every]
    iou = [Fraction(m[i][i], union[i]) if union[i] else None for i in every]
    occurring = [one for one in iou if one is not None]
    found = [Fraction(m[i][i], label[i]) for i in every if label[i]]
    expected: list[Fraction | None] = [
        sum(occurring) / len(occurring) if occurring else None,
        Fraction(sum(m[i][i] for i in every), sum(label)) if found else None,
        sum(found) / len(found) if found else None,
        sum(iou[i] * label[i] for i in every if label[i]) / sum(label) if found else None,
        *iou,
    ]
    result = measures(scores(matrix))
    assert [one is None for one in result] == [one is None for one in expected]
    assert [one for one in result if one is not None] == pytest.approx(
        [float(one) for one in expected if one is not None]
    )
    assert all(type(one) is float and 0 <= one <= 1 for one in result if one is not None)


@given(MATRICES, st.permutations(range(3)))
def test_renumbered_classes_keep_their_scores(matrix: np.ndarray, order: list[int]) -> None:
    plain = scores(matrix)
    renumbered = scores(matrix[np.ix_(order, order)], tuple((A, B, C)[i] for i in order))
    assert renumbered["iou"] == plain["iou"]
    assert measures(renumbered)[:4] == pytest.approx(measures(plain)[:4])


@given(FRAMES)
def test_a_prediction_equal_to_the_label_scores_1(frame: tuple[np.ndarray, np.ndarray]) -> None:
    label, _ = frame
    result = measures(counted((label, label)).scores())
    assert {*result} <= {None, 1.0}
    assert (result[0] == 1) == (label != IGNORE).any()


def test_scores_are_those_worked_out_by_hand() -> None:
    # label a 6: 5 found; label b 4: 2 found, 1 taken for a, 1 for c; c occurs in predictions only, d is absent
    result = scores(np.array([[5, 1, 0, 0], [1, 2, 1, 0], [0] * 4, [0] * 4]), (A, B, C, D))
    assert result["iou"] == {"a": 5 / 7, "b": 2 / 5, "c": 0.0, "d": None}
    assert result["miou"] == pytest.approx((5 / 7 + 2 / 5 + 0) / 3)
    assert result["pixel_accuracy"] == pytest.approx(7 / 10)
    assert result["mean_accuracy"] == pytest.approx((5 / 6 + 2 / 4) / 2)
    assert result["fw_iou"] == pytest.approx(0.6 * 5 / 7 + 0.4 * 2 / 5)


def test_all_ignored_image_has_no_scores() -> None:
    matrix = counted((np.full((2, 4), IGNORE, np.uint8), np.zeros((2, 4), np.uint8)))
    assert not matrix.counts.any()
    assert measures(matrix.scores()) == [None] * 7
