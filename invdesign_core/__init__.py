"""Inverse design: find the inputs that give a wanted output.

The names below are loaded on first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import own_version, stopped_by

if TYPE_CHECKING:
    __version__: str

    from invdesign_core.workflow.estimator import InverseDesign as InverseDesign
    from invdesign_core.workflow.experiment import Experiment as Experiment
    from invdesign_core.workflow.run import run_experiment as run_experiment

_LAZY = {
    "Experiment": "invdesign_core.workflow.experiment",
    "InverseDesign": "invdesign_core.workflow.estimator",
    "run_experiment": "invdesign_core.workflow.run",
}

__all__ = ["Experiment", "InverseDesign", "__version__", "run_experiment"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return own_version()
    if name in _LAZY:
        try:
            return getattr(import_module(_LAZY[name]), name)
        except Exception as error:
            damaged = stopped_by(error)
            if damaged is None:
                raise
            raise damaged from error
    raise AttributeError(f"module 'invdesign_core' has no attribute {name!r}")
