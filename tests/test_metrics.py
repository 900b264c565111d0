"""Counts compared with a plain loop, scores with those worked out by hand."""

from __future__ import annotations

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


def test_scores_are_those_worked_out_by_hand() -> None:
    # label a 6: 5 found; label b 4: 2 found, 1 taken for a, 1 for c; c occurs in predictions only, d is absent
    result = scores(np.array([[5, 1, 0, 0], [1, 2, 1, 0], [0] * 4, [0] * 4]), (A, B, C, D))
    assert result["iou"] == {"a": 5 / 7, "b": 2 / 5, "c": 0.0, "d": None}
    assert result["miou"] == pytest.approx((5 / 7 + 2 / 5 + 0) / 3)
    assert result["pixel_accuracy"] == pytest.approx(7 / 10)
    assert result["mean_accuracy"] == pytest.approx((5 / 6 + 2 / 4) / 2)
    assert result["fw_iou"] == pytest.approx(0.6 * 5 / 7 + 0.4 * 2 / 5)
    assert result["precision"] == {"a": 5 / 6, "b": 2 / 3, "c": 0.0, "d": None}
    assert result["recall"] == {"a": 5 / 6, "b": 1 / 2, "c": None, "d": None}
    assert result["f1"] == {"a": 5 / 6, "b": 4 / 7, "c": 0.0, "d": None}
    assert result["share"] == {"a": 3 / 5, "b": 2 / 5, "c": 0.0, "d": 0.0}
    assert all(type(result[name]) is float for name in ("miou", "pixel_accuracy", "mean_accuracy", "fw_iou"))
    large = scores(np.array([[5, 1, 0], [1, 2, 1], [0] * 3]) * 2**40)
    assert large["fw_iou"] == pytest.approx(result["fw_iou"])
    # of images that are ignored everywhere
    nothing = dict.fromkeys(("miou", "pixel_accuracy", "mean_accuracy", "fw_iou"))
    by_class = {name: dict.fromkeys("abc") for name in ("iou", "precision", "recall", "f1", "share")}
    assert scores(np.zeros((3, 3), np.int64)) == {**nothing, **by_class}
