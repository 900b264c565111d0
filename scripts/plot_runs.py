"""The same as `fcn plot-runs`."""

from fcn.commands import main

main("plot-runs")
