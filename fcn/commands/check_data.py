"""Reads a whole data set; prints everything that is wrong with it, its sizes, class shares and class weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.arguments import add_set_argument
from fcn.config.yaml_file import find_config, load_config
from fcn.datasets.check import check_data, crop_remark, sheet, summary
from fcn.errors import UserError
from fcn.images import ENDINGS, write_image


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, metavar="YAML|NAME", help="config of the data: a file or a name")
    add_set_argument(command, example="data.root=DIR")
    command.add_argument("--sheet", type=Path, metavar="FILE", help="also write a PNG of some frames with their labels")


def run(arguments: argparse.Namespace) -> None:
    if arguments.sheet and not arguments.sheet.parent.is_dir():
        raise UserError(f"{arguments.sheet.parent}: no such folder; create it or name another --sheet")
    if arguments.sheet and arguments.sheet.suffix.lower() not in ENDINGS:
        raise UserError(f"{arguments.sheet}: is not a picture; name a file NAME.png")
    config = load_config(find_config(arguments.config), arguments.set)
    reports, problems, remarks = check_data(config.data)
    crop = crop_remark(reports, config.augment, config.progressive)
    print("\n".join([summary(reports), *remarks, *([crop] if crop else [])]))
    picture = sheet(reports) if arguments.sheet else None
    if picture is not None:
        write_image(arguments.sheet, picture)
        print(f"some frames of each split and their labels: {arguments.sheet}")
    if problems:
        raise UserError(*problems)
    print("no problem found")
