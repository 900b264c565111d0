"""Reads a whole data set; prints everything that is wrong with it, its sizes, class shares and class weights."""

from __future__ import annotations

import argparse

from fcn.commands.arguments import add_set_argument
from fcn.config.yaml_file import find_config, load_config
from fcn.datasets.check import check_data, crop_remark, summary
from fcn.errors import UserError


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", required=True, metavar="YAML|NAME", help="config of the data: a file or a name")
    add_set_argument(command, example="data.root=DIR")


def run(arguments: argparse.Namespace) -> None:
    config = load_config(find_config(arguments.config), arguments.set)
    reports, problems, remarks = check_data(config.data)
    crop = crop_remark(reports, config.augment, config.progressive)
    print("\n".join([summary(reports), *remarks, *([crop] if crop else [])]))
    if problems:
        raise UserError(*problems)
    print("no problem found")
