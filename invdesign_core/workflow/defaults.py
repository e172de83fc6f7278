"""The plugins that a run takes where nothing else is asked for; the command line's help needs nothing else."""

from __future__ import annotations

AUTO = "auto"
"""The name that lets the core choose the solver."""
DEFAULTS = {
    "dataset": "binary-decimal",
    "surrogate": "selu-mlp",
    "tuner": "grid-search",
    "objective": "mse",
    "solver": AUTO,
}
"""The plugin of each kind, by the name of its section in the experiment file."""
