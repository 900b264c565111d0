"""Class weights: from how often a class is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import ROOT

from fcn.config.settings import DataConfig, TrainConfig
from fcn.datasets import open_split
from fcn.datasets.class_weights import class_weights, median_frequency
from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.datasets.statistics import check_frames
from fcn.images import IGNORE

REAL = ROOT / "data" / "CamVid"


def weights(labels: list[list[int]], **recipe: Any) -> tuple[float, ...]:
    """Of two classes, from frames of one row."""
    frames = [(np.zeros((1, len(row), 3), np.uint8), np.array([row], np.uint8)) for row in labels]
    dataset = Dataset("train", BACKGROUND_AND_ROAD, tuple(map(str, range(len(frames)))), frames.__getitem__)
    return class_weights(TrainConfig(**recipe), check_frames([dataset]).splits[0])


def test_median_frequency_is_taken_over_the_frames_that_show_a_class() -> None:
    # shares where shown: 120 of 300, 30 of 100, 30 of 200, never; the median of .4, .3, .15 is .3
    counts = np.array([60 + 60, 30, 30, 0])
    shown = np.array([100 + 200, 100, 200, 0])
    np.testing.assert_allclose(median_frequency(counts, shown), [0.75, 1, 2, 1])


@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
def test_ignored_pixels_count_as_pixels_and_the_power_softens(power: float) -> None:
    found = weights([[0, 0, 1, IGNORE], [0, 0, 0, 0]], class_weights="median_frequency", class_weight_power=power)
    # shares 6 of 8 and 1 of 4, their median 1 of 2
    np.testing.assert_allclose(found, np.array([2 / 3, 2]) ** power)


def test_weights_are_one_by_default() -> None:
    assert weights([[0, 1, 1]]) == (1.0, 1.0)


@pytest.mark.skipif(not REAL.is_dir(), reason="data/CamVid is not there (data/README.md tells how to get it)")
def test_weights_of_camvid_are_those_computed_elsewhere() -> None:
    config = DataConfig(kind="camvid", root=str(REAL), labels="all")
    training = check_frames([open_split(config, "train")]).splits[0]
    found = class_weights(TrainConfig(class_weights="median_frequency"), training)
    expected = (0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587)
    np.testing.assert_allclose(found, expected, atol=5e-5)
