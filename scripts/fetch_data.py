"""The same as `fcn fetch-data`."""

from fcn.commands import main

main("fetch-data")
