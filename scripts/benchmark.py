"""The same as `fcn benchmark`."""

from fcn.commands import main

main("benchmark")
