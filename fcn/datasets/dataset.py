"""A split of a data set: named frames that are read by index, and the rules that every frame keeps."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcn.config.settings import DataConfig
from fcn.errors import UserError
from fcn.images import ENDINGS, IGNORE, Array, SegmentationClass, read_image

BACKGROUND_AND_ROAD = (
    SegmentationClass("background", (70, 70, 70)),
    SegmentationClass("road", (128, 64, 128), road=True),
)
MAX_LISTED = 5  # values that an error lists
FIRST_IMAGE = re.compile(r"(.+?)\.(?:png|jpe?g)(?:\s.*)?", re.IGNORECASE)  # of a line such as `a/b 1.png c/b 1.png`


class FrameFiles(NamedTuple):
    """Files of a frame. A frame published without ground truth has its image as its label map."""

    name: str
    image: Path
    label: Path


class IncompleteSplitError(UserError):
    """Files of a split that are missing or do not match, a line each; `complete` are its frames with both files."""

    def __init__(self, complete: Sequence[FrameFiles], *lines: str):
        self.complete = tuple(complete)
        super().__init__(*lines)


@dataclass(frozen=True)
class Dataset:
    """A split of a data set.

    Attributes:
        split: "train", "val" or "test".
        classes: the meaning of each label index.
        names: names of the frames, unique and safe as file stems.
        read: index -> (image uint8 (H, W, 3), label uint8 (H, W) of class indices and IGNORE). The same arrays for the
            same index, always; raises UserError for an invalid frame. Called from several threads.
        files: files of each frame; empty where frames are generated.
    """

    split: str
    classes: tuple[SegmentationClass, ...]
    names: tuple[str, ...]
    read: Callable[[int], tuple[Array, Array]]
    files: tuple[FrameFiles, ...] = ()

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.names)

    @property
    def has_ground_truth(self) -> bool:
        """False where frames are published without: their image stands for their label map."""
        return not self.files or any(frame.image != frame.label for frame in self.files)


def pictures_in(folder: Path, fix: str) -> list[Path]:
    """PNG and JPEG files of a folder by their ending, sorted, without hidden ones, which other systems leave behind.

    Raises:
        UserError: there is no such folder or no such file, with the `fix`.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; {fix}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    if not files:
        raise UserError(f"{folder}: holds no PNG or JPEG; {fix}")
    return files


def require_files(frames: Sequence[FrameFiles], fix: str, mistakes: Sequence[str] = ()) -> list[FrameFiles]:
    """The frames, if each has its image and its label map.

    Raises:
        IncompleteSplitError: the `mistakes` that were found before, then a line with the `fix` for each missing file.
    """
    paths = dict.fromkeys(path for frame in frames for path in (frame.image, frame.label))
    missing = {path for path in paths if not path.is_file()}
    lines = [*mistakes, *(f"{path}: is missing; {fix}" for path in paths if path in missing)]
    if lines:
        raise IncompleteSplitError([one for one in frames if not {one.image, one.label} & missing], *lines)
    return list(frames)


def listed_names(path: Path, split: str) -> list[str]:
    """Names in the list of a split, in its order and each once.

    A line is a name or starts with the path of an image; its folder, which may be one of another machine, does not
    count, and neither does its ending.

    Raises:
        UserError: the list is missing or empty.
    """
    if not path.is_file():
        broken = "is a broken link or a folder" if os.path.lexists(path) else "no such file"
        raise UserError(f"{path}: {broken}; the list of {split} must hold the names of its frames, one per line")
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    images = [FIRST_IMAGE.fullmatch(line) for line in lines]
    stems = [image[1] if image else line for image, line in zip(images, lines, strict=True)]
    if not stems:
        raise UserError(f"{path}: is empty; the list of {split} must hold the names of its frames, one per line")
    return list(dict.fromkeys(Path(stem).name for stem in stems))


def open_files(
    config: DataConfig,
    split: str,
    classes: tuple[SegmentationClass, ...],
    files: Sequence[FrameFiles],
    decode_label: Callable[[DataConfig, Path], Array],
) -> Dataset:
    """Opens frames that are files; the label of a frame without ground truth is all IGNORE.

    Reading one raises UserError where a file cannot be read or is rotated, the sizes differ, or as `decode_label` says.
    """

    def read(index: int) -> tuple[Array, Array]:
        _, image_file, label_file = files[index]
        image = read_image(image_file, config.max_megapixels, turn=False)
        if label_file == image_file:
            return image, np.full(image.shape[:2], IGNORE, np.uint8)
        label = decode_label(config, label_file)
        if label.shape != image.shape[:2]:
            sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (label, image)]
            raise UserError(
                f"{label_file}: is {sizes[0]}, its image {image_file.name} {sizes[1]} (width x height); "
                "a label map must have the size of its image"
            )
        return image, label

    names = tuple(frame.name for frame in files)
    return Dataset(split=split, classes=classes, names=names, read=read, files=tuple(files))


def read_colors(path: Path, max_megapixels: int) -> Array:
    """Reads a label map of colors instead of indices, as numbers 0xRRGGBB: uint32 (H, W).

    Raises:
        UserError: as `read_image`; or the file is a JPEG or has an alpha channel.
    """
    colors = read_image(path, max_megapixels, turn=False)
    color_type = png_color_type(path)
    if color_type is None:
        raise UserError(f"{path}: is a JPEG; its compression changes labels: save label maps as PNG")
    if color_type & 4:
        raise UserError(f"{path}: has an alpha channel, which may hide colors; save label maps without one")
    numbers = colors[..., 0].astype(np.uint32)
    for channel in (1, 2):  # in place, as a mask may be large
        numbers <<= 8
        numbers |= colors[..., channel]
    return numbers


def png_color_type(path: Path) -> int | None:
    """The color type of a PNG: 0 gray, 2 RGB, 3 palette, 4 and 6 the first two with alpha; None for other files."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return None
    return head[25] if head.startswith(b"\x89PNG") and len(head) == 26 else None


def map_labels(values: Array, label_of: dict[int, int], path: Path, fix: Callable[[list[Any]], str]) -> Array:
    """The label of each value of a file: uint8 (H, W).

    Args:
        values: uint8 (H, W), or uint32 colors as `read_colors` returns them.
        label_of: value -> class index or IGNORE.
        path: of the file.
        fix: unmapped values, colors as lists -> how to fix them, the end of the error.

    Raises:
        UserError: with the unmapped values, the pixels of each and the place of the first.
    """
    labels = np.full(values.shape, -1, np.int16)
    for value, label in label_of.items():
        labels[values == value] = label
    if labels.min() < 0:
        unmapped, counts = np.unique(values[labels < 0], return_counts=True)
        found = [list(value.to_bytes(3)) if values.dtype == np.uint32 else value for value in unmapped.tolist()]
        pixels = [f"{count:,} pixels" if count > 1 else "1 pixel" for count in counts.tolist()]
        listed = [f"{value} in {text}" for value, text in zip(found, pixels, strict=True)]
        text = ", ".join(listed[:MAX_LISTED]) + ", which is not a class"
        if len(listed) > MAX_LISTED:
            text = f"{len(listed)} values that are not a class, such as {', '.join(listed[:MAX_LISTED])}"
        first = tuple(np.argwhere(labels < 0)[0].tolist())
        raise UserError(f"{path}: holds {text}, the first at (row, column) {first}; {fix(found)}")
    return labels.astype(np.uint8)


def road_labels(dataset: Dataset) -> Dataset:
    """The same frames with two classes: background, and road for the classes marked so; IGNORE stays."""
    table = np.full(256, IGNORE, np.uint8)
    table[: len(dataset.classes)] = [one.road for one in dataset.classes]

    def read(index: int) -> tuple[Array, Array]:
        image, label = dataset.read(index)
        return image, table[label]

    return replace(dataset, classes=BACKGROUND_AND_ROAD, read=read)


def cached(dataset: Dataset, cache_megabytes: int) -> Dataset:
    """The same frames, kept in memory once read, until they fill `cache_megabytes` (10**6 bytes)."""
    kept: dict[int, tuple[Array, Array]] = {}
    left = cache_megabytes * 10**6

    def read(index: int) -> tuple[Array, Array]:
        nonlocal left
        if index in kept:
            return kept[index]
        image, label = dataset.read(index)
        if image.nbytes + label.nbytes <= left:
            # two threads may both count one frame: the cache then holds one frame less
            left -= image.nbytes + label.nbytes
            kept[index] = image, label
        return image, label

    return replace(dataset, read=read)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to `wanted` of the indices 0 to count - 1, evenly spaced, with the first and the last."""
    return [int(index) for index in np.linspace(0, count - 1, min(wanted, count)).round()]


def check_frames(datasets: Iterable[Dataset]) -> str:
    """Reads every frame once, on all cores, so that a run does not fail on an invalid one hours later.

    Returns:
        The fingerprint of the data: hexadecimal SHA-256 over the names, pixels and labels of the frames in their order.

    Raises:
        UserError: a line for every invalid frame.
    """

    def digest(frame: tuple[Dataset, int]) -> bytes | UserError:
        dataset, index = frame
        try:
            image, label = dataset.read(index)
        except UserError as error:
            return error
        head = os.fsencode(f"{dataset.split}/{dataset.names[index]} {image.shape}\n")
        return hashlib.sha256(head + image.tobytes() + label.tobytes()).digest()

    frames = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(digest, frames))
    mistakes = [str(result) for result in results if isinstance(result, UserError)]
    if mistakes:
        raise UserError(*mistakes)
    return hashlib.sha256(b"".join(result for result in results if isinstance(result, bytes))).hexdigest()
