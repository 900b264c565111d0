"""`python -m fcn`."""

from fcn.commands import main

main()
