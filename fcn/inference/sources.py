"""Where images to infer come from: files, folders, patterns, or frames of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fcn.datasets.dataset import Dataset, evenly_spaced
from fcn.errors import UserError
from fcn.images import ENDINGS, Array, read_image


@dataclass(frozen=True)
class Source:
    """An image that can be read.

    Attributes:
        name: in the table.
        stem: of its outputs.
        read: gives uint8 RGB (H, W, 3); raises UserError where the file is none that can be read.
    """

    name: str
    stem: str
    read: Callable[[], Array]

    def outputs(self, out: Path) -> tuple[Path, Path, Path]:
        """The mask, the overlay and the confidence of the image in the folder `out`."""
        return out / f"{self.stem}_mask.png", out / f"{self.stem}_overlay.png", out / f"{self.stem}_confidence.png"


def sources_of_inputs(inputs: Sequence[str], out: Path, max_megapixels: int) -> tuple[list[Source], list[str]]:
    """Files, folders (their PNG and JPEG files) and glob patterns -> images, in the order given.

    Returns:
        The images, and a line for each input that is not there, cannot be read or holds none.

    Raises:
        UserError: there is no image at all, two images have one stem, or a result in `out` would replace an image.
    """
    paths: dict[str, Path] = {}  # by what a path leads to, so that one image counts once
    mistakes = []
    for name in inputs:
        try:
            found, none = _images_of(Path(name))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            found, none = [], f"cannot be read: {reason}"
        if not found:
            mistakes.append(f"{name}: {none}; name an image, a folder of images or a pattern")
        for file in found:
            paths.setdefault(os.path.realpath(file), file)
    if not paths:
        raise UserError(*mistakes)
    by_stem: dict[str, Source] = {}
    for path in paths.values():
        source = Source(str(path), path.stem, partial(read_image, path, max_megapixels))
        other = by_stem.setdefault(path.stem, source)
        if other is not source:
            raise UserError(f"{path}: has the same stem as {other.name}; infer them into different folders with --out")
    for source in by_stem.values():
        for output in source.outputs(out):
            if os.path.realpath(output) in paths:
                raise UserError(f"{output}: is an input and would be overwritten; name another --out")
    return list(by_stem.values()), mistakes


def _images_of(path: Path) -> tuple[list[Path], str]:
    """The images that an input names, and what to say where there is none."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS), "holds no PNG or JPEG"
    if os.path.lexists(path):
        return [path], ""
    # not glob.glob, whose ** follows links to folders, also in circles
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))), "no such file"


def sources_of_frames(dataset: Dataset, count: int) -> list[Source]:
    """Up to `count` frames, spread evenly over a split."""
    names = dataset.names
    return [Source(names[i], names[i], partial(_image, dataset, i)) for i in evenly_spaced(len(dataset), count)]


def _image(dataset: Dataset, index: int) -> Array:
    return dataset.read(index)[0]
