"""The same as `fcn report`."""

from fcn.commands import main

main("report")
