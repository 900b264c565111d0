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
from fcn.datasets.dataset import FrameFiles, listed_names, map_labels, pictures_in, require_files
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
    """Reads an annotation as uint8 (H, W) of class indices and IGNORE; UserError as `read_label` and `map_labels`."""
    fix = f"legal are 0 to {VOID}: is it a mask of another data set, or resized with interpolation?"
    return map_labels(read_label(path, config.max_megapixels), LABEL_OF, path, lambda _: fix)


def frame_files(config: DataConfig, split: str) -> list[FrameFiles]:
    """Files of the frames of a split.

    Raises:
        UserError: a folder is missing or empty, or data.held_out leaves the split without frames.
        IncompleteSplitError: images or annotations are missing.
    """
    if config.held_out is None or split == "test":
        frames = _frames_in(Path(str(config.root)), split)
    else:
        both = [frame for part in ("train", "val") for frame in _frames_in(Path(str(config.root)), part)]
        frames = [frame for frame in both if frame.name.startswith(config.held_out) == (split == "val")]
        if not frames:
            which = "no frame's name begins" if split == "val" else "every frame's name begins"
            raise UserError(f"data.held_out: {which} with {config.held_out!r}; name a drive, such as 0006R0")
    return require_files(frames, fix="restore it, or remove the frame's other file and its line in the list")


def _frames_in(root: Path, split: str) -> list[FrameFiles]:
    """The frames in the folders of a split, some of whose files may be missing; UserError as `frame_files`."""
    fix = f"data.root must hold {split}/ and {split}annot/: see data/README.md"
    images = root / split
    annotations = root / f"{split}annot"
    names = sorted({path.stem for path in pictures_in(images, fix) + pictures_in(annotations, fix)})
    if os.path.lexists(root / f"{split}.txt"):  # a broken link is not the same as no list
        names = listed_names(root / f"{split}.txt", split)
    return [FrameFiles(name, images / f"{name}.png", annotations / f"{name}.png") for name in names]
