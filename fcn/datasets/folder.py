"""One's own images and masks, matched by their names without the ending. The classes are those of the config.

    ROOT/images/NAME.png, .jpg or .jpeg     ROOT/masks/NAME.png     or as data.images and data.masks call them

The splits are those of `data.split_lists`; else the folders images/train, images/val, images/test, and masks/... alike,
where there is an images/train; else train and val take whole runs of frames that are neighbors by name.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fcn.config.data_settings import DataConfig
from fcn.datasets.dataset import Dataset, IncompleteSplitError, listed_names, open_files, png_color_type, read_colors
from fcn.errors import UserError
from fcn.images import ENDINGS, IGNORE, Array, SegmentationClass, read_label

RUNS = 10  # of neighbors, into which the frames are cut; a video's neighbors are nearly the same picture
TOLD = 5  # values that a message lists; a mask with more that are no class is none of indices


def classes(config: DataConfig) -> tuple[SegmentationClass, ...]:
    """The classes of the config, in its order."""
    colors = config.class_colors or [_default_color(index + 1) for index in range(len(config.class_names))]
    return tuple(
        SegmentationClass(name, color, road=name in config.road_classes)
        for name, color in zip(config.class_names, colors, strict=True)
    )


def _default_color(number: int) -> tuple[int, int, int]:
    """The color of a number in PASCAL VOC's palette: another one for each of 1 to 255, black for 0."""
    red, green, blue = (sum((number >> bit & 1) << (7 - bit // 3) for bit in range(first, 8, 3)) for first in range(3))
    return red, green, blue


def open_split(config: DataConfig, split: str) -> Dataset:
    """The frames of a split; UserError as `frame_files`."""
    return open_files(config, split, classes(config), frame_files(config, split), decode_label)


def frame_files(config: DataConfig, split: str) -> list[tuple[str, Path, Path]]:
    """Finds the frames of a split: name, image, mask.

    Raises:
        UserError: a folder or list is missing or empty, the split has no frame, or images and masks do not belong
            together; a line a file.
    """
    images, masks = (Path(str(config.root)) / folder for folder in (config.images, config.masks))
    by_folder = config.split_lists is None and (images / "train").is_dir()
    if by_folder:
        images, masks = images / split, masks / split
    image_of: dict[str, Path] = {}
    mask_of: dict[str, Path] = {}
    mistakes = []
    for folder, found in ((images, image_of), (masks, mask_of)):
        for path in _pictures(folder):
            if path.stem in found:
                mistakes.append(
                    f"{path}: has the name of {found[path.stem].name}; a frame has one: remove or rename it"
                )
            found[path.stem] = path
    names = sorted(image_of.keys() | mask_of.keys(), key=_in_order)
    if config.split_lists is not None:
        names = listed_names(config.split_lists, split)
    elif not by_folder:
        if split == "test":
            raise UserError(
                f"{images}: has no split test, as train and val share all frames; "
                f"make {images / 'train'}, val and test, {masks / 'train'} alike, or set data.split_lists"
            )
        names = split_by_runs(names, config.validation_share, config.split_seed)[split == "val"]
    for name in names:
        if name not in image_of:
            mistakes.append(f"{images / name}.*: no PNG or JPEG of this name; add it, or remove its mask or its line")
        elif name not in mask_of:
            mistakes.append(f"{masks / name}.png: is missing; add it, or remove {image_of[name]}")
    if not names:
        raise UserError(*mistakes or [f"{images}: holds no frame of {split}; {split} needs images and masks"])
    whole = [(name, image_of[name], mask_of[name]) for name in names if name in image_of and name in mask_of]
    if mistakes:
        raise IncompleteSplitError(whole, *mistakes)
    return whole


def _in_order(name: str) -> tuple[list[int | str], str]:
    """Sorts f2 before f10, as a video has them."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", name)], name


def _pictures(folder: Path) -> list[Path]:
    """Files that end like a picture, without hidden ones, which other systems leave beside them."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; make it, or set data.root, data.images and data.masks to what is there"
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    if not files:
        raise UserError(f"{folder}: holds no PNG or JPEG; put images and masks of the same names into their folders")
    return files


def split_by_runs(names: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """The frames of train and of val, which has whole runs of neighbors; a function of its arguments for ever."""
    runs = min(RUNS, len(names))
    # NumPy may change what a Generator draws, not the bits of Philox
    order = np.argsort(np.random.Philox(key=[seed, 0]).random_raw(runs), kind="stable")
    chosen = order[: min(max(round(share * runs), 1), runs - 1)]
    splits: tuple[list[str], list[str]] = ([], [])
    for index, name in enumerate(names):
        splits[index * runs // len(names) in chosen].append(name)
    return splits


def decode_label(config: DataConfig, path: Path) -> Array:
    """Reads a mask as uint8 (H, W) of class indices and IGNORE.

    Raises:
        UserError: the file is no mask of the configured kind, or holds values that are neither of a class nor ignored.
    """
    if config.mask_kind == "color":
        values = _numbers(read_colors(path, config.max_megapixels))
        of_classes, ignored = (
            _numbers(np.array(colors, np.uint8).reshape(-1, 3)).tolist()
            for colors in (config.class_colors, config.ignore_colors)
        )
    else:
        values = _read_indices(path, config.max_megapixels)
        of_classes = list(config.mask_values or range(len(config.class_names)))
        ignored = list(config.ignore_values)
    labels = np.full(values.shape, -1, np.int16)
    for label, value in [*enumerate(of_classes), *((IGNORE, value) for value in ignored)]:
        labels[values == value] = label
    if labels.min() < 0:
        raise UserError(f"{path}: holds {_unmapped_values(config, *np.unique(values[labels < 0], return_counts=True))}")
    return labels.astype(np.uint8)


def _numbers(colors: Array) -> Array:
    """Colors, uint8 (..., 3), as one number each, uint32 (...); in place, as a mask may be large."""
    numbers = colors[..., 0].astype(np.uint32)
    for channel in (1, 2):
        numbers <<= 8
        numbers |= colors[..., channel]
    return numbers


def _read_indices(path: Path, max_megapixels: int) -> Array:
    try:
        return read_label(path, max_megapixels)
    except UserError as error:
        if png_color_type(path) == 2:
            raise UserError(f"{error}; for one of colors set data.mask_kind: color") from error
        raise


def _unmapped_values(config: DataConfig, values: Array, counts: Array) -> str:
    """What a mask has that is no class, how often, and the lines of the YAML file that would map it."""
    setting, shown = "ignore_values", [*config.ignore_values, *values.tolist()]
    if config.mask_kind == "color":
        colors = [[value >> 16, value >> 8 & 255, value & 255] for value in values.tolist()]
        setting, shown = "ignore_colors", [*map(list, config.ignore_colors), *colors]
    told = [f"{value} in {count:,} pixels" for value, count in zip(shown[-len(counts) :], counts.tolist(), strict=True)]
    if len(told) > TOLD:
        return (
            f"{len(told)} values that are no class, such as {', '.join(told[:TOLD])}; "
            "was it saved as JPEG or resized with interpolation, or is data.mask_kind another? "
            "resize masks by nearest neighbor"
        )
    mend = f"`{setting}: {shown}` under `data:` ignores what is no class"
    if shown == [255] and config.mask_values is None and len(config.class_names) == 2:
        mend = (
            f"`mask_values: [0, 255]` under `data:` makes it {config.class_names[1]}, `{setting}: {shown}` ignores it"
        )
    return f"{', '.join(told)}, which is no class; {mend}"
