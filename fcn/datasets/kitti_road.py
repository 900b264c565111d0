"""KITTI Road (Fritsch, Kuehnl and Geiger 2013), official tree: 289 frames with ground truth, 290 without, native size.

    ROOT/training/image_2/um_000000.png    ROOT/training/gt_image_2/um_road_000000.png, um_lane_000000.png
    ROOT/training/calib/um_000000.txt
    ROOT/testing/image_2/um_000000.png     ROOT/testing/calib/um_000000.txt

The categories are um (two-way), umm (several lanes) and uu (no lane marks); only um has ground truth of the ego lane.
Frames are sequences, so the split is not random: val is the last 16 numbers of each category, as in KittiSeg (Teichmann
2016), train the others. The test split has no ground truth: all its pixels are IGNORE.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fcn.config.settings import DataConfig
from fcn.datasets.dataset import (
    BACKGROUND_AND_ROAD,
    FrameFiles,
    complete_frames,
    listed_names,
    map_labels,
    pictures_in,
    read_colors,
)
from fcn.errors import UserError
from fcn.images import IGNORE, Array

CLASSES = BACKGROUND_AND_ROAD
BACKGROUND, ROAD = range(2)

FIRST_OF_VAL = {"um": 79, "umm": 80, "uu": 82}
TEST_FRAMES = {"um": 96, "umm": 94, "uu": 100}
NAME = re.compile(r"(um|umm|uu)_[0-9]{6}")
LANE_NAME = re.compile(r"um_[0-9]{6}")
TRUTH_NAME = re.compile(r"(um|umm|uu)_(road|lane)_[0-9]{6}")

COLORS = np.zeros((256, 3), np.uint8)  # of each label in a ground truth file; black for IGNORE
COLORS[BACKGROUND] = (255, 0, 0)
COLORS[ROAD] = (255, 0, 255)
LABEL_OF = {int.from_bytes(COLORS[label].tobytes()): label for label in (BACKGROUND, ROAD, IGNORE)}


def truth_name(config: DataConfig, name: str) -> str:
    """KITTI's name for ground truth and prediction of a frame: `um_000000` -> `um_road_000000`, or `um_lane_000000`."""
    return name.replace("_", f"_{config.kitti_truth.removeprefix('um_')}_")


def tree_part(config: DataConfig, testing: bool = False) -> Path:
    """Folder of the frames with ground truth, or of those without."""
    return Path(str(config.root)) / ("testing" if testing else "training")


def testing_names(config: DataConfig) -> list[str]:
    """Names of the official frames without ground truth; for lanes, those of um."""
    categories = ["um"] if config.kitti_truth == "um_lane" else list(TEST_FRAMES)
    return [f"{category}_{number:06d}" for category in categories for number in range(TEST_FRAMES[category])]


def frame_files(config: DataConfig, split: str) -> tuple[list[FrameFiles], list[str]]:
    """The frames of a split, and a line for each missing file; UserError for missing folders, bad lists, empty splits.

    The frames of test have no ground truth: their image stands in its place.
    """
    testing = split == "test"
    images = tree_part(config, testing) / "image_2"
    truths = images if testing else images.with_name("gt_image_2")
    fix = "data.root must hold KITTI's official tree: see data/README.md"
    stems = {path.stem for path in pictures_in(images, fix)}
    truth_stems = {path.stem for path in pictures_in(truths, fix)}
    with_truth = LANE_NAME if config.kitti_truth == "um_lane" and not testing else NAME
    if config.split_lists is None:
        stems |= {stem.replace(truth_name(config, "_"), "_") for stem in truth_stems}
        names = sorted(filter(with_truth.fullmatch, stems))
        if not testing:
            names = [name for name in names if (int(name[-6:]) >= FIRST_OF_VAL[name[:-7]]) == (split == "val")]
        if not names:
            raise UserError(f"{images}: holds no frame of {split}; list the frames of a part in data.split_lists")
    else:
        listed = Path(config.split_lists) / f"{split}.txt"
        names = listed_names(listed, split)
        wrong = [name for name in names if not with_truth.fullmatch(name)]
        if wrong:
            rule = f"is not a frame with ground truth for {config.kitti_truth}"
            raise UserError(*(f"{listed}: {name}: {rule}" for name in wrong))
    frames = []
    for name in names:
        stem = name if testing else truth_name(config, name)
        frames.append(FrameFiles(name, images / f"{name}.png", truths / f"{stem}.png"))
    return complete_frames(frames, fix="restore it, or list the complete frames in data.split_lists")


def decode_label(config: DataConfig, path: Path) -> Array:
    """Ground truth as uint8 (H, W) of BACKGROUND, ROAD and IGNORE; UserError as `read_colors` and `map_labels`."""
    fix = "valid are red (not road), magenta (road) and black (ignored): restore the official file"
    return map_labels(read_colors(path, config.max_megapixels), LABEL_OF, path, fix=lambda _: fix)
