"""The same as `fcn check-data`."""

from fcn.commands import main

main("check-data")
