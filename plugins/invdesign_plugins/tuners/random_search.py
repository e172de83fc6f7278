"""Random values of the hyper-parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Evaluate, Tuner, search_by_oracle

if TYPE_CHECKING:
    import keras_tuner as kt


class RandomSearch(Tuner):
    """Draw the hyper-parameters' values at random, on keras-tuner's random oracle.

    Where only a few of the hyper-parameters matter, random draws try more values of those than a
    grid of the same size: Bergstra and Bengio, "Random search for hyper-parameter optimization",
    J. Mach. Learn. Res. 13 (2012). No combination is drawn twice.
    """

    name: ClassVar[str] = "random-search"

    max_trials: int = Field(
        10,
        ge=1,
        description="Number of draws; where the space holds fewer combinations, all are tried, and a note says so.",
    )

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask for the draws, as many at once as the core would like."""
        import keras_tuner as kt

        search_by_oracle(
            kt.oracles.RandomSearchOracle,
            space,
            evaluate,
            ctx,
            seed=ctx.seed_for(self.name),
            max_trials=self.max_trials,
        )
