"""The same as `fcn compare`."""

from fcn.commands import main

main("compare")
