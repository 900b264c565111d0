"""Turns polygons and masks of labeling tools into a folder of images and masks, with a config to train from.

The input is COCO JSON (CVAT, Label Studio, Roboflow ...) or LabelMe JSON: a file, a folder of LabelMe's files, or a
folder with train, valid and test. Pixels in no region are the class background; crowd regions of COCO are ignored.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.datasets.import_labels import import_labels
from fcn.errors import print_error


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("input", type=Path, metavar="INPUT", help="a JSON file or a folder")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder, such as data/mine")
    images = "folder of the images; next to the labels, or in a folder images there or beside"
    command.add_argument("--images", type=Path, metavar="DIR", help=images)


def run(arguments: argparse.Namespace) -> None:
    counts, skipped = import_labels(arguments.input, arguments.out, arguments.images)
    for line in skipped:
        print_error(f"left out: {line}")
    splits = ", ".join(f"{split} {count}" if split else str(count) for split, count in counts.items())
    print(f"images: {splits}  config: {arguments.out / 'config.yaml'}")
