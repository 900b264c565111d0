"""Reads a whole data set, tells everything that is wrong with it and what it is made of."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.commands.arguments import add_set_argument
from fcn.config.yaml_file import load_config
from fcn.datasets.check import check_data, sheet, summary
from fcn.errors import UserError
from fcn.images import write_image


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    command.add_argument("--config", type=Path, required=True, metavar="YAML", help="the run that the data is for")
    add_set_argument(command, example="data.root=DIR")
    command.add_argument(
        "--sheet",
        type=Path,
        default=Path("check_data.png"),
        metavar="FILE",
        help="picture of some frames and their labels; check_data.png",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if not arguments.sheet.parent.is_dir():
        raise UserError(f"{arguments.sheet.parent}: no such folder; make it or name another --sheet")
    reports, problems, remarks = check_data(load_config(arguments.config, arguments.set).data)
    print("\n".join([summary(reports), *remarks]))
    if (picture := sheet(reports)) is not None:
        write_image(arguments.sheet, picture)
        print(f"image and label of some frames of each split: {arguments.sheet}")
    if problems:
        raise UserError(*problems)
    print("no problem found")
