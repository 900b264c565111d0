"""CamVid in the tree of the SegNet tutorial: 367 train, 101 val and 233 test frames of 480x360 with 11 classes.

    ROOT/train/NAME.png       ROOT/trainannot/NAME.png       ROOT/train.txt
    ROOT/val/...              ROOT/valannot/...              ROOT/val.txt

An annotation is an 8-bit gray PNG of class indices, 11 for void. The list names the frames of a split; the folders
in it are those of another machine, so only the last part of a path counts. Without a list all frames of a folder count.
"""

from __future__ import annotations

import os
from pathlib import Path

from fcn.config.data_settings import DataConfig
from fcn.datasets.dataset import Dataset, IncompleteSplitError, label_table, map_labels, open_files
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
LABELS = label_table({index: index for index in range(len(CLASSES))} | {VOID: IGNORE})


def open_split(config: DataConfig, split: str) -> Dataset:
    """The frames of a split; UserError as `frame_files`."""
    return open_files(config, split, CLASSES, frame_files(config, split), decode_label)


def decode_label(config: DataConfig, path: Path) -> Array:
    """Reads an annotation as uint8 (H, W) of class indices and IGNORE; UserError as `read_label` and `map_labels`."""
    return map_labels(read_label(path, config.max_megapixels), LABELS, path)


def frame_files(config: DataConfig, split: str) -> list[tuple[str, Path, Path]]:
    """Finds the frames of a split: name, image, annotation.

    Raises:
        UserError: a folder is missing or empty, or no frame is held out or left.
        IncompleteSplitError: frames and annotations do not belong together; a line a file.
    """
    root = Path(str(config.root))
    if config.held_out is None or split == "test":
        return _files_in(root, split)
    frames: list[tuple[str, Path, Path]] = []
    missing: list[str] = []
    for part in ("train", "val"):
        try:
            frames += _files_in(root, part)
        except IncompleteSplitError as error:
            frames, missing = frames + error.whole, missing + str(error).splitlines()
    chosen = [frame for frame in frames if frame[0].startswith(config.held_out) == (split == "val")]
    if missing:
        raise IncompleteSplitError(chosen, *missing)
    if not chosen:
        which = "no frame's name begins" if split == "val" else "every frame's name begins"
        raise UserError(f"data.held_out: {which} with {config.held_out!r}; name a drive, such as 0006R0")
    return chosen


def _files_in(root: Path, split: str) -> list[tuple[str, Path, Path]]:
    """The frames in the folders of a split; raises as `frame_files`."""
    images, annotations = root / split, root / f"{split}annot"
    for folder in (images, annotations):
        if not folder.is_dir():
            raise UserError(
                f"{folder}: no such folder; data.root must hold {split}/ and {split}annot/: see data/README.md"
            )
    listed = root / f"{split}.txt"
    if os.path.lexists(listed) and not listed.is_file():
        raise UserError(
            f"{listed}: is no file, or a link to none; restore the list of the frames of {split}, or remove it"
        )
    if listed.is_file():
        names = _names_in(listed)
    else:
        names = sorted({path.stem for folder in (images, annotations) for path in folder.glob("*.png")})
    if not names:
        where = listed if listed.is_file() else images
        raise UserError(f"{where}: names no PNG; data.root must hold the frames of {split}: see data/README.md")
    files = [(name, images / f"{name}.png", annotations / f"{name}.png") for name in names]
    missing = [path for _, *pair in files for path in pair if not path.is_file()]
    if missing:
        mend = "restore it, or remove its mate and its line in the list"
        whole = [frame for frame in files if not set(frame[1:]).intersection(missing)]
        raise IncompleteSplitError(whole, *(f"{path}: is missing; {mend}" for path in missing))
    return files


def _names_in(path: Path) -> list[str]:
    """Frames that a list file names, in its order: the stem of each line's first path, which ends in .png."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    firsts = (line.split(".png")[0] for line in text.splitlines() if line.strip())
    return list(dict.fromkeys(first.rpartition("/")[2].strip() for first in firsts))
