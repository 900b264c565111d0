"""The official KITTI Road tree: what is read from it, its split, and how each mistake in it is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from fcn.config.settings import DataConfig
from fcn.datasets import open_split
from fcn.datasets.kitti_road import COLORS, decode_label, truth_name
from fcn.datasets.statistics import check_frames
from fcn.errors import UserError
from fcn.images import IGNORE, write_image

REAL = ROOT / "data" / "kitti_road"
LABEL = np.array([[0, 1, IGNORE], [1, 0, 0]], np.uint8)
TRUTH = "training/gt_image_2/um_road_000079.png"  # of the first frame of val
COUNTS = {"um": 95, "umm": 96, "uu": 98}  # of frames with truth


ROAD_CONFIG = DataConfig(kind="kitti_road", root="not read")
LANE_CONFIG = DataConfig(kind="kitti_road", root="not read", kitti_truth="um_lane")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Frames 78 and 79 of um, with lanes, and 80 of umm; one test frame; all 3 x 2 pixels."""
    for folder in ("training/image_2", "training/gt_image_2", "testing/image_2"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("um_000078", "um_000079", "umm_000080"):
        write_image(tmp_path / f"training/image_2/{name}.png", np.full((2, 3, 3), 7, np.uint8))
        write_image(tmp_path / f"training/gt_image_2/{truth_name(ROAD_CONFIG, name)}.png", COLORS[LABEL])
        if name.startswith("um_"):
            write_image(tmp_path / f"training/gt_image_2/{truth_name(LANE_CONFIG, name)}.png", COLORS[1 - LABEL % 2])
    write_image(tmp_path / "testing/image_2/uu_000001.png", np.full((2, 3, 3), 7, np.uint8))
    return tmp_path


def config_of(root: Path, **settings: object) -> DataConfig:
    return DataConfig(kind="kitti_road", root=str(root), **settings)


def mistake(root: Path, split: str = "val", **settings: object) -> str:
    with pytest.raises(UserError) as caught:
        check_frames([open_split(config_of(root, **settings), split)])
    return str(caught.value).replace(f"{root}/", "")


def test_val_is_the_last_16_frames_of_each_category_and_train_the_others(tmp_path: Path) -> None:
    for folder in ("image_2", "gt_image_2"):
        (tmp_path / "training" / folder).mkdir(parents=True)
    for category, count in COUNTS.items():
        for name in (f"{category}_{number:06d}" for number in range(count)):
            (tmp_path / f"training/image_2/{name}.png").touch()
            for config in (ROAD_CONFIG, LANE_CONFIG):
                (tmp_path / f"training/gt_image_2/{truth_name(config, name)}.png").touch()
    training, val = (set(open_split(config_of(tmp_path), split).names) for split in ("train", "val"))
    assert (len(training), len(val), len(training | val)) == (241, 48, 289)
    lasts = {"um": range(79, 95), "umm": range(80, 96), "uu": range(82, 98)}
    assert val == {f"{category}_{number:06d}" for category, numbers in lasts.items() for number in numbers}
    lanes = open_split(config_of(tmp_path, kitti_truth="um_lane"), "train")
    assert list(lanes.names) == [f"um_{number:06d}" for number in range(79)]
    assert lanes.files[3].label.name == "um_lane_000003.png"


def test_red_is_background_magenta_road_and_black_ignored(tree: Path) -> None:
    for labels in ("road", "all"):
        image, label = open_split(config_of(tree, labels=labels), "train").read(0)
        assert (image.shape, image.dtype, label.dtype) == ((2, 3, 3), np.uint8, np.uint8)
        np.testing.assert_array_equal(label, LABEL)
    lane = open_split(config_of(tree, kitti_truth="um_lane"), "val")  # is another file
    assert lane.names == ("um_000079",)
    np.testing.assert_array_equal(lane.read(0)[1], 1 - LABEL % 2)


def test_test_frames_are_ignored_all_over(tree: Path) -> None:
    for truth in ("road", "um_lane"):
        split = open_split(config_of(tree, kitti_truth=truth), "test")
        assert split.names == ("uu_000001",)
        image, label = split.read(0)
        assert (image == 7).all()
        assert label.tolist() == [[IGNORE] * 3] * 2


@pytest.mark.parametrize(
    "color",
    [(0, 0, 255), (254, 0, 0), (255, 0, 254), (255, 1, 0), (0, 1, 0), (255, 255, 255), (128, 0, 128)],
)
def test_every_other_color_is_refused_with_its_place(color: tuple[int, int, int], tree: Path) -> None:
    pixels = COLORS[LABEL]
    pixels[1, 1:] = color
    write_image(tree / TRUTH, pixels)
    assert mistake(tree).startswith(
        f"{TRUTH}: holds values that are not a class: {list(color)} (2 px), the first at (row, column) (1, 1); "
        "valid are red (not road), magenta (road) and black (ignored)"
    )


@pytest.mark.parametrize("lost", ["image_2/um_000079.png", "gt_image_2/um_road_000079.png"])
def test_image_or_ground_truth_that_is_missing_is_named(lost: str, tree: Path) -> None:
    (tree / "training" / lost).unlink()
    assert mistake(tree).startswith(f"training/{lost}: is missing; restore it, or list the complete frames in")


def test_missing_folders_and_empty_splits_are_named(tree: Path) -> None:
    assert mistake(tree, "train", kitti_truth="um_lane", split_lists=str(tree)).startswith("train.txt: no such file")
    (tree / "training/image_2/um_000078.png").unlink()
    (tree / "training/gt_image_2/um_road_000078.png").unlink()
    assert mistake(tree, "train").startswith("training/image_2: holds no frame of train; list the frames of a part")
    (tree / "testing/image_2").rename(tree / "testing/image_3")
    assert mistake(tree, "test").startswith(
        "testing/image_2: no such folder; data.root must hold KITTI's official tree"
    )


def test_lists_name_the_frames_of_a_part_in_their_order(tree: Path) -> None:
    (tree / "val.txt").write_text("um_000079\n\num_000078 \num_000079\n")
    lists = {"split_lists": str(tree)}
    assert open_split(config_of(tree, **lists), "val").names == ("um_000079", "um_000078")
    (tree / "val.txt").write_text("um_000001\numm_000080\n")
    assert mistake(tree, **lists).splitlines()[1].startswith("training/gt_image_2/um_road_000001.png: is missing")
    assert (
        mistake(tree, kitti_truth="um_lane", **lists)
        == "val.txt: umm_000080: is not a frame with ground truth for um_lane"
    )
    (tree / "val.txt").write_text("../um_1\n")
    assert mistake(tree, **lists) == "val.txt: um_1: is not a frame with ground truth for road"
    (tree / "val.txt").write_text("\n")
    assert mistake(tree, **lists).startswith("val.txt: is empty")


@pytest.mark.skipif(not REAL.is_dir(), reason="data/kitti_road is not there (data/README.md tells how to get it)")
def test_real_truth_holds_road_background_and_ignored_pixels() -> None:
    values: set[int] = set()
    for number in range(11):
        label = decode_label(LANE_CONFIG, REAL / f"training/gt_image_2/um_lane_{number:06d}.png")
        assert label.shape == (375, 1242)
        values |= set(np.unique(label).tolist())
    assert values == {0, 1, IGNORE}
