"""Ends the program where it is imported."""

raise SystemExit("this plugin needs a licence")
