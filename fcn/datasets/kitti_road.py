"""KITTI Road (Fritsch, Kuehnl and Geiger 2013), official tree: 289 frames with truth, 290 without, at native size.

    ROOT/training/image_2/um_000000.png    ROOT/training/gt_image_2/um_road_000000.png, um_lane_000000.png
    ROOT/training/calib/um_000000.txt
    ROOT/testing/image_2/um_000000.png     ROOT/testing/calib/um_000000.txt

The categories are um (two-way), umm (several lanes) and uu (no marks); um alone also has the truth of the own lane.
Frames are sequences, so the split is not drawn: val is the last 16 numbers of each category, as of KittiSeg (Teichmann
2016), train the others. The split test has no truth: all its pixels are IGNORE.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fcn.config.data_settings import DataConfig
from fcn.datasets.dataset import (
    BACKGROUND_AND_ROAD,
    Dataset,
    IncompleteSplitError,
    listed_names,
    open_files,
    png_color_type,
    read_colors,
)
from fcn.errors import UserError
from fcn.images import IGNORE, Array, read_image, read_label

CLASSES = BACKGROUND_AND_ROAD
BACKGROUND, ROAD = range(2)

FIRST_OF_VAL = {"um": 79, "umm": 80, "uu": 82}
TEST_FRAMES = {"um": 96, "umm": 94, "uu": 100}
NAME = re.compile(r"(um|umm|uu)_(\d{6})", re.ASCII)
TRUTH_NAME = re.compile(r"(um|umm|uu)_(?:road|lane)_(\d{6})", re.ASCII)

COLORS = np.zeros((256, 3), np.uint8)  # of a label in a truth file; black for IGNORE
COLORS[BACKGROUND], COLORS[ROAD] = (255, 0, 0), (255, 0, 255)


def truth_name(config: DataConfig, name: str) -> str:
    """What KITTI calls truth and prediction of a frame: `um_000000` -> `um_road_000000`, or `um_lane_000000`.

    Only um has lanes: frames of umm and uu are `_road_` whatever the truth.
    """
    category, number = name.split("_")
    return f"{category}_{'lane' if (category, config.kitti_truth) == ('um', 'um_lane') else 'road'}_{number}"


def part_of_tree(config: DataConfig, testing: bool = False) -> Path:
    """The folder of the frames with truth, or of those without."""
    return Path(str(config.root)) / ("testing" if testing else "training")


def calibration_file(config: DataConfig, name: str, testing: bool = False) -> Path:
    """Where the calibration of a frame should lie."""
    return part_of_tree(config, testing) / "calib" / f"{name}.txt"


def frame_files(config: DataConfig, split: str) -> list[tuple[str, Path, Path]]:
    """The frames of a split: name, image, truth. Those of test have no truth: their image stands in its place.

    Raises:
        UserError: a folder is missing, the split empty, or a frame or its truth missing; a line each.
    """
    images = part_of_tree(config, split == "test") / "image_2"
    truths = images if split == "test" else images.with_name("gt_image_2")
    for folder in (images, truths):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; data.root must hold KITTI's official tree: see data/README.md")
    if config.split_lists is None:
        tag = f"_{config.kitti_truth.removeprefix('um_')}_"
        truth_stems = (path.stem for path in truths.glob(f"*{tag}*.png"))  # one without its image is told
        there = {path.stem for path in images.glob("*.png")} | {stem.replace(tag, "_") for stem in truth_stems}
        names = sorted(name for name in there if _has_truth(name, config, split) and _is_in(name, split))
        if not names:
            raise UserError(f"{images}: holds no frame of {split}; name the frames of a part in data.split_lists")
    else:
        names = listed_names(config.split_lists, split)
        if wrong := [name for name in names if not _has_truth(name, config, split)]:
            where = f"{config.split_lists}/{split}.txt"
            raise UserError(*(f"{where}: {name}: is no frame with {config.kitti_truth} truth" for name in wrong))
    stems = names if split == "test" else [truth_name(config, name) for name in names]
    files = [(name, images / f"{name}.png", truths / f"{stem}.png") for name, stem in zip(names, stems, strict=True)]
    missing = dict.fromkeys(path for _, *pair in files for path in pair if not path.is_file())
    if missing:
        mend = "restore it, or name the frames that are whole in data.split_lists"
        whole = [frame for frame in files if not missing.keys() & frame[1:]]
        raise IncompleteSplitError(whole, *(f"{path}: is missing; {mend}" for path in missing))
    return files


def _has_truth(name: str, config: DataConfig, split: str) -> bool:
    """Whether a name is one of KITTI's, of a category that has the configured truth; test has none in any."""
    match = NAME.fullmatch(name)
    return match is not None and (split == "test" or config.kitti_truth == "road" or match[1] == "um")


def _is_in(name: str, split: str) -> bool:
    category, number = name.split("_")
    return split == "test" or (int(number) >= FIRST_OF_VAL[category]) == (split == "val")


def decode_label(config: DataConfig, path: Path) -> Array:
    """A truth file as uint8 (H, W) of BACKGROUND, ROAD and IGNORE: red > 0 is valid, blue > 0 road.

    An image of test, which has no truth, is IGNORE all over.

    Raises:
        UserError: as `read_colors`; or a pixel has another color than red, magenta or black.
    """
    colors = read_colors(path, config.max_megapixels)
    if path.parent.name == "image_2":
        return np.full(colors.shape[:2], IGNORE, np.uint8)
    label = np.where(colors[..., 0] > 0, colors[..., 2] > 0, IGNORE).astype(np.uint8)
    wrong = np.argwhere((colors != COLORS[label]).any(axis=-1))
    if wrong.size:
        row, column = wrong[0].tolist()
        raise UserError(
            f"{path}: holds the color {tuple(colors[row, column].tolist())} at (row, column) {row, column}, and "
            f"{len(wrong)} wrong pixels in all; legal are red (not road), magenta (road) and black (ignored): was "
            "the file resized or painted over? restore the official one"
        )
    return label


def read_confidence(config: DataConfig, path: Path) -> Array:
    """Reads an 8-bit gray confidence of road, uint8 (H, W); UserError as `read_label`, and for a palette."""
    if png_color_type(path) in (2, 3, 4, 6):
        raise UserError(f"{path}: is no gray PNG; a confidence is an 8-bit gray one, 255 where it is surely road")
    return read_label(path, config.max_megapixels)


def testing_names(config: DataConfig) -> list[str]:
    """The official frames without truth; where lanes are looked for, those of um."""
    categories = ["um"] if config.kitti_truth == "um_lane" else list(TEST_FRAMES)
    return [f"{category}_{number:06d}" for category in categories for number in range(TEST_FRAMES[category])]


def testing_image_file(config: DataConfig, name: str) -> Path:
    """Where the image of a frame without truth should lie."""
    return part_of_tree(config, testing=True) / "image_2" / f"{name}.png"


def read_testing_image(config: DataConfig, name: str) -> Array:
    """Reads a frame without truth, uint8 RGB (H, W, 3); UserError as `read_image`."""
    return read_image(testing_image_file(config, name), config.max_megapixels, turn=False)


def open_split(config: DataConfig, split: str) -> Dataset:
    """The frames of a split; UserError as `frame_files`."""
    return open_files(config, split, CLASSES, frame_files(config, split), decode_label)
