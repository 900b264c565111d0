"""One reading of all frames before a training: are they valid, what are they, and what does the training need of them?

What was found is kept in a file for the next start. It holds while the name, size and modification time of every file,
the settings of the data, and the code and library that decode are the same. A file that was changed without another
size and modification time is not noticed. The file is `.fcn-frames-DIGEST` in the folder of the data set, else, where
that is read-only, in `$XDG_CACHE_HOME/fcn` or `~/.cache/fcn`; it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from fcn.config.settings import DataConfig
from fcn.datasets.dataset import Dataset
from fcn.errors import UserError, print_error
from fcn.files import read_file, write_file
from fcn.images import IGNORE, Array, SegmentationClass
from fcn.runs.environment import PACKAGE, code_digest

LEVELS = 16  # of each channel: 16 x 16 x 16 RGB bins
RUN = 64  # frames that a thread reads one after another; handing over each one alone costs time and memory
MAX_KEPT_BYTES = 2**26  # two splits of 255 classes have half of it


class SplitStatistics(NamedTuple):
    """Sums over the frames of a split; their size does not depend on the number of frames."""

    split: str
    classes: tuple[SegmentationClass, ...]
    frames: int
    height: int  # median, in pixels
    bins: Array  # pixels of each class in each RGB bin, int64 (C, 4096)
    shown: Array  # all pixels of the frames that show a class, ignored ones too, int64 (C,)


class FrameStatistics(NamedTuple):
    """What a reading of all frames of some splits finds."""

    fingerprint: str  # hexadecimal SHA-256 over the names, pixels and labels of the frames in their order
    splits: tuple[SplitStatistics, ...]


def frame_statistics(config: DataConfig, datasets: Sequence[Dataset]) -> FrameStatistics:
    """The statistics of all frames, read only if they or their settings have changed; UserError as `check_frames`."""
    if config.kind == "synthetic":
        return check_frames(datasets)
    state = _state(config, datasets)
    for path in _places(config):
        kept = _load(path, state, datasets)
        if kept is not None:
            print_error("frames: unchanged since they were checked (names, sizes, times)")
            return kept
    started = time.perf_counter()
    statistics = check_frames(datasets)
    count = sum(map(len, datasets))
    print_error(f"frames: {count:,} checked in {time.perf_counter() - started:.0f} s")
    if not any(_save(path, state, statistics) for path in _places(config)):
        print_error(f"frames: {config.root} cannot be written, nor a cache folder; the next start checks them again")
    return statistics


def check_frames(datasets: Sequence[Dataset]) -> FrameStatistics:
    """Reads every frame once, on all cores, so that a run does not fail hours later.

    Raises UserError with a line for each invalid frame, and for a split whose pixels are all ignored: it would teach or
    score nothing.
    """
    fingerprint = hashlib.sha256()
    mistakes: list[str] = []
    splits = []
    bar = tqdm(desc="check frames", total=sum(map(len, datasets)), unit="frame", leave=False, disable=None)
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for dataset in datasets:
            sums = _Sums(dataset)
            runs = [range(start, min(start + RUN, len(dataset))) for start in range(0, len(dataset), RUN)]
            for indices, (digests, errors) in zip(runs, pool.map(sums.add, runs), strict=True):
                fingerprint.update(digests)
                mistakes += errors
                bar.update(len(indices))
            splits.append(sums.statistics())
    rule = "every pixel of its labels is ignored; check the masks and what the config ignores"
    unlabeled = [f"{one.split}: {rule}" for one in splits if not one.shown.any()]
    if mistakes or unlabeled:
        raise UserError(*(mistakes or unlabeled))
    return FrameStatistics(fingerprint.hexdigest(), tuple(splits))


class _Sums:
    """The statistics of a split while its frames are read by several threads."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.bins = np.zeros((len(dataset.classes), LEVELS**3), np.int64)
        self.shown = np.zeros(len(dataset.classes), np.int64)
        self.heights = Counter[int]()  # frames of each height
        self.lock = Lock()

    def add(self, indices: range) -> tuple[bytes, list[str]]:
        """Reads some frames: the SHA-256 of each, one after another, and what is wrong with invalid ones."""
        digests = b""
        mistakes = []
        for index in indices:
            try:
                image, label = self.dataset.read(index)
            except UserError as error:
                mistakes.append(str(error))
                continue
            head = os.fsencode(f"{self.dataset.split}/{self.dataset.names[index]} {image.shape}\n")
            digests += hashlib.sha256(head + image.tobytes() + label.tobytes()).digest()
            bins = count_pairs(label, color_bins(image), self.bins.shape)
            with self.lock:
                self.heights[image.shape[0]] += 1
                self.bins += bins
                self.shown[bins.any(axis=1)] += label.size
        return digests, mistakes

    def statistics(self) -> SplitStatistics:
        """The statistics of the frames that were read."""
        return SplitStatistics(
            self.dataset.split,
            self.dataset.classes,
            frames=len(self.dataset),
            height=int(np.median(list(self.heights.elements()) or [0])),
            bins=self.bins,
            shown=self.shown,
        )


def color_bins(image: Array) -> Array:
    """The RGB bin of each pixel, the index into a color table: uint8 (H, W, 3) -> uint16 (H, W), 0 to 4095."""
    red, green, blue = np.moveaxis(image // (256 // LEVELS), -1, 0)
    return (red.astype(np.uint16) * LEVELS + green) * LEVELS + blue


def count_pairs(label: Array, values: Array, shape: tuple[int, int]) -> Array:
    """Counts the pixels of every pair (label, value), int64 of a shape; not those whose label is IGNORE."""
    classes, kinds = shape
    rows = np.where(label == IGNORE, 0, label.astype(np.uint32) + 1)  # those of IGNORE come first; a label >= C fails
    pairs = rows * kinds + values
    return np.bincount(pairs.reshape(-1), minlength=(classes + 1) * kinds).reshape(classes + 1, kinds)[1:]


def _settings(config: DataConfig, *more: str) -> str:
    """16 hexadecimal digits that name the file of the settings that say which frames are read, and how."""
    settings = asdict(replace(config, root="", cache_megabytes=0))
    return hashlib.sha256(json.dumps([settings, *more]).encode()).hexdigest()[:16]


def _places(config: DataConfig) -> Iterator[Path]:
    """Where the statistics may lie, the better place first. No name or path of the data is written there."""
    root = Path(str(config.root))
    yield root / f".fcn-frames-{_settings(config)}"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if caches.is_absolute():  # it is not for a user without a home
        yield caches / "fcn" / f"frames-{_settings(config, str(root.resolve()))}"


def _state(config: DataConfig, datasets: Sequence[Dataset]) -> bytes:
    """SHA-256 over what decodes and over name, size and modification time of all files; UserError if one is gone."""
    code = code_digest([*(PACKAGE / "datasets").glob("*.py"), PACKAGE / "images.py"])
    root = str(Path(str(config.root)))
    state = hashlib.sha256(f"{code} {metadata.version('pillow')} {metadata.version('numpy')}\n".encode())
    for dataset in datasets:
        for name, *paths in dataset.files:
            for path in paths:
                try:
                    status = os.stat(path)
                except OSError as error:
                    raise UserError(f"{path}: cannot be read: {error.strerror}; restore it") from error
                place = str(path).removeprefix(root)  # a data set that was moved is the same
                line = f"{dataset.split} {name} {place} {status.st_size} {status.st_mtime_ns}\n"
                state.update(os.fsencode(line))
    return state.digest()


def _seal(state: bytes, text: bytes) -> bytes:
    """The first line of the file: another state or a damaged text does not fit it."""
    return hashlib.sha256(state + text).hexdigest().encode()


def _save(path: Path, state: bytes, statistics: FrameStatistics) -> bool:
    """Whether the statistics could be written."""
    splits = [[one.frames, one.height, one.bins.tolist(), one.shown.tolist()] for one in statistics.splits]
    text = json.dumps([statistics.fingerprint, splits], separators=(",", ":")).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, _seal(state, text) + b"\n" + text)
    except OSError:
        return False
    return True


def _load(path: Path, state: bytes, datasets: Sequence[Dataset]) -> FrameStatistics | None:
    """The statistics that were saved for this state; None if there are none, or they are damaged."""
    try:
        seal, _, text = read_file(path, MAX_KEPT_BYTES).partition(b"\n")
    except UserError:
        return None
    if seal != _seal(state, text):
        return None
    fingerprint, splits = json.loads(text)
    return FrameStatistics(
        fingerprint,
        tuple(
            SplitStatistics(dataset.split, dataset.classes, frames, height, bins=np.array(bins), shown=np.array(shown))
            for dataset, (frames, height, bins, shown) in zip(datasets, splits, strict=True)
        ),
    )
