"""The command line: `invdesign`."""

from invdesign_core.cli.main import main

__all__ = ["main"]
