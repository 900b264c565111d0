"""The same as `fcn import-labels`."""

from fcn.commands import main

main("import-labels")
