"""The expected calibration error compared with its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn.evaluation.calibration import Calibration
from fcn.images import IGNORE


@given(st.integers(0, 2**32 - 1))
def test_ece_is_that_of_guo_et_al_over_the_labeled_pixels(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = random.choice(np.array([0, 1, IGNORE], np.uint8), (9, 11))
    prediction = random.integers(0, 2, label.shape, np.uint8)
    confidence = random.integers(0, 256, label.shape, np.uint8)
    found = Calibration()
    for part in (slice(4), slice(4, None)):
        found.add(label[part], prediction[part], confidence[part])
    scores = found.scores()

    valid = label != IGNORE
    p = confidence[valid] / 255
    is_right = (label == prediction)[valid]
    expected = 0.0
    for row, start in zip(scores["reliability"], np.arange(15) / 15, strict=True):
        inside = (p > start + 1e-9) & (p <= start + 1 / 15 + 1e-9)
        inside |= (start == 0) & (p == 0)
        assert row["share"] == pytest.approx(inside.mean())
        if inside.any():
            assert (row["confidence"], row["accuracy"]) == pytest.approx((p[inside].mean(), is_right[inside].mean()))
            expected += inside.mean() * abs(p[inside].mean() - is_right[inside].mean())
    assert scores["ece"] == pytest.approx(expected)


def test_nothing_counted_gives_no_score() -> None:
    scores = Calibration().scores()
    assert scores["ece"] is None
    assert {row["accuracy"] for row in scores["reliability"]} == {None}
