"""`python -m kgpud` is the `kgpud` command."""

from kgpud.cli import main

main()
