"""Synthetic road scenes: reproducible, valid, and not solved by color."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from fcn.config.settings import DataConfig
from fcn.datasets.synthetic import CLASSES, open_split
from fcn.images import IGNORE, Array

ROAD = [index for index, one in enumerate(CLASSES) if one.road]
Frame = tuple[Array, Array]


def frames(split: str, indices: Iterable[int], **settings: object) -> list[Frame]:
    dataset = open_split(DataConfig(**settings), split)  # type: ignore[arg-type]
    return [dataset.read(index) for index in indices]


@pytest.fixture(scope="module")
def train_frames() -> list[Frame]:
    return frames("train", range(80))


@pytest.fixture(scope="module")
def val_frames() -> list[Frame]:
    return frames("val", range(24))


def test_frame_depends_on_split_and_index_only() -> None:
    first = frames("train", [3, 5])
    again = frames("train", [5, 3], synthetic_frames=(6, 1, 1))[::-1]
    np.testing.assert_equal(first, again)
    others = frames("val", [3]) + frames("test", [3])
    assert len({image.tobytes() for image, _ in first + others}) == 4


def test_names_count_the_frames_of_their_split() -> None:
    config = DataConfig(synthetic_frames=(13, 2, 1))
    assert open_split(config, "train").names[12:] == ("train_000012",)
    assert open_split(config, "val").names == ("val_000000", "val_000001")


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (33, 95), (120, 60), (375, 1242), (32, 1000)])
def test_any_size_gives_a_uint8_image_and_a_label_of_classes_and_ignore(size: tuple[int, int]) -> None:
    for image, label in frames("test", range(3), synthetic_size=size):
        assert (image.dtype, image.shape) == (np.uint8, (*size, 3))
        assert (label.dtype, label.shape) == (np.uint8, size)
        assert set(np.unique(label)) <= {*range(len(CLASSES)), IGNORE}
        assert np.isin(ROAD, label).any()


def test_every_class_and_ignored_pixels_occur(val_frames: list[Frame]) -> None:
    assert set(np.unique([label for _, label in val_frames])) == {*range(len(CLASSES)), IGNORE}


def test_road_takes_a_quarter_of_the_pixels_and_is_in_every_frame(train_frames: list[Frame]) -> None:
    shares = [np.isin(label, ROAD).mean() for _, label in train_frames]
    assert 0.2 < np.mean(shares) < 0.3
    assert min(shares) > 0.05
    assert max(shares) < 0.5


def test_majority_class_of_each_color_finds_the_road_badly(train_frames: list[Frame], val_frames: list[Frame]) -> None:
    def bins_and_road(some: list[Frame]) -> Frame:
        valid = np.stack([label for _, label in some]) != IGNORE
        colors = np.stack([image for image, _ in some])[valid].astype(int) // 16
        return colors @ [256, 16, 1], np.isin([label for _, label in some], ROAD)[valid]

    bins, road = bins_and_road(train_frames)
    is_road = np.bincount(bins, weights=road - 0.5, minlength=16**3) > 0  # a color that is not in train is not road
    bins, road = bins_and_road(val_frames)
    found = is_road[bins]
    iou = (found & road).sum() / (found | road).sum()
    assert 0.45 < iou < 0.65  # all pixels would have 0.25, a trained network has 0.96
