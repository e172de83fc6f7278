"""True models around another: one that answers with some inputs too, and one that answers with means over scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.expressions import Expression
from invdesign_core.space.space import Space
from invdesign_core.truth.simulated import Simulated, Truth

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.context import Context


@dataclass(frozen=True)
class Around:
    """What stands around another true model."""

    base: Truth

    @property
    def words(self) -> str:
        """What to call it, in messages."""
        return self.base.words

    @property
    def identity(self) -> str:
        """A digest of what the answers for a row depend on."""
        return self.base.identity

    @property
    def told(self) -> bool:
        """Whether it is said that it works."""
        return self.base.told


@dataclass(frozen=True)
class WithInputs(Around):
    """A true model that answers with formulas of the inputs too, by name, as outputs that are never off."""

    space: Space
    formulas: Mapping[str, Expression]

    def evaluate(self, designs: pd.DataFrame, outputs: Sequence[str], ctx: Context) -> Simulated:
        """Return the outputs of n designs."""
        said = self.base.evaluate(designs, [name for name in outputs if name not in self.formulas], ctx)
        others, x = iter(said.y.T), self.space.encode(designs)
        sides = [self.formulas[name].value(x) if name in self.formulas else next(others) for name in outputs]
        return replace(said, y=np.column_stack(sides))


@dataclass(frozen=True)
class MeanTruth(Around):
    """A true model that answers with its mean over scenarios; where it fails in one, there is no mean."""

    scenarios: Scenarios

    def evaluate(self, designs: pd.DataFrame, outputs: Sequence[str], ctx: Context) -> Simulated:
        """Return the outputs of n designs."""
        s, n, drawn = len(self.scenarios), len(designs), self.scenarios.frame
        asked = designs.loc[designs.index.repeat(s)].reset_index(drop=True)
        asked = asked.assign(**{name: np.tile(drawn[name].to_numpy(), n) for name in self.scenarios.said})
        said = self.base.evaluate(asked, outputs, ctx)
        y = said.y.reshape(n, s, -1).mean(axis=1)
        failed = tuple(_together(said.failed[i * s : (i + 1) * s]) for i in range(n))
        missing = int(np.isnan(y).any(axis=1).sum())
        return replace(said, y=y, failed=failed, tally=replace(said.tally, designs=n, failed=missing))


def _together(reasons: Sequence[str]) -> str:
    """Say why there is no mean."""
    given = [why for why in reasons if why]
    return f"in {len(given)} of {len(reasons)} scenarios: {given[0]}" if given else ""
