"""The plugins that a run takes where nothing else is asked for; the command line's help needs nothing else."""

from __future__ import annotations

AUTO = "auto"
"""The name that lets the core choose: a solver by what it can, or a surrogate by a race."""
CLASSIC = "selu-mlp"
"""The surrogate of the built-in example, and of a section with options but no name.

Such options were this one's before there was a race, and a file keeps its meaning.
"""
DEFAULTS = {
    "dataset": "binary-decimal",
    "surrogate": AUTO,
    "tuner": "grid-search",
    "objective": "mse",
    "solver": AUTO,
}
"""The plugin of each kind, by the name of its section in the experiment file."""
