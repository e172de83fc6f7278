"""Answers: the distinct designs among what the starts reached, and what is worth knowing of each."""

from invdesign_core.designs.around import look_around
from invdesign_core.designs.measured import add_measured
from invdesign_core.designs.table import Answers, answers
from invdesign_core.nearness import Nearness

__all__ = ["Answers", "Nearness", "add_measured", "answers", "look_around"]
