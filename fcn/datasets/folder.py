"""Your own images and masks, paired by name without the ending. The classes come from the config.

    ROOT/images/NAME.png, .jpg or .jpeg     ROOT/masks/NAME.png     or as data.images, data.masks, data.mask_suffix say

The splits are those of `data.split_lists`; else the folders images/train, images/val, images/test and masks/train etc.,
if images/train exists; else train and val get whole runs of frames that are neighbors by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from fcn.config.settings import DataConfig, class_named
from fcn.datasets.dataset import (
    MAX_LISTED,
    FrameFiles,
    complete_frames,
    listed_names,
    map_labels,
    pictures_in,
    png_color_type,
    read_colors,
)
from fcn.errors import UserError
from fcn.images import IGNORE, Array, SegmentationClass, read_label

RUNS = 10  # runs of neighbors into which the frames are cut; neighbors in a video are nearly the same picture
VAL_RUNS = (0, 2)  # a fifth of the runs, chosen at random once
SAMPLES = 5  # masks in whose names a common prefix or suffix is looked for


def classes(config: DataConfig) -> tuple[SegmentationClass, ...]:
    """The classes of the config, in its order."""
    colors = config.class_colors or [default_color(index + 1) for index in range(len(config.class_names))]
    roads = {class_named(name, config.class_names) for name in config.road_classes}
    return tuple(
        SegmentationClass(name, color, road=name in roads)
        for name, color in zip(config.class_names, colors, strict=True)
    )


def default_color(number: int) -> tuple[int, int, int]:
    """Color of a number in PASCAL VOC's palette: a different one for each of 1 to 255, black for 0."""
    red, green, blue = (sum((number >> bit & 1) << (7 - bit // 3) for bit in range(first, 8, 3)) for first in range(3))
    return red, green, blue


def frame_files(config: DataConfig, split: str) -> tuple[list[FrameFiles], list[str]]:
    """The frames of a split, and a line for each file that is missing or does not match; UserError for empty splits."""
    images = Path(str(config.root)) / config.images
    masks = Path(str(config.root)) / config.masks
    by_folder = config.split_lists is None and (images / "train").is_dir()
    if by_folder:
        images = images / split
        masks = masks / split
    fix = "put images and masks there, or set data.root, data.images and data.masks to their folders"
    mistakes: list[str] = []
    image_of = _by_name(pictures_in(images, fix), prefix="", suffix="", mistakes=mistakes)
    mask_files = pictures_in(masks, fix)

    # wrong affixes are reported once; the frames are then paired as if the right ones were set
    prefix, suffix = mask_affixes(config, image_of.keys(), [path.stem for path in mask_files])
    affixes = {"mask_prefix": prefix, "mask_suffix": suffix}
    changed = {name: affix for name, affix in affixes.items() if affix != getattr(config, name)}
    if changed:
        settings = " and ".join(f"data.{line}" for line in yaml.safe_dump(changed, width=1000).splitlines())
        mistakes.append(f"{masks}: most masks are called {prefix}NAME{suffix}.png: set {settings}")
    mask_of = _by_name(mask_files, prefix, suffix, mistakes=mistakes)

    names = sorted(image_of.keys() | mask_of.keys(), key=_natural_order)
    if config.split_lists is not None:
        names = listed_names(Path(config.split_lists) / f"{split}.txt", split)
    elif not by_folder:
        if split == "test":
            raise UserError(
                f"{images}: has no test split, as train and val share all frames; make {images / 'train'}, val and "
                f"test, and the same in {masks}, or set data.split_lists"
            )
        training, validation = split_by_runs(names)
        names = training if split == "train" else validation
    if not names:
        raise UserError(*mistakes or [f"{images}: holds no frame of {split}; {split} needs images and masks"])
    image_files = [image_of.get(name) or images / f"{name}.*" for name in names]
    label_files = [mask_of.get(name) or masks / f"{prefix}{name}{suffix}.png" for name in names]
    frames = list(map(FrameFiles, names, image_files, label_files))
    complete, missing = complete_frames(frames, "add it, or remove the frame's other file and its line in the list")
    return complete, mistakes + missing


def _by_name(files: Sequence[Path], prefix: str, suffix: str, mistakes: list[str]) -> dict[str, Path]:
    """Frame name -> file; adds a mistake for each file that has no name, or one that another file has."""
    file_of: dict[str, Path] = {}
    for path in files:
        name = name_in(path.stem, prefix, suffix)
        if name is None:
            rule = f"{prefix}NAME{suffix}.png, as data.mask_prefix and data.mask_suffix say"
            mistakes.append(f"{path}: is not called {rule}; rename or remove it")
        elif name in file_of:
            mistakes.append(f"{path}: has the same name as {file_of[name].name}; remove or rename one of the two")
        else:
            file_of[name] = path
    return file_of


def _natural_order(name: str) -> tuple[list[int | str], str]:
    """Sort key with numbers as numbers: f2 before f10."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if part.isascii() and part.isdigit() else part for part in parts], name


def name_in(stem: str, prefix: str, suffix: str) -> str | None:
    """NAME of a stem that is PREFIX + NAME + SUFFIX; None for other stems."""
    fits = stem.startswith(prefix) and stem.endswith(suffix) and len(stem) > len(prefix) + len(suffix)
    return stem[len(prefix) : len(stem) - len(suffix)] if fits else None


def mask_affixes(config: DataConfig, names: Collection[str], stems: Sequence[str]) -> tuple[str, str]:
    """Prefix and suffix of the masks: the configured ones unless others match more, at least two and half of all.

    Digits alone do not count: f1 is not the image of the mask f10.
    """
    configured = (config.mask_prefix, config.mask_suffix)
    candidates = {
        (stem[:start], stem[start + len(name) :])
        for stem in stems[:SAMPLES]
        for name in names
        for start in (stem.find(name), stem.rfind(name))
        if start >= 0 and re.search(r"\D", stem[:start] + stem[start + len(name) :])
    }
    matches = {
        affixes: sum(name_in(stem, *affixes) in names for stem in stems) for affixes in candidates | {configured}
    }
    best = max(sorted(matches), key=matches.__getitem__)
    return best if matches[best] > matches[configured] and matches[best] >= max(2, len(stems) / 2) else configured


def split_by_runs(names: list[str]) -> tuple[list[str], list[str]]:
    """The frames of train and of val, which gets whole runs of neighbors. The split never changes between versions."""
    runs = min(RUNS, len(names))
    count = max(round(runs / 5), 1)
    chosen = VAL_RUNS[: min(count, runs - 1)]
    splits: tuple[list[str], list[str]] = ([], [])
    for index, name in enumerate(names):
        splits[index * runs // len(names) in chosen].append(name)
    return splits


def decode_label(config: DataConfig, path: Path) -> Array:
    """A mask as uint8 (H, W) of class indices and IGNORE; UserError for another kind of mask and unmapped values."""
    if config.mask_kind == "color":
        values = read_colors(path, config.max_megapixels)
        class_values = [int.from_bytes(bytes(color)) for color in config.class_colors or ()]
        ignored = [int.from_bytes(bytes(color)) for color in config.ignore_colors]
    else:
        if png_color_type(path) == 2:
            raise UserError(f"{path}: has mode RGB; a mask of indices is gray or palette; set data.mask_kind: color")
        values = read_label(path, config.max_megapixels)
        class_values = list(config.mask_values or range(len(config.class_names)))
        ignored = list(config.ignore_values)
    label_of = {value: label for label, value in enumerate(class_values)} | dict.fromkeys(ignored, IGNORE)
    return map_labels(values, label_of, path, fix=partial(mapping_hint, config))


def mapping_hint(config: DataConfig, unmapped: list[Any]) -> str:
    """Line of the YAML file that would map values of a mask that are not a class; for many, the likely cause."""
    if len(unmapped) > MAX_LISTED:
        return (
            "was it saved as JPEG or resized with interpolation, or is data.mask_kind the other one? "
            "resize masks by nearest neighbor"
        )
    ignores = f"`ignore_values: {[*config.ignore_values, *unmapped]}`"
    if config.mask_kind == "color":
        ignores = f"`ignore_colors: {[*map(list, config.ignore_colors), *unmapped]}`"
    if ignores == "`ignore_values: [255]`" and config.mask_values is None and len(config.class_names) == 2:
        return f"`mask_values: [0, 255]` under `data:` makes it {config.class_names[1]}, {ignores} ignores it"
    return f"{ignores} under `data:` ignores it"
