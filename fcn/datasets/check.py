"""Reads a whole data set: everything that is wrong with it at once, its sizes, class shares and class weights."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import prod, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from fcn.config.settings import AugmentConfig, DataConfig, ProgressiveConfig
from fcn.datasets import DATASETS, SPLITS, open_split
from fcn.datasets.class_weights import count_classes, median_frequency
from fcn.datasets.dataset import Dataset, png_color_type
from fcn.errors import UserError
from fcn.images import IGNORE, Array, read_image

PNG_WITH_ALPHA = (4, 6)  # color types
SIZES = 3  # of each split that are listed

CROP_SHARE = 0.9  # of the frame's height and width, so that crops vary
CROP_PIXELS = 320 * 448  # as in configs/camvid.yaml; memory and time of a step grow with them
SMALL_CROP = 0.6  # of the crop's height and width, for the progressive phase


class FrameStats(NamedTuple):
    """Statistics of a frame; so small that memory does not grow with the pixels."""

    name: str  # path of the image; SPLIT/NAME of a generated frame
    problems: list[str]  # a line for everything that is wrong with its files
    size: tuple[int, int] = (0, 0)  # (height, width) in pixels
    digest: bytes = b""  # SHA-256 of the decoded image; empty if it cannot be read
    counts: Array = np.zeros(0, np.int64)  # pixels of each class, int64 (C,); (0,) if the frame is invalid


@dataclass(frozen=True)
class SplitReport:
    """A split after reading: its frames that have both files, and their statistics."""

    dataset: Dataset
    stats: list[FrameStats]

    @property
    def valid(self) -> list[FrameStats]:
        """Statistics of the valid frames."""
        return [one for one in self.stats if one.counts.size]

    def shares(self) -> list[float]:
        """Share of each class in the pixels of the valid frames; then that of ignored pixels."""
        pixels = sum(prod(one.size) for one in self.valid)
        shares = np.sum([one.counts for one in self.valid], axis=0) / pixels
        return [*shares, 1 - shares.sum()]


def check_data(config: DataConfig) -> tuple[list[SplitReport], list[str], list[str]]:
    """Reads every frame on all cores: the splits, a line for each problem, and a line for each other remark."""
    config = replace(config, cache_megabytes=0)  # each frame is read once
    reports: list[SplitReport] = []
    problems: list[str] = []
    remarks: list[str] = []
    for split in SPLITS:
        try:
            dataset = open_split(config, split, missing=problems)
        except UserError as error:
            if split == "test" and not _has_test_split(config):  # neither training nor choosing a recipe needs one
                remarks.append(f"test is not checked: {error}")
            else:
                problems += str(error).splitlines()
            continue
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(partial(frame_stats, config, dataset), range(len(dataset)))
            bar = tqdm(results, f"check {split}", len(dataset), unit="frame", leave=False, disable=None)
            report = SplitReport(dataset, list(bar))
        problems += [line for one in report.stats for line in one.problems]
        problems += missing_classes(report)
        reports.append(report)
    problems += shared_frames(reports)
    return reports, list(dict.fromkeys(problems)), remarks  # train and val may report the same folder


def _has_test_split(config: DataConfig) -> bool:
    """Whether the list or a folder of the test split exists."""
    if config.split_lists is not None:
        return (Path(config.split_lists) / "test.txt").exists()
    return any((Path(str(config.root)) / name).exists() for name in ("test", "testing", f"{config.images}/test"))


def frame_stats(config: DataConfig, dataset: Dataset, index: int) -> FrameStats:
    """Reads a frame; where it is not valid, each of its files is judged alone."""
    name = str(dataset.files[index].image) if dataset.files else f"{dataset.split}/{dataset.names[index]}"
    counts = np.zeros(0, np.int64)
    image: Array | None = None
    problems = []
    try:
        image, label = dataset.read(index)
        counts = count_classes(label, len(dataset.classes))
        if label.min() == IGNORE and dataset.has_ground_truth:
            problems.append(f"{name}: every pixel of its label is ignored; remove it, or fix its label")
    except UserError as error:
        _, image_file, label_file = dataset.files[index]
        try:
            image = read_image(image_file, config.max_megapixels, turn=False)
        except UserError as image_error:
            problems.append(str(image_error))
        try:
            if label_file != image_file:
                DATASETS[config.kind].decode_label(config, label_file)
        except UserError as label_error:
            problems.append(str(label_error))
        problems = problems or [str(error)]  # each file is valid by itself
    if image is None:
        return FrameStats(name, problems)
    if dataset.files and png_color_type(dataset.files[index].image) in PNG_WITH_ALPHA:
        problems.append(f"{name}: has an alpha channel, and training also sees what it hides; save it as RGB")
    digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
    return FrameStats(name, problems, size=image.shape[:2], digest=digest, counts=counts)


def missing_classes(report: SplitReport) -> list[str]:
    """A line for each class without pixels in a split with ground truth, if no invalid frame may show it."""
    if not len(report.valid) == len(report.dataset) > 0 or not report.dataset.has_ground_truth:
        return []
    split = report.dataset.split
    names = [one.name for one, share in zip(report.dataset.classes, report.shares(), strict=False) if not share]
    problem = "it cannot be learned" if split == "train" else "it cannot be scored"
    return [f"{split}: no pixel is {name}; {problem}: move frames that show it into {split}" for name in names]


def shared_frames(reports: Sequence[SplitReport]) -> list[str]:
    """A line for each image that an earlier split has too."""
    first: dict[bytes, tuple[str, str]] = {}
    lines = []
    for report in reports:
        split = report.dataset.split
        for one in report.stats:
            other, other_name = first.setdefault(one.digest, (split, one.name))
            if other != split and one.digest:
                lines.append(f"{one.name}: is the same picture as {other_name} in {other}; remove one of the two")
    return lines


def summary(reports: Sequence[SplitReport]) -> str:
    """Tables of frames and sizes and of the share of each class in the pixels, and the class weights of train."""
    lines = [f"{'split':<8}{'frames':>8}{'valid':>8}  most common height x width (frames)"]
    for report in reports:
        sizes = Counter(one.size for one in report.valid).most_common(SIZES)
        shown = ", ".join(f"{height} x {width} ({count})" for (height, width), count in sizes)
        lines.append(f"{report.dataset.split:<8}{len(report.dataset):>8}{len(report.valid):>8}  {shown}")

    scored = [report for report in reports if report.dataset.has_ground_truth and report.valid]
    if scored:
        names = ["", *(one.name for one in scored[0].dataset.classes), "ignored"]
        columns = [[report.dataset.split, *(f"{share:.2%}" for share in report.shares())] for report in scored]
        width = max(map(len, names)) + 2
        for name, row in zip(names, zip(*columns, strict=True), strict=True):
            lines.append(f"{name:<{width}}" + "".join(f"{text:>9}" for text in row))
    if scored and scored[0].dataset.split == "train":
        counts = np.array([one.counts for one in scored[0].valid])
        pixels = np.array([prod(one.size) for one in scored[0].valid])
        weights = median_frequency(counts.sum(axis=0), shown=pixels @ (counts > 0))
        listed = ", ".join(f"{weight:.4f}" for weight in weights)
        lines.append(f"class weights by median frequency on train: [{listed}]")
    return "\n".join(lines)


def crop_remark(reports: Sequence[SplitReport], augment: AugmentConfig, progressive: ProgressiveConfig) -> str | None:
    """The crop sizes to set if the crop is larger than the median frame of train, or has under half of their pixels."""
    sizes = [one.size for report in reports if report.dataset.split == "train" for one in report.valid]
    if not sizes:
        return None
    height, width = np.median(sizes, axis=0).tolist()
    shrink = min(CROP_SHARE, sqrt(CROP_PIXELS / (height * width)))
    crop = [_crop_side(shrink * side, limit=side) for side in (height, width)]
    padded = augment.crop_size[0] > height or augment.crop_size[1] > width
    small = 2 * prod(augment.crop_size) < prod(crop)
    if not (padded or small) or list(augment.crop_size) == crop:
        return None
    settings = f"augment.crop_size: {crop}"
    if progressive.share > 0:
        settings += f" and progressive.crop_size: {[_crop_side(SMALL_CROP * side, limit=side) for side in crop]}"
    return (
        f"augment.crop_size: {list(augment.crop_size)} does not fit the frames of train (median {height:g} x {width:g},"
        f" height x width): set {settings}"
    )


def _crop_side(length: float, limit: float) -> int:
    """The multiple of 32 (coarsest stride) that is nearest to `length` and not above `limit`, at least 32."""
    return 32 * max(1, min(round(length / 32), int(limit // 32)))
