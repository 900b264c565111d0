"""Reads a whole data set, tells everything that is wrong with it and what it is made of."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.config.yaml_file import load_config
from fcn.datasets.check import check_data, sheet, summary
from fcn.errors import UserError, exit_with
from fcn.images import write_image


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--config", type=Path, required=True, metavar="YAML", help="the run that the data is for")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value of one setting, such as data.root=DIR",
    )
    command.add_argument(
        "--sheet",
        type=Path,
        default=Path("check_data.png"),
        metavar="FILE",
        help="picture of some frames and their labels; check_data.png",
    )
    return command


def main() -> None:
    """Runs the command."""
    arguments = parser().parse_args()
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


if __name__ == "__main__":
    exit_with(main)
