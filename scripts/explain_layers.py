"""Prints what the layers of a fully convolutional network do, on small numbers and with their rules."""

from __future__ import annotations

import argparse

from fcn.errors import exit_with


def main() -> None:
    """Prints the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()

    from fcn.explain.examples import page  # TensorFlow is loaded after the arguments are known to be good

    print(page(), end="")


if __name__ == "__main__":
    exit_with(main)
