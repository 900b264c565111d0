"""The same as `fcn explain-layers`."""

from fcn.commands import main

main("explain-layers")
