"""Constraints on designs: their text, their arrays, points that satisfy them, and why none does."""

from invdesign_core.constraints.linear import AtMost, Constraints, Linear

__all__ = ["AtMost", "Constraints", "Linear"]
