"""Constraints on designs: their text, their arrays, points that satisfy them, and why none does."""

from invdesign_core.constraints.culprits import check_feasible, culprits
from invdesign_core.constraints.lattice import Lattice
from invdesign_core.constraints.linear import AtMost, Constraints, Linear
from invdesign_core.constraints.parsing import parse_constraints
from invdesign_core.constraints.projection import nearest
from invdesign_core.constraints.repair import nearest_integer
from invdesign_core.constraints.sampling import sample
from invdesign_core.constraints.settling import broken, feasible, settle
from invdesign_core.constraints.supports import supports

__all__ = [
    "AtMost",
    "Constraints",
    "Lattice",
    "Linear",
    "broken",
    "check_feasible",
    "culprits",
    "feasible",
    "nearest",
    "nearest_integer",
    "parse_constraints",
    "sample",
    "settle",
    "supports",
]
