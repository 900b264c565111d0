"""The CamVid tree: what is read from it and how each mistake in it is reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from fcn.config.settings import DataConfig
from fcn.datasets import open_for_training, open_split
from fcn.datasets.statistics import check_frames
from fcn.errors import UserError
from fcn.images import IGNORE

REAL = ROOT / "data" / "CamVid"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three frames of 6 x 4 pixels, two of them in the list."""
    rng = np.random.default_rng(0)
    for folder in ("val", "valannot"):
        (tmp_path / folder).mkdir()
    for name in ("b", "a", "c"):
        Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(tmp_path / "val" / f"{name}.png")
        Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) % 12).save(tmp_path / "valannot" / f"{name}.png")
    (tmp_path / "val.txt").write_text("/SegNet/val/b.png /SegNet/valannot/b.png\n/x/a.png /y/a.png\n")
    return tmp_path


def mistake(root: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        check_frames([open_split(DataConfig(kind="camvid", root=str(root), labels="all", **settings), "val")])
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{root}/", "")


def test_list_gives_names_and_order_and_is_not_needed(tree: Path) -> None:
    config = DataConfig(kind="camvid", root=str(tree), labels="all")
    assert open_split(config, "val").names == ("b", "a")
    (tree / "val.txt").unlink()
    assert open_split(config, "val").names == ("a", "b", "c")
    (tree / "val.txt").symlink_to("val.txt")  # a link that leads nowhere is not taken for no list
    assert mistake(tree).startswith("val.txt: cannot be read: Too many levels of symbolic links")


def test_frames_over_the_configured_limit_are_named(tree: Path) -> None:
    for folder in ("val", "valannot"):
        Image.new("L", (1001, 1000)).save(tree / folder / "b.png")
    text = "val/b.png: has 1001 x 1000 pixels, more than data.max_megapixels=1 allows"
    assert mistake(tree, max_megapixels=1).startswith(text)


@pytest.mark.parametrize(
    ("labels", "expected"), [("all", [*range(11), IGNORE]), ("road", [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, IGNORE])]
)
def test_void_is_ignored_and_road_is_class_3(labels: str, expected: list[int], tree: Path) -> None:
    image, label = open_split(DataConfig(kind="camvid", root=str(tree), labels=labels), "val").read(0)
    assert (image.shape, image.dtype, label.dtype) == ((4, 6, 3), np.uint8, np.uint8)
    np.testing.assert_array_equal(label.ravel(), expected * 2)


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_image_or_annotation_that_is_missing_empty_or_truncated_is_named(folder: str, tree: Path) -> None:
    path = tree / folder / "a.png"
    path.write_bytes(path.read_bytes()[:50])
    assert mistake(tree).startswith(f"{folder}/a.png: is broken or cut off")
    path.write_bytes(b"")
    assert mistake(tree).startswith(f"{folder}/a.png: is empty")
    path.unlink()
    assert mistake(tree).startswith(f"{folder}/a.png: is missing; restore it")
    (tree / "val.txt").unlink()
    assert mistake(tree).startswith(f"{folder}/a.png: is missing; restore it")


def test_annotation_with_other_values_is_named(tree: Path) -> None:
    Image.new("L", (6, 4), 255).save(tree / "valannot/a.png")
    text = "holds values that are not a class: 255 (24 px), the first at (row, column) (0, 0); valid are 0 to 11"
    assert mistake(tree).startswith(f"valannot/a.png: {text}")


@pytest.mark.skipif(not REAL.is_dir(), reason="data/CamVid is not there (data/README.md tells how to get it)")
def test_real_frames_are_all_valid_and_their_pixels_are_those_counted_elsewhere() -> None:
    config = DataConfig(kind="camvid", root=str(REAL), labels="all")
    training, validation, _ = open_for_training(config)
    assert (len(training), len(validation)) == (367, 101)
    counts = sum(np.bincount(training.read(index)[1].ravel(), minlength=256) for index in range(len(training)))
    pixels = (10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967)
    assert tuple(counts[:11]) == pixels
    assert counts[IGNORE] == 2503995


def test_held_out_drive_is_val_and_the_rest_of_both_splits_train(tree: Path) -> None:
    for kind in ("", "annot"):
        (tree / f"train{kind}").mkdir()
        for name in ("a1", "c2"):
            shutil.copy(tree / f"val{kind}" / "a.png", tree / f"train{kind}" / f"{name}.png")
    settings = {"kind": "camvid", "root": str(tree), "labels": "all"}
    held_out = DataConfig(**settings, held_out="a")
    assert open_split(held_out, "val").names == ("a1", "a")
    assert open_split(held_out, "train").names == ("c2", "b")
    (tree / "train" / "a1.png").unlink()
    assert mistake(tree, held_out="a").startswith("train/a1.png: is missing")
    missing: list[str] = []
    assert open_split(held_out, "val", missing).names == ("a",)
    assert len(missing) == 1
    for prefix, split in (("z", "val"), ("", "train")):
        with pytest.raises(UserError, match=f"data.held_out: '{prefix}' leaves no frame for {split}; name a drive"):
            open_split(DataConfig(**settings, held_out=prefix), split)
