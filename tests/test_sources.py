"""Sources: the images that inputs name, once each, and a line for what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset
from fcn.errors import UserError
from fcn.images import write_image
from fcn.inference.sources import sources_of_frames, sources_of_inputs


def test_inputs_are_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.JPG", "b/3.png", "a/notes.txt", "a/.hidden", "a/more/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    inputs = [str(tmp_path / "b/3.png"), str(tmp_path / "a"), str(tmp_path / "*/1.png"), str(tmp_path / "b/../b/3.png")]
    sources, problems, notes = sources_of_inputs(inputs, tmp_path / "out", 128)
    assert [source.stem for source in sources] == ["3", "1", "2"]
    assert problems == []
    assert notes == [f"{tmp_path}/a: skipped 3 of 5; only files .png, .jpg, .jpeg are read"]
    for absent in ("nowhere", "no*pe.png", "a/notes.txt/x"):
        with pytest.raises(UserError, match="no such file; name an image"):
            sources_of_inputs([str(tmp_path / absent)], tmp_path / "out", 128)


def test_overlay_of_a_jpeg_is_a_jpeg_and_no_output_replaces_an_input_or_another_output(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.jpeg", "c.png", "a_overlay.jpg"):
        (tmp_path / name).touch()
    sources, _, _ = sources_of_inputs([str(tmp_path)], tmp_path / "out", 128)
    names = {path.name for source in sources for path in source.outputs(tmp_path)}
    assert {"a_mask.png", "a_overlay.jpg", "a_confidence.png", "b_overlay.jpg", "c_overlay.png"} < names
    with pytest.raises(UserError, match=r"a_overlay\.jpg: is an input and would be overwritten; name another --out"):
        sources_of_inputs([str(tmp_path)], tmp_path, 128)
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"a\.png: has the same stem as .*a\.JPG; segment them into different folders"):
        sources_of_inputs([str(tmp_path)], tmp_path / "out", 128)


def test_frames_without_input_are_spread_over_the_split() -> None:
    dataset = Dataset("val", BACKGROUND_AND_ROAD, tuple("abcdefghijk"), lambda index: (index, None))
    for count, expected in ((3, "afk"), (99, "abcdefghijk")):
        sources = sources_of_frames(dataset, count)
        assert [(source.stem, source.read()) for source in sources] == [(name, ord(name) - 97) for name in expected]


def test_pattern_ends_and_counts_an_image_once_where_links_lead_back_up(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "1.png").touch()
    (tmp_path / "a" / "2.png").symlink_to("b/1.png")
    for name in ("up", "again"):  # followed, two links make 2**40 paths
        (deep / name).symlink_to("../..")
    inputs = [str(tmp_path / "**" / "*.png"), str(deep / "up/a/b")]
    sources, problems, _ = sources_of_inputs(inputs, tmp_path / "out", 128)
    assert (len(sources), problems) == (1, [])


def test_what_cannot_be_read_is_named_and_the_rest_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / f"{name}.png", np.zeros((1, 1, 3), np.uint8))
    (tmp_path / "loop.png").symlink_to("loop.png")
    listed = Path.iterdir

    def iterdir(folder: Path) -> Iterator[Path]:  # permissions do not apply to root, who may run the tests
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    inputs = [str(tmp_path / name) for name in ("closed", "open", "loop.png", "x" * 300)]
    (image, loop), problems, _ = sources_of_inputs(inputs, tmp_path / "out", 128)
    reasons = {inputs[0]: "Permission denied", inputs[3]: "File name too long"}
    fix = "name an image, a folder of images or a pattern"
    assert problems == [f"{name}: cannot be read: {reason}; {fix}" for name, reason in reasons.items()]
    assert image.read().shape == (1, 1, 3)
    with pytest.raises(UserError, match="cannot be read: Too many levels of symbolic links"):
        loop.read()


def test_limit_reaches_the_reader_and_photos_are_turned_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (1001, 1000)).save(tmp_path / "a.png", exif=tags)
    (allowed,), _, _ = sources_of_inputs([str(tmp_path)], tmp_path / "out", 2)
    assert allowed.read().shape == (1001, 1000, 3)
    (refused,), _, _ = sources_of_inputs([str(tmp_path)], tmp_path / "out", 1)
    with pytest.raises(UserError, match=r"data\.max_megapixels=1 allows"):
        refused.read()
