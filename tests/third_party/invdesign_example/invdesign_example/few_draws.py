"""A tuner: the defaults, and some random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from invdesign_core.plugin import Context, Evaluate, Trial, Tuner
from pydantic import Field

if TYPE_CHECKING:
    import keras_tuner as kt


class FewDraws(Tuner):
    """Try the default hyper-parameters and a few random ones, all at once."""

    name: ClassVar[str] = "few-draws"

    draws: int = Field(4, ge=0, description="Random draws beside the defaults.")

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask for them; the core trains, remembers, and takes the best."""
        trials = [Trial()]
        for i in range(self.draws):
            rng = ctx.rng("few-draws", i)
            trials.append(Trial({hp.name: hp.random_sample(int(rng.integers(2**31))) for hp in space.space}))
        evaluate(trials)
