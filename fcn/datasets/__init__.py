"""The data sets: each opens a split as a `Dataset`. docs/layout.md says how to add one."""

from __future__ import annotations

from dataclasses import replace

from fcn.config.settings import DataConfig
from fcn.datasets import camvid, folder, kitti_road, synthetic
from fcn.datasets.dataset import (
    BACKGROUND_AND_ROAD,
    Dataset,
    cached,
    open_files,
    road_labels,
)
from fcn.datasets.statistics import FrameStatistics, frame_statistics
from fcn.errors import UserError
from fcn.images import SegmentationClass

SPLITS = ("train", "val", "test")

DATASETS = {"synthetic": synthetic, "camvid": camvid, "kitti_road": kitti_road, "folder": folder}


def open_split(config: DataConfig, split: str, missing: list[str] | None = None) -> Dataset:
    """Opens a split with the configured labels. Files are looked for, not yet read.

    Raises UserError if the split has no such name, or the data set's folder is not as it should be. Where `missing` is
    given, frames without one of their files are left out, and it gets a line for each such file instead.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r}: is not one of {', '.join(SPLITS)}")
    if config.kind == "synthetic":
        dataset = synthetic.open_split(config, split)
    else:
        module = DATASETS[config.kind]
        files, mistakes = module.frame_files(config, split)
        if missing is not None:
            missing += mistakes
        elif mistakes:
            raise UserError(*mistakes)
        classes = classes_of(replace(config, labels="all"))
        dataset = open_files(split, classes, files, config=config, decode_label=module.decode_label)
    if config.labels == "road":
        dataset = road_labels(dataset)
    return cached([dataset], config.cache_megabytes)[0]


def open_for_training(config: DataConfig) -> tuple[Dataset, Dataset, FrameStatistics]:
    """The train and val splits, which share one cache, and their statistics; UserError as `open_split`, `check_frames`.

    Every frame was read, or is unchanged since it was.
    """
    uncached = [open_split(replace(config, cache_megabytes=0), split) for split in ("train", "val")]
    training, validation = cached(uncached, config.cache_megabytes)
    return training, validation, frame_statistics(config, [training, validation])


def classes_of(config: DataConfig) -> tuple[SegmentationClass, ...]:
    """The classes of the configured labels; reads no file."""
    if config.labels == "road":
        return BACKGROUND_AND_ROAD
    return folder.classes(config) if config.kind == "folder" else DATASETS[config.kind].CLASSES
