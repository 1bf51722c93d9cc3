"""`python -m inoc` is the command `inoc`."""

from inoc.cli import main

main()
