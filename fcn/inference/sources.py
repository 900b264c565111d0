"""Where images to infer come from: files, folders, patterns, or frames of a data set."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fcn.datasets.dataset import Dataset, spread
from fcn.errors import UserError
from fcn.images import ENDINGS, Array, read_image


@dataclass(frozen=True)
class Source:
    """An image that can be read: its name in the table, the stem of its outputs, and how to read it."""

    name: str
    stem: str
    read: Callable[[], Array]


def sources_of_inputs(inputs: Sequence[str]) -> list[Source]:
    """Files, folders (their PNG and JPEG files) and glob patterns -> images, in the order given.

    Raises:
        UserError: an input is not there or holds no image, or two images have one stem and would overwrite each other.
    """
    paths: list[Path] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
        else:
            found = [path] if path.exists() else sorted(Path(match) for match in glob.glob(name, recursive=True))
        if not found:
            raise UserError(
                f"{name}: no such image, or no PNG or JPEG in the folder; name a file, a folder or a pattern"
            )
        paths += found
    by_stem: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        other = by_stem.setdefault(path.stem, path)
        if other != path:
            raise UserError(f"{path}: has the same stem as {other}; infer them into different folders with --out")
    return [Source(str(path), stem, partial(read_image, path)) for stem, path in by_stem.items()]


def sources_of_frames(dataset: Dataset, count: int) -> list[Source]:
    """Up to `count` frames, spread evenly over a split."""
    names = dataset.names
    return [Source(names[i], names[i], partial(_image, dataset, i)) for i in spread(len(dataset), count)]


def _image(dataset: Dataset, index: int) -> Array:
    return dataset.read(index)[0]
