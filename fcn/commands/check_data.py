"""Reads a whole data set; prints everything that is wrong with it, its sizes, class shares and class weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.arguments import add_set_argument
from fcn.config.yaml_file import find_config, load_config
from fcn.datasets.check import check_data, crop_remark, sheet, summary
from fcn.errors import UserError
from fcn.images import write_image


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, metavar="YAML|NAME", help="config of the data: a file or a name")
    add_set_argument(command, example="data.root=DIR")
    command.add_argument("--sheet", type=Path, metavar="FILE", help="also write a PNG of some frames with their labels")


def run(arguments: argparse.Namespace) -> None:
    out = arguments.sheet
    if out and (out.suffix != ".png" or not out.parent.is_dir()):
        raise UserError(f"--sheet {out}: cannot be written; name a file NAME.png in an existing folder")
    config = load_config(find_config(arguments.config), arguments.set)
    reports, problems, remarks = check_data(config.data)
    crop = crop_remark(reports, config.augment, config.progressive)
    print("\n".join([summary(reports), *remarks, *([crop] if crop else [])]))
    if out and any(report.valid for report in reports):
        write_image(out, sheet(reports))
        print(f"some frames of each split and their labels: {out}")
    if problems:
        raise UserError(*problems)
    print("no problem found")
