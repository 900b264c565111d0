"""Downloads a data set, checks it and unpacks it; an interrupted download resumes when the command is repeated."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcn.datasets.download import ARCHIVES, fetch


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", choices=ARCHIVES, help="the data set; data/README.md has its terms of use")
    command.add_argument("--to", type=Path, default=Path("data"), metavar="DIR", help="folder of data sets; data/")
    command.add_argument("--url", metavar="URL", help="another address, or a zip on this machine")


def run(arguments: argparse.Namespace) -> None:
    tree = fetch(ARCHIVES[arguments.name], arguments.to, arguments.url)
    print(f"{tree}: complete; its terms of use are in data/README.md")
