"""The data sets: each opens a split as a `Dataset`. A new one is a module beside this and a line in DATASETS."""

from __future__ import annotations

from fcn.config.data_settings import DataConfig
from fcn.datasets import camvid, folder, kitti_road, synthetic
from fcn.datasets.dataset import BACKGROUND_AND_ROAD, Dataset, cached, check_frames, road_labels
from fcn.errors import UserError
from fcn.images import SegmentationClass

SPLITS = ("train", "val", "test")

DATASETS = {"synthetic": synthetic, "camvid": camvid, "kitti_road": kitti_road, "folder": folder}


def open_split(config: DataConfig, split: str) -> Dataset:
    """Opens a split in the configured view. Files are looked for, not yet read.

    Raises:
        UserError: the split has no such name, or the data set's folder is not as it should be.
    """
    if split not in SPLITS:
        raise UserError(f"split {split!r}: is none of {', '.join(SPLITS)}")
    dataset = DATASETS[config.kind].open_split(config, split)
    if config.labels == "road":
        dataset = road_labels(dataset)
    return cached(dataset, config.cache_megabytes)


def open_for_training(config: DataConfig) -> tuple[Dataset, Dataset, str]:
    """Opens the splits train and val and reads every frame once.

    Returns:
        Both splits and the fingerprint of their frames, as `check_frames` gives it.

    Raises:
        UserError: as `open_split`; a frame is not sound, with a line for each.
    """
    training, validation = open_split(config, "train"), open_split(config, "val")
    return training, validation, check_frames([training, validation])


def classes_of(config: DataConfig) -> tuple[SegmentationClass, ...]:
    """The classes of the configured view, without looking at a file."""
    if config.labels == "road":
        return BACKGROUND_AND_ROAD
    return folder.classes(config) if config.kind == "folder" else DATASETS[config.kind].CLASSES
