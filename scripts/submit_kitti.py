"""The same as `fcn submit-kitti`."""

from fcn.commands import main

main("submit-kitti")
