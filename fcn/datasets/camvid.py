"""CamVid in the tree of the SegNet tutorial: 367 train, 101 val and 233 test frames of 480x360 with 11 classes.

    ROOT/train/NAME.png       ROOT/trainannot/NAME.png       ROOT/train.txt
    ROOT/val/...              ROOT/valannot/...              ROOT/val.txt

An annotation is an 8-bit gray PNG of class indices, 11 for void. The list of a split names its frames; without a list
all frames of its folder count.
"""

from __future__ import annotations

import os
from pathlib import Path

from fcn.config.settings import DataConfig
from fcn.datasets.dataset import FrameFiles, complete_frames, listed_names, map_labels, pictures_in
from fcn.errors import UserError
from fcn.images import IGNORE, Array, SegmentationClass, read_label

CLASSES = (
    SegmentationClass("Sky", (128, 128, 128)),
    SegmentationClass("Building", (128, 0, 0)),
    SegmentationClass("Pole", (192, 192, 128)),
    SegmentationClass("Road", (128, 64, 128), road=True),
    SegmentationClass("Pavement", (60, 40, 222)),
    SegmentationClass("Tree", (128, 128, 0)),
    SegmentationClass("SignSymbol", (192, 128, 128)),
    SegmentationClass("Fence", (64, 64, 128)),
    SegmentationClass("Car", (64, 0, 128)),
    SegmentationClass("Pedestrian", (64, 64, 0)),
    SegmentationClass("Bicyclist", (0, 128, 192)),
)
VOID = len(CLASSES)
LABEL_OF = {**{index: index for index in range(VOID)}, VOID: IGNORE}


def decode_label(config: DataConfig, path: Path) -> Array:
    """An annotation as uint8 (H, W) of class indices and IGNORE; UserError as `read_label` and `map_labels`."""
    fix = f"valid are 0 to {VOID}: is it a mask of another data set, or resized with interpolation?"
    return map_labels(read_label(path, config.max_megapixels), LABEL_OF, path, fix=lambda _: fix)


def frame_files(config: DataConfig, split: str) -> tuple[list[FrameFiles], list[str]]:
    """The frames of a split, and a line for each missing file; UserError for missing folders and an empty split."""
    held_out = config.held_out if split != "test" else None
    frames = []
    for part in [split] if held_out is None else ["train", "val"]:
        images = Path(str(config.root)) / part
        annotations = images.with_name(f"{part}annot")
        names_file = images.with_name(f"{part}.txt")
        fix = f"data.root must hold {part}/ and {part}annot/: see data/README.md"
        names = sorted({path.stem for path in pictures_in(images, fix) + pictures_in(annotations, fix)})
        if os.path.lexists(names_file):  # a broken link is not the same as no list
            names = listed_names(names_file, part)
        frames += [FrameFiles(name, images / f"{name}.png", annotations / f"{name}.png") for name in names]
    if held_out is not None:
        frames = [frame for frame in frames if frame.name.startswith(held_out) == (split == "val")]
        if not frames:
            raise UserError(f"data.held_out: {held_out!r} leaves no frame for {split}; name a drive, such as 0006R0")
    return complete_frames(frames, fix="restore it, or remove the frame's other file and its line in the list")
