"""The surrogate that suits the table: the one of several that is best in cross-validation."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Race

OURS: list[str | dict[str, Any]] = [
    "invdesign:ridge",
    "invdesign:gaussian-process",
    "invdesign:mlp",
    {"use": "invdesign:selu-mlp", "learning_rate": [3e-3, 3e-3]},  # a good one; to try many would take most of the time
    "invdesign:gradient-boosting",
]
"""The default candidates, the simplest first."""


class Auto(Race):
    """The best of several surrogates in cross-validation on the user's table.

    All candidates learn from the same folds and are compared by their error on the rows left out. See Kohavi, "A study
    of cross-validation and bootstrap for accuracy estimation and model selection", IJCAI 1995.
    """

    name: ClassVar[str] = "auto"

    candidates: list[str | dict[str, Any]] = Field(
        OURS,
        min_length=1,
        description=Race.model_fields["candidates"].description,
    )
