"""The data sets: each opens a split as a `Dataset`.

To add one, write a module in this folder with

    CLASSES                             its classes, a tuple of SegmentationClass
    frame_files(config, split)          the files of the split's frames; raises UserError (`require_files` helps)
    decode_label(config, path)          a label map as uint8 (H, W) of class indices and IGNORE; raises UserError

and add its line to DATASETS below, its name to `kind` in `fcn/config/settings.py`, a YAML file in `configs/` and a
test. Two modules differ: `folder` has its classes from the config, `synthetic` generates frames without files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fcn.config.settings import DataConfig
from fcn.datasets import camvid, folder, kitti_road, synthetic
from fcn.datasets.dataset import (
    BACKGROUND_AND_ROAD,
    Dataset,
    FrameFiles,
    cached,
    check_frames,
    open_files,
    road_labels,
)
from fcn.errors import UserError
from fcn.images import SegmentationClass

SPLITS = ("train", "val", "test")

DATASETS = {"synthetic": synthetic, "camvid": camvid, "kitti_road": kitti_road, "folder": folder}


def open_split(config: DataConfig, split: str, files: Sequence[FrameFiles] | None = None) -> Dataset:
    """Opens a split with the configured labels. Files are looked for, not yet read.

    Args:
        config: of the data set.
        split: one of SPLITS.
        files: the frames to open; None for all frames of the split.

    Raises:
        UserError: the split has no such name, or the data set's folder is not as it should be.
        IncompleteSplitError: files of frames are missing or do not match.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r}: is not one of {', '.join(SPLITS)}")
    if config.kind == "synthetic":
        dataset = synthetic.open_split(config, split)
    else:
        module = DATASETS[config.kind]
        if files is None:
            files = module.frame_files(config, split)
        classes = classes_of(replace(config, labels="all"))
        dataset = open_files(config, split, classes, files, module.decode_label)
    if config.labels == "road":
        dataset = road_labels(dataset)
    return cached(dataset, config.cache_megabytes)


def open_for_training(config: DataConfig) -> tuple[Dataset, Dataset, str]:
    """Opens the splits train and val and reads every frame once.

    Returns:
        Both splits and the fingerprint of their frames, as `check_frames` gives it.

    Raises:
        UserError: as `open_split`; or a line for each invalid frame.
    """
    training = open_split(config, "train")
    validation = open_split(config, "val")
    return training, validation, check_frames([training, validation])


def classes_of(config: DataConfig) -> tuple[SegmentationClass, ...]:
    """The classes of the configured labels; reads no file."""
    if config.labels == "road":
        return BACKGROUND_AND_ROAD
    return folder.classes(config) if config.kind == "folder" else DATASETS[config.kind].CLASSES
