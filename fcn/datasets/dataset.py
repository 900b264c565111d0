"""A split of a data set: named frames that are read by index, and what makes a frame sound."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fcn.config.data_settings import DataConfig
from fcn.errors import UserError
from fcn.images import ENDINGS, IGNORE, PNG, Array, SegmentationClass, read_image

BACKGROUND_AND_ROAD = (
    SegmentationClass("background", (70, 70, 70)),
    SegmentationClass("road", (128, 64, 128), road=True),
)


class IncompleteSplitError(UserError):
    """Files that frames lack, a line each.

    Attributes:
        whole: the other frames of the split: name, image, label map.
    """

    def __init__(self, whole: list[tuple[str, Path, Path]], *lines: str):
        self.whole = whole
        super().__init__(*lines)


@dataclass(frozen=True)
class Dataset:
    """A split of a data set.

    Attributes:
        split: its name.
        classes: what a label's index means.
        names: of the frames, unique, safe as file stems.
        read: index -> (image uint8 (H, W, 3), label uint8 (H, W) of class indices and IGNORE). The same arrays for the
            same index, always; raises UserError for a frame that is not sound. Called from several threads.
    """

    split: str
    classes: tuple[SegmentationClass, ...]
    names: tuple[str, ...]
    read: Callable[[int], tuple[Array, Array]]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.names)


def open_files(
    config: DataConfig,
    split: str,
    classes: tuple[SegmentationClass, ...],
    files: Sequence[tuple[str, Path, Path]],
    decode_label: Callable[[DataConfig, Path], Array],
) -> Dataset:
    """A split whose frames are files: name, image, label map.

    A frame is not sound if a file cannot be read or is rotated, the sizes differ, or as `decode_label` says.
    """

    def read(index: int) -> tuple[Array, Array]:
        _, image_path, label_path = files[index]
        image, label = read_image(image_path, config.max_megapixels, turn=False), decode_label(config, label_path)
        require_size(label, image, label_path, image_path)
        return image, label

    return Dataset(split, classes, tuple(name for name, _, _ in files), read)


def require_size(label: Array, image: Array, label_path: Path, image_path: Path) -> None:
    """Raises UserError where a label map (h, w) does not have the size of its image (H, W, 3)."""
    if label.shape != image.shape[:2]:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (label, image)]
        raise UserError(
            f"{label_path}: is {sizes[0]}, its image {image_path.name} {sizes[1]} (width x height); "
            "a label map has its image's size"
        )


def read_colors(path: Path, max_megapixels: int) -> Array:
    """Reads a label map of colors, not indices: uint8 RGB (H, W, 3).

    Raises:
        UserError: as `read_image`; or the file is a JPEG or has an alpha channel.
    """
    colors, color_type = read_image(path, max_megapixels, turn=False), png_color_type(path)
    if color_type is None:
        raise UserError(f"{path}: is a JPEG; its compression changes labels: save label maps as PNG")
    if color_type & 4:
        raise UserError(f"{path}: has an alpha channel, which may hide colors; save label maps without one")
    return colors


def png_color_type(path: Path) -> int | None:
    """The color type of a PNG: 0 gray, 2 RGB, 3 palette, 4 and 6 the first two with alpha; None of another file."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return None
    return head[25] if head.startswith(PNG) and len(head) == 26 else None


def listed_names(split_lists: str, split: str) -> list[str]:
    """The names in a split's list, in its order and each once; folders before them and endings do not count.

    Raises:
        UserError: there is no such list, or no name in it.
    """
    path = Path(split_lists) / f"{split}.txt"
    if not path.is_file():
        raise UserError(f"{path}: no such file; data.split_lists must hold the names of {split}, one a line")
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    files = [Path(line.strip()) for line in text.splitlines() if line.strip()]
    names = list(dict.fromkeys(file.stem if file.suffix.lower() in ENDINGS else file.name for file in files))
    if not names:
        raise UserError(f"{path}: names no frame; write the names of the frames of {split} into it, one a line")
    return names


def label_table(mapping: dict[int, int]) -> Array:
    """A table for `map_labels`: int16 (256,), -1 for the values that are no class."""
    table = np.full(256, -1, np.int16)
    table[list(mapping)] = list(mapping.values())
    return table


def map_labels(values: Array, table: Array, path: Path) -> Array:
    """The label of each value of a file; UserError names the file and counts the values that are no class."""
    labels = table[values]
    if labels.min() < 0:
        wrong = sorted(set(np.unique(values)) - set(np.flatnonzero(table >= 0)))
        legal = np.flatnonzero(table >= 0)
        counts = ", ".join(f"{np.sum(values == value):,} of {value}" for value in wrong)
        raise UserError(
            f"{path}: holds the value {wrong[0]} at (row, column) {_first(values == wrong[0])}; legal are {legal[0]} "
            f"to {legal[-1]}, wrong pixels {counts}: is it a mask of another data set, or resized with interpolation?"
        )
    return labels.astype(np.uint8)


def _first(where: Array) -> tuple[int, int]:
    row, column = np.argwhere(where)[0]
    return int(row), int(column)


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
            # two threads may both count one frame: the cache is then a frame smaller
            left -= image.nbytes + label.nbytes
            kept[index] = image, label
        return image, label

    return replace(dataset, read=read)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to `wanted` of the indices 0 to count - 1, at even distances, first and last among them."""
    return [int(index) for index in np.linspace(0, count - 1, min(wanted, count)).round()]


def check_frames(datasets: Iterable[Dataset]) -> str:
    """Reads every frame once, on all cores, so that a broken one is found before work is lost to it.

    Returns:
        The fingerprint of the data: hexadecimal SHA-256 over the names, pixels and labels of the frames in their order.

    Raises:
        UserError: a line for every frame that is not sound.
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
