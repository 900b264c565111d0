"""The same as `fcn infer`."""

from fcn.commands import main

main("infer")
