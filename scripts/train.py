"""The same as `fcn train`."""

from fcn.commands import main

main("train")
