"""Scores against counts done by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fcn.evaluation.metrics import count_pixels, scores
from fcn.images import IGNORE, SegmentationClass

A, B, C = (SegmentationClass(name, (0, 0, 0)) for name in "abc")
TRUTH = np.array([[0, 0, 0, 1], [1, 1, IGNORE, IGNORE]], np.uint8)
PREDICTION = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], np.uint8)


SIZES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9)
FRAMES = SIZES.flatmap(
    lambda size: st.tuples(
        arrays.arrays(np.uint8, size, elements=st.sampled_from([0, 1, 2, IGNORE])),
        arrays.arrays(np.uint8, size, elements=st.integers(0, 2)),
    )
)
MATRICES = arrays.arrays(np.int64, (3, 3), elements=st.integers(0, 3) | st.integers(0, 2**40))


def measures(result: dict[str, object]) -> list[float | None]:
    """All numbers of the scores, those of the classes last."""
    return [result[name] for name in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou")] + [*result["iou"].values()]


@given(FRAMES)
def test_counts_are_those_of_a_plain_loop_over_the_pixels(frame: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [[0] * 3 for _ in range(3)]
    for truth, prediction in zip(*(labels.ravel().tolist() for labels in frame), strict=True):
        if truth != IGNORE:
            expected[truth][prediction] += 1
    counts = count_pixels(*frame, 3)
    assert counts.tolist() == expected
    assert counts.dtype == np.int64


@given(FRAMES, st.integers(0, 9))
def test_counts_of_the_parts_add_up_to_those_of_the_whole(frame: tuple[np.ndarray, np.ndarray], row: int) -> None:
    upper, lower = (count_pixels(*(labels[part] for labels in frame), 3) for part in (np.s_[:row], np.s_[row:]))
    np.testing.assert_array_equal(upper + lower, count_pixels(*frame, 3))


@given(FRAMES, st.randoms(use_true_random=False))
def test_what_is_predicted_on_ignored_pixels_changes_nothing(
    frame: tuple[np.ndarray, np.ndarray], random: st.DataObject
) -> None:
    truth, prediction = frame
    other = np.where(truth == IGNORE, random.randrange(3), prediction)
    np.testing.assert_array_equal(count_pixels(truth, other, 3), count_pixels(truth, prediction, 3))


@given(MATRICES)
def test_scores_are_those_of_fractions_added_in_a_plain_loop(matrix: np.ndarray) -> None:
    m, every = matrix.tolist(), range(3)
    truth = [sum(m[i]) for i in every]
    union = [truth[i] + sum(m[j][i] for j in every) - m[i][i] for i in every]
    iou = [Fraction(m[i][i], union[i]) if union[i] else None for i in every]
    occurring = [one for one in iou if one is not None]
    found = [Fraction(m[i][i], truth[i]) for i in every if truth[i]]
    expected: list[Fraction | None] = [
        sum(occurring) / len(occurring) if occurring else None,
        Fraction(sum(m[i][i] for i in every), sum(truth)) if found else None,
        sum(found) / len(found) if found else None,
        sum(iou[i] * truth[i] for i in every if truth[i]) / sum(truth) if found else None,
        *iou,
    ]
    result = measures(scores(matrix, (A, B, C)))
    assert [one is None for one in result] == [one is None for one in expected]
    assert [one for one in result if one is not None] == pytest.approx(
        [float(one) for one in expected if one is not None]
    )
    assert all(type(one) is float and 0 <= one <= 1 for one in result if one is not None)


@given(MATRICES, st.permutations(range(3)))
def test_renumbered_classes_keep_their_scores(matrix: np.ndarray, order: list[int]) -> None:
    classes = (A, B, C)
    plain, renumbered = scores(matrix, classes), scores(matrix[np.ix_(order, order)], [classes[i] for i in order])
    assert renumbered["iou"] == plain["iou"]
    assert measures(renumbered)[:4] == pytest.approx(measures(plain)[:4])


@given(FRAMES)
def test_a_prediction_equal_to_the_truth_scores_1(frame: tuple[np.ndarray, np.ndarray]) -> None:
    truth, _ = frame
    result = measures(scores(count_pixels(truth, truth, 3), (A, B, C)))
    assert {*result} <= {None, 1.0}
    assert (result[0] == 1) == (truth != IGNORE).any()


def test_pixels_are_counted_by_truth_and_prediction_without_the_ignored() -> None:
    np.testing.assert_array_equal(count_pixels(TRUTH, PREDICTION, 2), [[2, 1], [1, 2]])


def test_scores_are_those_worked_out_by_hand() -> None:
    # truth a 6: 5 found; truth b 4: 2 found, 1 taken for a, 1 for c; c occurs in predictions only
    result = scores(np.array([[5, 1, 0], [1, 2, 1], [0, 0, 0]]), (A, B, C))
    assert result["iou"] == {"a": 5 / 7, "b": 2 / 5, "c": 0.0}
    assert result["miou"] == pytest.approx((5 / 7 + 2 / 5 + 0) / 3)
    assert result["pixel_accuracy"] == pytest.approx(7 / 10)
    assert result["mean_accuracy"] == pytest.approx((5 / 6 + 2 / 4) / 2)
    assert result["fw_iou"] == pytest.approx(0.6 * 5 / 7 + 0.4 * 2 / 5)


def test_absent_class_has_no_score_and_does_not_count_in_the_mean() -> None:
    result = scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), (A, B, C))
    assert result["iou"] == {"a": 3 / 4, "b": 4 / 5, "c": None}
    assert result["miou"] == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_all_ignored_image_changes_nothing_and_alone_has_no_score() -> None:
    ignored = count_pixels(np.full((2, 4), IGNORE, np.uint8), PREDICTION, 2)
    assert not ignored.any()
    result = scores(ignored, (A, B))
    assert result == {
        "miou": None,
        "iou": {"a": None, "b": None},
        "pixel_accuracy": None,
        "mean_accuracy": None,
        "fw_iou": None,
    }


def test_scores_of_a_split_are_not_the_mean_of_its_frames() -> None:
    first, second = np.array([[9, 0], [1, 0]]), np.array([[0, 0], [0, 10]])
    pooled = scores(first + second, (A, B))["iou"]
    assert pooled == {"a": 9 / 10, "b": 10 / 11}
