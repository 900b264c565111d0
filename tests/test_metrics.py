"""Scores compared with counts done by hand and in plain loops."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
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


def scores(counts: np.ndarray, classes: tuple[SegmentationClass, ...] = (A, B, C)) -> dict[str, object]:
    matrix = ConfusionMatrix(classes)
    matrix.counts += counts
    return matrix.scores()


@given(FRAMES, st.integers(0, 9))
def test_counts_are_those_of_a_plain_loop_over_the_valid_pixels_however_grouped(
    frame: tuple[np.ndarray, np.ndarray], row: int
) -> None:
    expected = [[0] * 3 for _ in range(3)]
    for label, prediction in zip(*(labels.ravel().tolist() for labels in frame), strict=True):
        if label != IGNORE:
            expected[label][prediction] += 1
    matrix = ConfusionMatrix((A, B, C))
    for part in (slice(row), slice(row, None)):
        matrix.add("name", frame[0][part], frame[1][part])
    assert matrix.counts.tolist() == expected
    assert matrix.counts.dtype == np.int64


@given(MATRICES)
@example(np.zeros((3, 3), np.int64))  # of images that are ignored everywhere
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
    named = scores(matrix)
    result = [named[name] for name in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou")] + [*named["iou"].values()]
    assert [one is None for one in result] == [one is None for one in expected]
    assert [one for one in result if one is not None] == pytest.approx(
        [float(one) for one in expected if one is not None]
    )
    assert all(type(one) is float and 0 <= one <= 1 for one in result if one is not None)


def test_scores_are_those_worked_out_by_hand() -> None:
    # label a 6: 5 found; label b 4: 2 found, 1 taken for a, 1 for c; c occurs in predictions only, d is absent
    result = scores(np.array([[5, 1, 0, 0], [1, 2, 1, 0], [0] * 4, [0] * 4]), (A, B, C, D))
    assert result["iou"] == {"a": 5 / 7, "b": 2 / 5, "c": 0.0, "d": None}
    assert result["miou"] == pytest.approx((5 / 7 + 2 / 5 + 0) / 3)
    assert result["pixel_accuracy"] == pytest.approx(7 / 10)
    assert result["mean_accuracy"] == pytest.approx((5 / 6 + 2 / 4) / 2)
    assert result["fw_iou"] == pytest.approx(0.6 * 5 / 7 + 0.4 * 2 / 5)
