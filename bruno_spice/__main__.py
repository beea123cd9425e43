"""``python -m bruno_spice``: the program `bruno`."""

from bruno_spice.cli import main

main()
