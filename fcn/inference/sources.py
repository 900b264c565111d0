"""The images to segment: files, folders, glob patterns, or frames of a data set."""

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
    """An image: its name for people, the start of the names of its outputs, and what reads it as uint8 (H, W, 3)."""

    name: str
    stem: str
    read: Callable[[], Array]

    def outputs(self, out: Path) -> tuple[Path, Path, Path]:
        """Files of the mask, the overlay and the confidence in the folder `out`; the overlay of a JPEG is a JPEG."""
        ending = ".jpg" if self.name.lower().endswith((".jpg", ".jpeg")) else ".png"
        start = str(out / self.stem)
        return Path(f"{start}_mask.png"), Path(f"{start}_overlay{ending}"), Path(f"{start}_confidence.png")


def sources_of_inputs(
    inputs: Sequence[str], out: Path, max_megapixels: int
) -> tuple[list[Source], list[str], list[str]]:
    """The images that files, folders (their PNG and JPEG files) and glob patterns name, each once, in the order given.

    Also returns a line for each input that gives no image, and a line for each folder of which something is skipped.

    Raises:
        UserError: There is no image at all, two images have one stem, or a result in `out` would replace an image.
    """
    paths: dict[str, Path] = {}  # by real path, so that an image with two names counts once
    problems = []
    notes = []
    for name in inputs:
        path = Path(name)
        found = [path]
        problem = "no such file"
        try:
            if path.is_dir():
                entries = sorted(path.iterdir())
                found = [entry for entry in entries if entry.suffix.lower() in ENDINGS]
                problem = "holds no PNG or JPEG"
                if 0 < len(found) < len(entries):
                    skipped = f"skipped {len(entries) - len(found)} of {len(entries)}"
                    notes.append(f"{name}: {skipped}; only files {', '.join(ENDINGS)} are read")
            elif not os.path.lexists(path):  # not glob.glob, whose ** follows links to folders, even in circles
                found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        except (OSError, ValueError) as error:
            found = []
            problem = f"cannot be read: {getattr(error, 'strerror', error)}"
        if not found:
            problems.append(f"{name}: {problem}; name an image, a folder of images or a pattern")
        for file in found:
            paths.setdefault(os.path.realpath(file), file)
    if not paths:
        raise UserError(*problems)
    sources: dict[str, Source] = {}
    for path in paths.values():
        if path.stem in sources:
            other = sources[path.stem].name
            raise UserError(f"{path}: has the same stem as {other}; segment them into different folders with --out")
        sources[path.stem] = Source(str(path), path.stem, partial(read_image, path, max_megapixels))
    for source in sources.values():
        for output in source.outputs(out):
            if os.path.realpath(output) in paths:
                raise UserError(f"{output}: is an input and would be overwritten; name another --out")
    return list(sources.values()), problems, notes


def sources_of_frames(dataset: Dataset, count: int) -> list[Source]:
    """Up to `count` frames, spread evenly over a split."""

    def read(index: int) -> Array:
        image, _ = dataset.read(index)
        return image

    indices = evenly_spaced(len(dataset), count)
    return [Source(dataset.names[index], dataset.names[index], partial(read, index)) for index in indices]
