"""Splits: lists of names, the mapping of labels, the cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from fcn.config.settings import DataConfig
from fcn.datasets import SPLITS, classes_of, open_split
from fcn.datasets.camvid import decode_label
from fcn.datasets.dataset import (
    Dataset,
    FrameFiles,
    cached,
    listed_names,
    map_labels,
    open_files,
)
from fcn.errors import UserError
from fcn.images import Array, SegmentationClass

CLASSES = (SegmentationClass("sky", (0, 0, 0)), SegmentationClass("road", (1, 1, 1), road=True))


@given(
    st.dictionaries(st.integers(0, 255), st.integers(0, 255), min_size=1),
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2)),
)
def test_labels_are_what_a_dictionary_gives_or_the_value_is_refused(label_of: dict[int, int], values: Array) -> None:
    legal = np.array(sorted(label_of), np.uint8)
    valid = legal[values % len(legal)]
    expected = [[label_of[value] for value in row] for row in valid.tolist()]
    np.testing.assert_array_equal(map_labels(valid, label_of, Path("x.png"), str), expected)
    unmapped = sorted(set(values.ravel().tolist()) - label_of.keys())
    if unmapped:
        with pytest.raises(UserError, match=rf"x.png: holds .* class: {unmapped[0]} \(\d+ px\)"):
            map_labels(values, label_of, Path("x.png"), str)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"b\n\na \nb\n", ["b", "a"]),
        (b"/SegNet/val/b.png /SegNet/valannot/b.png\n/x/b 2.png /y/b 2.png\r\n", ["b", "b 2"]),
        (b"a.JPG\nother/b.jpeg\nc.tif\nd.v2", ["a", "b", "c.tif", "d.v2"]),
        (b"/x/caf\xe9.png", [os.fsdecode(b"caf\xe9")]),
    ],
    ids=["names", "paths of images and labels", "endings", "not UTF-8"],
)
def test_list_gives_each_name_once_without_folder_and_ending(content: bytes, names: list[str], tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_bytes(content)
    assert listed_names(tmp_path / "val.txt", "val") == names


def test_list_that_is_missing_empty_or_a_broken_link_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "link.txt").symlink_to("link.txt")
    rule = "; the list of val must hold the names of its frames, one per line"
    mistakes = {"no.txt": f"no such file{rule}", "empty.txt": f"is empty{rule}", "link.txt": "cannot be read: Too many"}
    for name, mistake in mistakes.items():
        text = f"{name}: {mistake}"
        with pytest.raises(UserError, match=re.escape(text)):
            listed_names(tmp_path / name, "val")


def test_rotated_image_or_label_map_of_a_data_set_is_refused(tmp_path: Path) -> None:
    upright = tmp_path / "upright.png"
    rotated = tmp_path / "rotated.png"
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("L", (3, 2)).save(upright)
    Image.new("L", (3, 2)).save(rotated, exif=tags)
    files = [FrameFiles("a", rotated, upright), FrameFiles("b", upright, rotated)]
    split = open_files("val", CLASSES, files, DataConfig(), decode_label)
    for index in (0, 1):
        with pytest.raises(UserError, match=r"rotated.png: is rotated by its EXIF orientation 6; .*: save it upright"):
            split.read(index)


@pytest.mark.parametrize(("cache_megabytes", "reads"), [(0, "abcdabcd"), (5, "abcdcd"), (8, "abcd")])
def test_cache_keeps_frames_of_all_splits_until_it_is_full(cache_megabytes: int, reads: str) -> None:
    frames = [(np.zeros((500, 1000, 3), np.uint8), np.zeros((500, 1000), np.uint8)) for _ in range(4)]  # 2 MB each
    done: list[str] = []

    def split(name: str, first: int) -> Dataset:
        def read(index: int) -> tuple[Array, Array]:
            done.append("abcd"[first + index])
            return frames[first + index]

        return Dataset(name, CLASSES, ("x", "y"), read)

    splits = cached([split("train", 0), split("val", 2)], cache_megabytes)
    for index in (0, 1, 2, 3, 0, 1, 2, 3):
        image, label = splits[index // 2].read(index % 2)
        assert image is frames[index][0]
        assert label is frames[index][1]
    assert "".join(done) == reads


@pytest.mark.parametrize("labels", ["road", "all"])
def test_classes_are_known_without_reading_files(labels: str) -> None:
    for split in SPLITS:
        config = DataConfig(labels=labels, synthetic_frames=(1, 1, 1))
        assert open_split(config, split).classes == classes_of(config)
    names = [one.name for one in classes_of(DataConfig(kind="camvid", root="nowhere", labels=labels))]
    assert names[:2] == (["background", "road"] if labels == "road" else ["Sky", "Building"])
    with pytest.raises(UserError, match="split 'dev': is not one of train, val, test"):
        open_split(DataConfig(), "dev")
