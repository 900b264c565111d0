"""Scores against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fcn.evaluation.confusion import count_pixels, scores
from fcn.images import IGNORE, SegmentationClass

A, B, C = (SegmentationClass(name, (0, 0, 0)) for name in "abc")
TRUTH = np.array([[0, 0, 0, 1], [1, 1, IGNORE, IGNORE]], np.uint8)
PREDICTION = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], np.uint8)


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
