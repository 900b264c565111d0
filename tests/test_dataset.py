"""Splits: label tables, the road view, the cache, and the check of every frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from fcn.config.data_settings import DataConfig
from fcn.datasets import SPLITS, classes_of, open_split
from fcn.datasets.dataset import (
    BACKGROUND_AND_ROAD,
    Dataset,
    cached,
    check_frames,
    label_table,
    map_labels,
    open_files,
    road_labels,
)
from fcn.errors import UserError
from fcn.images import IGNORE, Array, SegmentationClass, read_label

CLASSES = (
    SegmentationClass("sky", (0, 0, 0)),
    SegmentationClass("road", (1, 1, 1), road=True),
    SegmentationClass("mark", (2, 2, 2), road=True),
)


class Counted:
    """Frames of 3 x 2 pixels (24 bytes with their labels) that count how often they are read."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def __call__(self, index: int) -> tuple[Array, Array]:
        self.reads.append(index)
        if index == 2:
            raise UserError("frame 2: is bad")
        return np.full((3, 2, 3), index, np.uint8), np.array([[0, 1], [2, IGNORE], [0, index]], np.uint8)


def make(read: Counted) -> Dataset:
    return Dataset("val", CLASSES, ("a", "b", "c"), read)


def test_values_outside_the_table_are_named_with_their_place() -> None:
    table = label_table({0: 0, 1: 1, 11: IGNORE})
    values = np.array([[0, 11], [1, 0]], np.uint8)
    np.testing.assert_array_equal(map_labels(values, table, Path("x.png")), [[0, IGNORE], [1, 0]])
    values[1, 0] = 12
    with pytest.raises(UserError, match=r"x.png: holds the value 12 at \(row, column\) \(1, 0\); legal are 0 to 11"):
        map_labels(values, table, Path("x.png"))


@given(st.dictionaries(st.integers(0, 255), st.integers(0, 255), min_size=1), st.data())
def test_labels_are_what_a_dictionary_gives(mapping: dict[int, int], data: st.DataObject) -> None:
    shape = array_shapes(min_dims=2, max_dims=2)
    values = data.draw(arrays(np.uint8, shape, elements=st.sampled_from(sorted(mapping))))
    expected = [[mapping[value] for value in row] for row in values.tolist()]
    np.testing.assert_array_equal(map_labels(values, label_table(mapping), Path("x.png")), expected)


@given(st.sets(st.integers(0, 255), min_size=1), arrays(np.uint8, array_shapes(min_dims=2, max_dims=2)))
def test_a_value_that_is_no_class_is_always_refused(legal: set[int], values: Array) -> None:
    table = label_table(dict.fromkeys(legal, 0))
    if set(values.ravel().tolist()) <= legal:
        assert not map_labels(values, table, Path("x.png")).any()
    else:
        with pytest.raises(UserError, match=f"holds the value {min(set(values.ravel().tolist()) - legal)} at"):
            map_labels(values, table, Path("x.png"))


def test_rotated_image_or_label_map_of_a_data_set_is_refused(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    for name in ("upright.png", "rotated.png"):
        Image.new("L", (3, 2)).save(tmp_path / name, **({"exif": tags} if name == "rotated.png" else {}))
    upright, rotated = tmp_path / "upright.png", tmp_path / "rotated.png"
    files = [("a", upright, upright), ("b", rotated, upright), ("c", upright, rotated)]
    split = open_files(DataConfig(), "val", CLASSES, files, lambda _, path: read_label(path))
    assert split.read(0)[0].shape == (2, 3, 3)
    for index in (1, 2):
        with pytest.raises(UserError, match=r"rotated.png: is rotated by its EXIF orientation 6; .*: save it upright"):
            split.read(index)


def test_road_labels_joins_the_road_classes_and_keeps_ignored_pixels() -> None:
    view = road_labels(make(Counted()))
    assert view.classes == BACKGROUND_AND_ROAD
    np.testing.assert_array_equal(view.read(1)[1], [[0, 1], [1, IGNORE], [0, 1]])


def test_cached_frames_are_read_once_until_the_memory_is_full() -> None:
    read = Counted()
    two_frames = cached(make(read), 0)
    for _ in range(2):
        two_frames.read(0)
    assert read.reads == [0, 0]
    one = cached(make(read), 1)
    read.reads.clear()
    for _ in range(2):
        image, label = one.read(1)
        assert (image[0, 0, 0], label[2, 1]) == (1, 1)
    assert read.reads == [1]


def test_cache_takes_no_more_frames_than_fit() -> None:
    big = np.zeros((500, 1000, 3), np.uint8), np.zeros((500, 1000), np.uint8)  # 2 MB
    reads: list[int] = []

    def read(index: int) -> tuple[Array, Array]:
        reads.append(index)
        return big

    dataset = cached(Dataset("val", CLASSES, ("a", "b", "c"), read), 5)
    for _ in range(2):
        for index in range(3):
            dataset.read(index)
    assert reads == [0, 1, 2, 2]


def test_check_names_every_bad_frame_of_every_split() -> None:
    with pytest.raises(UserError) as caught:
        check_frames([make(Counted()), make(Counted())])
    assert str(caught.value) == "frame 2: is bad\nframe 2: is bad"


def test_fingerprint_sees_pixels_labels_names_and_order() -> None:
    def make_one(names: str = "ab", image: int = 0, label: int = 0, swap: bool = False) -> Dataset:
        def read(index: int) -> tuple[Array, Array]:
            index = 1 - index if swap else index
            return np.full((2, 2, 3), index + image, np.uint8), np.full((2, 2), label, np.uint8)

        return Dataset("val", CLASSES, tuple(names), read)

    changed = [make_one(), make_one("ac"), make_one(image=1), make_one(label=1), make_one(swap=True)]
    assert len({check_frames([dataset]) for dataset in changed}) == len(changed)
    assert check_frames([make_one()]) == check_frames([make_one()])
    assert check_frames([make_one("a\udce9")]) != check_frames([make_one()])  # a name that is no UTF-8


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(UserError, match="split 'dev': is none of train, val, test"):
        open_split(DataConfig(), "dev")


@pytest.mark.parametrize("view", ["road", "all"])
def test_classes_are_known_without_looking_at_files(view: str) -> None:
    for split in SPLITS:
        config = DataConfig(labels=view, synthetic_frames=(1, 1, 1))
        assert open_split(config, split).classes == classes_of(config)
    assert [one.name for one in classes_of(DataConfig(kind="camvid", root="nowhere", labels="road"))] == [
        "background",
        "road",
    ]
