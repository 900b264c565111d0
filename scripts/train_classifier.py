"""The same as `fcn train-classifier`."""

from fcn.commands import main

main("train-classifier")
