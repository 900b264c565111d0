"""Inference: what is written stays whole, what cannot be is told in a line."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fcn.datasets.dataset import BACKGROUND_AND_ROAD
from fcn.errors import UserError
from fcn.images import read_image, read_label
from fcn.inference.segment import infer, table
from fcn.inference.sources import Source

PREDICTOR = SimpleNamespace(classes=BACKGROUND_AND_ROAD, labels=lambda image: np.zeros(image.shape[:2], np.uint8))
SOURCES = [Source(f"{name}.png", name, lambda: np.zeros((2, 3, 3), np.uint8)) for name in "abcde"]


def test_full_disk_stops_all_and_what_was_written_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_bytes, []

    def write_bytes(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) != 5:  # the mask of c; were the others tried, they would be written
            return write(path, data)
        write(path, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OSError, match="No space left") as caught:
        infer(PREDICTOR, SOURCES, tmp_path / "out")
    assert caught.value.filename == f"{tmp_path}/out/c_mask.png"  # `exit_with` tells the rest
    assert len(list((tmp_path / "out").iterdir())) == 4
    for source in SOURCES[:2]:
        mask, overlay, _ = source.outputs(tmp_path / "out")
        assert read_label(mask).shape == read_image(overlay).shape[:2] == (2, 3)


def test_image_whose_files_cannot_be_written_is_told_and_the_others_are_done(tmp_path: Path) -> None:
    (tmp_path / "b_mask.png").mkdir()
    (tmp_path / "d_overlay.png").mkdir()
    long = Source("long.png", "long" * 62, SOURCES[0].read)  # a name that takes ".png" but not "_mask.png"
    results, mistakes = infer(PREDICTOR, [long, *SOURCES], tmp_path)
    assert [result.source.stem for result in results] == ["a", "c", "e"]
    for source in (SOURCES[0], SOURCES[2], SOURCES[4]):
        mask, overlay, _ = source.outputs(tmp_path)
        assert read_label(mask).shape == read_image(overlay).shape[:2] == (2, 3)
    mend = "check the name and its permissions"
    assert mistakes[0].endswith(f"{long.stem}_mask.png: cannot be written: File name too long; {mend}")
    assert mistakes[1:] == [
        f"{tmp_path}/{name}.png: cannot be written: Is a directory; {mend}" for name in ("b_mask", "d_overlay")
    ]


def test_confidence_is_a_gray_picture_beside_the_same_mask(tmp_path: Path) -> None:
    answer = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    predictor = SimpleNamespace(
        classes=BACKGROUND_AND_ROAD, labels=PREDICTOR.labels, labels_and_confidence=lambda _, index: answer + index
    )
    infer(predictor, SOURCES[:1], tmp_path, confidence_of=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_confidence.png", "a_mask.png", "a_overlay.png"]
    np.testing.assert_array_equal(read_label(tmp_path / "a_mask.png"), answer[..., 0] + 1)
    np.testing.assert_array_equal(read_label(tmp_path / "a_confidence.png"), answer[..., 1] + 1)
    with Image.open(tmp_path / "a_confidence.png") as picture:
        assert picture.mode == "L"


@pytest.mark.parametrize(("max_height", "seen"), [(None, (8, 6, 3)), (8, (8, 6, 3)), (4, (4, 3, 3)), (1, (1, 1, 3))])
def test_higher_images_are_segmented_at_the_height_and_masks_have_their_own_size(
    max_height: int | None, seen: tuple[int, ...], tmp_path: Path
) -> None:
    shapes: list[tuple[int, ...]] = []

    def top_is_road(image: np.ndarray, index: int | None = None) -> np.ndarray:
        shapes.append(image.shape)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[: len(mask) // 2] = 1
        return mask if index is None else np.dstack([mask, 200 * mask])

    predictor = SimpleNamespace(classes=BACKGROUND_AND_ROAD, labels=top_is_road, labels_and_confidence=top_is_road)
    source = Source("a.png", "a", lambda: np.zeros((8, 6, 3), np.uint8))
    for confidence_of in (None, 1):
        ((result,), _) = infer(predictor, [source], tmp_path, confidence_of, max_height)
        assert shapes[-1] == seen
        mask = read_label(tmp_path / "a_mask.png")
        assert mask.shape == read_image(tmp_path / "a_overlay.png").shape[:2] == result.size == (8, 6)
        np.testing.assert_array_equal(mask, np.repeat([[1 if seen[0] > 1 else 0], [0]], 4, axis=0).repeat(6, axis=1))
    confidence = read_label(tmp_path / "a_confidence.png")
    assert confidence.shape == (8, 6)
    assert set(np.unique(confidence[[0, -1]])) == ({0, 200} if seen[0] > 1 else {0})


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="out: cannot be made: File exists; name another --out"):
        infer(PREDICTOR, SOURCES, tmp_path / "out")


def test_table_has_a_line_an_image_whatever_it_is_called(tmp_path: Path) -> None:
    source = Source("caf\udce9\n\x1b.png", "a", SOURCES[0].read)
    results, _ = infer(PREDICTOR, [source], tmp_path / "out")
    assert table(results, PREDICTOR).splitlines()[1].startswith(r"caf\udce9\n\x1b.png          2 x 3")
