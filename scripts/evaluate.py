"""The same as `fcn evaluate`."""

from fcn.commands import main

main("evaluate")
