"""Downloads a data set, checks it and unpacks it into a folder of data sets; a call that was broken off goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.datasets.download import ARCHIVES, fetch
from fcn.errors import exit_with


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("name", choices=ARCHIVES, help="the data set; data/README.md says who may use it for what")
    command.add_argument("--to", type=Path, default=Path("data"), metavar="DIR", help="folder of data sets; data/")
    command.add_argument("--url", metavar="URL", help="another address, or the zip on this machine")
    return command


def main() -> None:
    """Runs the command."""
    arguments = parser().parse_args()
    tree = fetch(ARCHIVES[arguments.name], arguments.to, arguments.url)
    print(f"{tree}: complete; see data/README.md for its terms")


if __name__ == "__main__":
    exit_with(main)
