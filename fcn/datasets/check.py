"""A data set -> everything that is wrong with it, at once, and what it is made of."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcn.config.data_settings import DataConfig
from fcn.datasets import DATASETS, SPLITS, classes_of
from fcn.datasets.dataset import Dataset, IncompleteSplitError, evenly_spaced, open_files, png_color_type, road_labels
from fcn.datasets.frequency import count_classes, median_frequency
from fcn.errors import UserError
from fcn.images import IGNORE, Array, read_image
from fcn.pictures import contact_sheet

PNG_WITH_ALPHA = (4, 6)  # color types
SHEET_FRAMES = 4  # of each split
SIZES = 3  # of each split that are listed


@dataclass(frozen=True)
class FrameStats:
    """What is kept of a frame; so little that memory does not grow with the pixels.

    Attributes:
        size: (height, width) in pixels.
        digest: SHA-256 of the decoded image.
        counts: pixels of each class, int64 (C,); (0,) where the label is not sound.
    """

    size: tuple[int, int]
    digest: bytes
    counts: Array


@dataclass(frozen=True)
class SplitReport:
    """A split that was read.

    Attributes:
        dataset: its frames whose files are there.
        files: name, image and label map of each; none where frames are drawn.
        facts: of each frame; None where its image cannot be read.
    """

    dataset: Dataset
    files: Sequence[tuple[str, Path, Path]]
    facts: list[FrameStats | None]

    @property
    def sound(self) -> list[FrameStats]:
        """Those of the frames that are sound."""
        return [one for one in self.facts if one and one.counts.size]

    @property
    def has_truth(self) -> bool:
        """False for frames published without: their image stands for their label map."""
        return not self.files or any(image != label for _, image, label in self.files)

    def place(self, index: int) -> str:
        """The frame's image, in words."""
        return str(self.files[index][1]) if self.files else f"{self.dataset.split}/{self.dataset.names[index]}"


def check_data(config: DataConfig) -> tuple[list[SplitReport], list[str], list[str]]:
    """Reads every frame of every split on all cores.

    Returns:
        The splits; a line for each problem; a line for each thing worth knowing that is none.
    """
    reports: list[SplitReport] = []
    problems: list[str] = []
    remarks: list[str] = []
    for split in SPLITS:
        try:
            dataset, files, missing = _open(config, split)
        except UserError as error:
            if split == "test" and not _offers_test(config):  # training and choosing a recipe need none
                remarks.append(f"test is not checked: {error}")
            else:
                problems += str(error).splitlines()
            continue
        report = SplitReport(dataset, files, [])
        problems += missing
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(partial(_look, config, report), range(len(dataset)))
            for facts, found in tqdm(results, f"check {split}", len(dataset), unit="frame", leave=False, disable=None):
                report.facts.append(facts)
                problems += found
        problems += _absent(report)
        reports.append(report)
    problems += _in_two_splits(reports)
    return reports, list(dict.fromkeys(problems)), remarks  # train and val may lack the same folder


def _offers_test(config: DataConfig) -> bool:
    """Whether something lies where the split test would be."""
    if config.split_lists is not None:
        return (Path(config.split_lists) / "test.txt").exists()
    return any((Path(str(config.root)) / name).exists() for name in ("test", "testing", f"{config.images}/test"))


def _open(config: DataConfig, split: str) -> tuple[Dataset, Sequence[tuple[str, Path, Path]], list[str]]:
    """The frames that are there, their files, and lines about those that are not."""
    module, files, missing = DATASETS[config.kind], [], []
    if config.kind == "synthetic":
        dataset = module.open_split(config, split)
    else:
        try:
            files = module.frame_files(config, split)
        except IncompleteSplitError as error:
            files, missing = error.whole, str(error).splitlines()
        dataset = open_files(config, split, classes_of(replace(config, labels="all")), files, module.decode_label)
    return road_labels(dataset) if config.labels == "road" else dataset, files, missing


def _look(config: DataConfig, report: SplitReport, index: int) -> tuple[FrameStats | None, list[str]]:
    """FrameStats of a frame whose image can be read, and a line for everything that is wrong with its files."""
    image: Array | None
    label: Array | None
    try:
        (image, label), problems = report.dataset.read(index), []
    except UserError as error:
        image, label, problems = None, None, [str(error)]
        if report.files:
            image, problems = _alone(config, *report.files[index][1:], str(error))
    if image is None:
        return None, problems
    if report.files and png_color_type(report.files[index][1]) in PNG_WITH_ALPHA:
        problems.append(
            f"{report.place(index)}: has an alpha channel, and what it hides is learned from; save it as RGB"
        )
    if label is not None and report.has_truth and label.min() == IGNORE:
        problems.append(
            f"{report.place(index)}: every pixel of its label is ignored; it can be neither learned from nor scored: "
            "remove it, or mend its label"
        )
    digest = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
    if label is None:
        return FrameStats(image.shape[:2], digest, np.zeros(0, np.int64)), problems
    return FrameStats(image.shape[:2], digest, count_classes(label, len(report.dataset.classes))), problems


def _alone(config: DataConfig, image_path: Path, label_path: Path, mistake: str) -> tuple[Array | None, list[str]]:
    """The image, if it can be read, and a line for each file that is wrong by itself; else the mistake of the two."""
    image, lines = None, dict[str, None]()
    try:
        image = read_image(image_path, config.max_megapixels, turn=False)
    except UserError as error:
        lines[str(error)] = None
    try:
        DATASETS[config.kind].decode_label(config, label_path)
    except UserError as error:
        lines[str(error)] = None  # an image that stands for its label map has one mistake
    return image, list(lines) or [mistake]


def _absent(report: SplitReport) -> list[str]:
    """A line for each class that no pixel of a split with truth has."""
    if not report.has_truth or len(report.sound) < len(report.dataset):  # another frame may have it
        return []
    total = np.sum([one.counts for one in report.sound], axis=0)
    split = report.dataset.split
    mend = "it cannot be learned" if split == "train" else "it cannot be scored"
    names = [one.name for one, count in zip(report.dataset.classes, total, strict=True) if not count]
    return [f"{split}: no pixel is {name}; {mend}: move frames that show it into {split}" for name in names]


def _in_two_splits(reports: list[SplitReport]) -> list[str]:
    """A line for each picture that an earlier split has too."""
    first: dict[bytes, tuple[str, str]] = {}
    lines = []
    for report in reports:
        split = report.dataset.split
        for index, facts in enumerate(report.facts):
            if facts is None:
                continue
            other, place = first.setdefault(facts.digest, (split, report.place(index)))
            if other != split and place == report.place(index):
                lines.append(f"{place}: stands in {other} and in {split}; remove it from one of the two lists")
            elif other != split:
                lines.append(
                    f"{report.place(index)}: is the same picture as {place}; frames of {other} must not be in {split}: "
                    "remove one of the two"
                )
    return lines


def summary(reports: Sequence[SplitReport]) -> str:
    """Tables of frames and sizes, of the share of the pixels that a class has, and the class weights of train."""
    lines = [f"{'split':<8}{'frames':>8}  height x width"]
    for report in reports:
        sizes = Counter(one.size for one in report.sound).most_common()
        told = [f"{height} x {width} ({count})" for (height, width), count in sizes[:SIZES]]
        rest = [f"{len(sizes) - SIZES} other sizes"] if len(sizes) > SIZES else []
        lines.append(f"{report.dataset.split:<8}{len(report.dataset):>8}  {', '.join(told + rest)}")
    scored = [report for report in reports if report.has_truth and report.sound]
    for report in scored:
        if len(report.sound) < len(report.dataset):
            lines.append(f"below, {report.dataset.split} is its {len(report.sound)} sound frames")
    if not scored:
        return "\n".join(lines)
    names = [one.name for one in scored[0].dataset.classes]
    wide = max(map(len, ["ignored", *names])) + 2
    shares = []
    for report in scored:
        pixels = sum(one.size[0] * one.size[1] for one in report.sound)
        share = np.sum([one.counts for one in report.sound], axis=0) / pixels
        shares.append([*share, 1 - share.sum()])
    lines.append(" " * wide + "".join(f"{report.dataset.split:>9}" for report in scored))
    for name, row in zip([*names, "ignored"], zip(*shares, strict=True), strict=True):
        lines.append(f"{name:<{wide}}" + "".join(f"{share:>9.2%}" for share in row))
    if scored[0].dataset.split == "train":
        sound = scored[0].sound
        balanced = median_frequency([one.counts for one in sound], [one.size[0] * one.size[1] for one in sound])
        weights = ", ".join(f"{weight:.4f}" for weight in balanced)
        lines.append(f"class weights by median frequency on train: [{weights}]")
    return "\n".join(lines)


def sheet(reports: Sequence[SplitReport]) -> Array | None:
    """Contact sheet of some sound frames of each split, uint8 RGB; None where there is none."""
    chosen: list[tuple[Dataset, int]] = []
    for report in reports:
        sound = [index for index, facts in enumerate(report.facts) if facts and facts.counts.size]
        chosen += [(report.dataset, sound[place]) for place in evenly_spaced(len(sound), SHEET_FRAMES)]
    if not chosen:
        return None
    return contact_sheet((dataset.read(index) for dataset, index in chosen), reports[0].dataset.classes)
