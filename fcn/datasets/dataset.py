"""A split of a data set: named frames that are read by index, and the rules that every frame keeps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from fcn.config.settings import DataConfig
from fcn.errors import UserError
from fcn.files import open_file, read_file
from fcn.images import ENDINGS, IGNORE, Array, SegmentationClass, read_image

BACKGROUND_AND_ROAD = (
    SegmentationClass("background", (70, 70, 70)),
    SegmentationClass("road", (128, 64, 128), road=True),
)
MAX_LIST_BYTES = 2**24  # of a list of frames
MAX_LISTED = 5  # values that an error lists
FIRST_IMAGE = re.compile(r"(.+?)\.(?:png|jpe?g)(?:\s.*)?", re.IGNORECASE)  # of a line such as `a/b 1.png c/b 1.png`


class FrameFiles(NamedTuple):
    """Files of a frame. A frame published without ground truth has its image as its label map."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Dataset:
    """A split of a data set.

    `read` gives the image uint8 (H, W, 3) and the label uint8 (H, W) of class indices and IGNORE of an index, always
    the same arrays, from any thread. It raises UserError for an invalid frame.
    """

    split: str  # "train", "val" or "test"
    classes: tuple[SegmentationClass, ...]  # the meaning of each label index
    names: tuple[str, ...]  # of the frames, unique and safe as file stems
    read: Callable[[int], tuple[Array, Array]]
    files: tuple[FrameFiles, ...] = ()  # of each frame; empty if frames are generated

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.names)

    @property
    def has_ground_truth(self) -> bool:
        """False if no frame has a label map of its own."""
        return not self.files or any(frame.image != frame.label for frame in self.files)


def pictures_in(folder: Path, fix: str) -> list[Path]:
    """PNG and JPEG files of a folder, sorted, without hidden ones; UserError with the `fix` if there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {fix}")
    files = [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != "."]
    if not files:
        raise UserError(f"{folder}: holds no PNG or JPEG; {fix}")
    return sorted(files, key=attrgetter("name"))  # a third of the time that comparing paths takes


def complete_frames(frames: Sequence[FrameFiles], fix: str) -> tuple[list[FrameFiles], list[str]]:
    """The frames with both files, and a line for each missing file."""
    missing = dict.fromkeys(path for frame in frames for path in frame[1:] if not path.exists())
    if not missing:
        return list(frames), []
    complete = [frame for frame in frames if missing.keys().isdisjoint(frame[1:])]
    return complete, [f"{path}: is missing; {fix}" for path in missing]


def listed_names(path: Path, split: str) -> list[str]:
    """Names in the list of a split, in its order and each once; UserError if there are none.

    A line is a name, or starts with the path of an image, whose folder and ending do not count.
    """
    rule = f"the list of {split} must hold the names of its frames, one per line"
    names = []
    for line in read_file(path, MAX_LIST_BYTES, fix=rule).decode(errors="surrogateescape").split("\n"):
        image = FIRST_IMAGE.fullmatch(line.strip())
        names.append(Path(image[1] if image else line.strip()).name)
    if not any(names):
        raise UserError(f"{path}: is empty; {rule}")
    return list(dict.fromkeys(filter(None, names)))


def open_files(
    split: str,
    classes: tuple[SegmentationClass, ...],
    files: Sequence[FrameFiles],
    config: DataConfig,
    decode_label: Callable[[DataConfig, Path], Array],
) -> Dataset:
    """A split of frames that are files; the label of a frame without ground truth is all IGNORE.

    Reading a frame raises UserError if a file cannot be read or is rotated, or the sizes of the two differ.
    """

    def read(index: int) -> tuple[Array, Array]:
        _, image_file, label_file = files[index]
        image = read_image(image_file, config.max_megapixels, turn=False)
        if label_file == image_file:
            return image, np.full(image.shape[:2], IGNORE, np.uint8)
        label = decode_label(config, label_file)
        if label.shape != image.shape[:2]:
            label_size, image_size = (f"{array.shape[1]}x{array.shape[0]}" for array in (label, image))
            raise UserError(
                f"{label_file}: is {label_size}, its image {image_file.name} {image_size} (width x height); "
                "a label map must have the size of its image"
            )
        return image, label

    names = tuple(frame.name for frame in files)
    return Dataset(split=split, classes=classes, names=names, read=read, files=tuple(files))


def read_colors(path: Path, max_megapixels: int) -> Array:
    """A label map of colors as numbers 0xRRGGBB, uint32 (H, W); UserError as `read_image`, for JPEG and for alpha."""
    colors = read_image(path, max_megapixels, turn=False)
    color_type = png_color_type(path)
    if color_type is None:
        raise UserError(f"{path}: is a JPEG; its compression changes labels: save label maps as PNG")
    if color_type & 4:
        raise UserError(f"{path}: has an alpha channel, which may hide colors; save label maps without one")
    return colors @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def png_color_type(path: Path) -> int | None:
    """The color type of a PNG: 0 gray, 2 RGB, 3 palette, 4 and 6 the first two with alpha; None for other files."""
    with open_file(path) as file:
        head = file.read(26)
    return head[25] if head.startswith(b"\x89PNG") and len(head) == 26 else None


def map_labels(values: Array, label_of: dict[int, int], path: Path, fix: Callable[[list[Any]], str]) -> Array:
    """The labels uint8 (H, W) of the values of a file: uint8 (H, W), or colors uint32 (H, W) as of `read_colors`.

    Raises UserError for values that `label_of` lacks, with what `fix` returns for them (colors as lists).
    """
    labels = np.full(values.shape, -1, np.int16)
    for value, label in label_of.items():
        labels[values == value] = label
    if labels.min() < 0:
        unmapped, counts = np.unique(values[labels < 0], return_counts=True)
        found = [list(value.to_bytes(3)) if values.dtype == np.uint32 else value for value in unmapped.tolist()]
        listed = [f"{value} ({count:,} px)" for value, count in zip(found, counts.tolist(), strict=True)]
        if len(listed) > MAX_LISTED:
            listed = [*listed[:MAX_LISTED], f"and {len(listed) - MAX_LISTED} more"]
        first = tuple(np.argwhere(labels < 0)[0].tolist())
        raise UserError(
            f"{path}: holds values that are not a class: {', '.join(listed)}, the first at (row, column) {first}; "
            f"{fix(found)}"
        )
    return labels.astype(np.uint8)


def road_labels(dataset: Dataset) -> Dataset:
    """The same frames with two classes: background, and road for the classes marked so; IGNORE stays."""
    table = np.full(256, IGNORE, np.uint8)
    table[: len(dataset.classes)] = [one.road for one in dataset.classes]

    def read(index: int) -> tuple[Array, Array]:
        image, label = dataset.read(index)
        return image, table[label]

    return replace(dataset, classes=BACKGROUND_AND_ROAD, read=read)


def cached(datasets: Sequence[Dataset], cache_megabytes: int) -> list[Dataset]:
    """The same frames, kept in memory once read, until those of all the splits fill `cache_megabytes` (10**6 bytes).

    Those that were read first stay: each epoch then finds the same share of its frames, in whatever order it has them.
    """
    kept: dict[tuple[str, int], tuple[Array, Array]] = {}
    left = cache_megabytes * 10**6
    lock = Lock()

    def read(dataset: Dataset, index: int) -> tuple[Array, Array]:
        nonlocal left
        frame = kept.get((dataset.split, index))
        if frame is not None:
            return frame
        image, label = dataset.read(index)
        size = image.nbytes + label.nbytes
        with lock:
            if size <= left and (dataset.split, index) not in kept:
                left -= size
                kept[dataset.split, index] = image, label
        return image, label

    return [replace(dataset, read=partial(read, dataset)) for dataset in datasets]


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to `wanted` of the indices 0 to count - 1, evenly spaced, with the first and the last."""
    return [int(index) for index in np.linspace(0, count - 1, min(wanted, count)).round()]
