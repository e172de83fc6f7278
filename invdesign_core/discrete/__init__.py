"""Variables of which only some values exist: how they are searched."""

from invdesign_core.discrete.enumeration import best_combinations
from invdesign_core.discrete.neighbours import rounded_and_improved
from invdesign_core.discrete.plan import Plan, Way, infeasibility, plan_search

__all__ = ["Plan", "Way", "best_combinations", "infeasibility", "plan_search", "rounded_and_improved"]
