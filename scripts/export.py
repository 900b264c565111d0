"""The same as `fcn export`."""

from fcn.commands import main

main("export")
