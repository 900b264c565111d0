"""Segmenting images: written files are whole, and a line names each image that cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import UserError
from fcn.images import Array, read_image, read_label
from fcn.inference.segment import AHEAD, segment_images, table
from fcn.inference.sources import Source
from fcn.pictures import legend, overlay

PREDICTOR = SimpleNamespace(
    classes=BACKGROUND_AND_ROAD,
    labels=lambda image: np.zeros(image.shape[:2], np.uint8),
    network_height=lambda height: min(height, 64),
)
SOURCES = [Source(f"{name}.png", name, lambda: np.zeros((2, 3, 3), np.uint8)) for name in "abcde"]


def test_full_disk_stops_all_and_what_was_written_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fsync(descriptor: int) -> None:  # of each file and of its folder
        calls.append(descriptor)
        if len(calls) == 9:  # the mask of c; were the others tried, they would be written
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left") as caught:
        segment_images(PREDICTOR, SOURCES, tmp_path / "out")
    assert caught.value.filename == f"{tmp_path}/out/c_mask.png"  # `exit_with` adds the reason
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["a_mask.png", "a_overlay.png", "b_mask.png", "b_overlay.png"]
    assert {read_image(path).shape for path in written} == {(2, 3, 3)}


def test_image_that_does_not_fit_into_memory_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    def read() -> Array:
        raise MemoryError

    results, problems = segment_images(PREDICTOR, [Source("huge.png", "huge", read), *SOURCES], tmp_path)
    assert len(results) == len(SOURCES)
    assert problems == ["huge.png: does not fit into memory; reduce it, or name a --max-height"]


def test_few_images_are_in_memory_at_a_time_however_many_there_are(tmp_path: Path) -> None:
    read = []
    segmented = []
    ahead = []

    def labels(image: Array) -> Array:
        ahead.append(len(read) - len(segmented))
        segmented.append(image.shape)
        return np.zeros(image.shape[:2], np.uint8)

    def image() -> Array:
        read.append(None)
        return np.zeros((2, 3, 3), np.uint8)

    predictor = SimpleNamespace(**{**vars(PREDICTOR), "labels": labels})
    sources = [Source(f"{number}.png", str(number), image) for number in range(30)]
    results, _ = segment_images(predictor, sources, tmp_path)
    assert [result.name for result in results] == [source.name for source in sources]
    assert len(segmented) == 31  # with the first, which builds the graph
    assert max(ahead) <= AHEAD + 1


def test_image_whose_files_cannot_be_written_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot be made: File exists; name another --out"):
        segment_images(PREDICTOR, SOURCES, tmp_path / "file")
    (tmp_path / "b_mask.png").mkdir()
    (tmp_path / "d_overlay.png").mkdir()
    long = Source("long.png", "long" * 62, SOURCES[0].read)  # a name that takes ".png" but not "_mask.png"
    results, problems = segment_images(PREDICTOR, [long, *SOURCES], tmp_path)
    assert [result.name for result in results] == ["a.png", "c.png", "e.png"]
    for name in "ace":
        assert read_label(tmp_path / f"{name}_mask.png").shape == (2, 3)
        assert read_image(tmp_path / f"{name}_overlay.png").shape == (2, 3, 3)
    reasons = {f"{long.stem}_mask": "File name too long", "b_mask": "Is a directory", "d_overlay": "Is a directory"}
    fix = "check the name and its permissions"
    assert problems == [f"{tmp_path}/{name}.png: cannot be written: {why}; {fix}" for name, why in reasons.items()]


def test_confidence_is_a_gray_picture_next_to_the_same_mask(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 0], [1, 1, 1]], np.uint8)
    found = {"labels_and_confidence": lambda _, index: (labels, 100 * index + labels)}
    predictor = SimpleNamespace(**vars(PREDICTOR), **found)
    segment_images(predictor, SOURCES[:1], tmp_path, confidence_of=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_confidence.png", "a_mask.png", "a_overlay.png"]
    np.testing.assert_array_equal(read_label(tmp_path / "a_mask.png"), labels)
    np.testing.assert_array_equal(read_label(tmp_path / "a_confidence.png"), 100 + labels)
    with Image.open(tmp_path / "a_confidence.png") as picture:
        assert picture.mode == "L"


def test_overlay_has_the_strength_and_the_legend_that_are_asked_for(tmp_path: Path) -> None:
    image = np.full((40, 200, 3), 100, np.uint8)
    mask = np.zeros((40, 200), np.uint8)
    mask[10:] = 1
    predictor = SimpleNamespace(**{**vars(PREDICTOR), "labels": lambda _: mask})
    source = Source("a.png", "a", lambda: image)
    strip = legend(BACKGROUND_AND_ROAD, 200, (0.25, 0.75))
    for alpha, parts in ((0.0, []), (0.8, [strip])):
        segment_images(predictor, [source], tmp_path, alpha=alpha, with_legend=bool(parts))
        expected = np.concatenate([overlay(image, mask, BACKGROUND_AND_ROAD, alpha=alpha), *parts])
        np.testing.assert_array_equal(read_image(tmp_path / "a_overlay.png"), expected)


def test_table_has_a_line_an_image_whatever_it_is_called(tmp_path: Path) -> None:
    source = Source("caf\udce9\n\x1b.png", "a", lambda: np.zeros((99, 3, 3), np.uint8))
    results, _ = segment_images(PREDICTOR, [source], tmp_path / "out")
    assert table(results, PREDICTOR).splitlines()[1].startswith(r"caf\udce9\n\x1b.png         99 x 3        64  ")
