"""Training on: members of a surrogate learn further rows from where they are, so that nothing is thrown away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows
from invdesign_core.errors import TrainingError, plugin_errors
from invdesign_core.surrogate.members import cross_fitted
from invdesign_core.surrogate.protocols import Builder
from invdesign_core.surrogate.scaling import Scaling, unwrapped
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trainer import Trainer

SHARE = 0.25
"""The part of the epochs of a whole training in which networks learn further rows."""
RATE = 0.3
"""The part of the learning rate that they begin with."""
FEW = 200
"""Rows up to which hyper-parameters of a model in closed form are looked for anew: new rows may change them much."""


@dataclass(frozen=True)
class Trained:
    """Members of a surrogate that one builder has built, with the same hyper-parameters."""

    builder: Builder
    values: Mapping[str, Any]
    members: Sequence[Any]

    def trained_on(self, data: Data, rows: Rows, settings: Training, ctx: Context) -> tuple[list[Any], Scaling]:
        """Return the members once they have learnt all rows, and the units that they work in.

        Networks go on from their weights, in their units, at a lower rate and for fewer epochs. What is fitted in one
        go is fitted again, from the hyper-parameters of before where there are many rows.

        Raises
        ------
        TrainingError
            If a member can't go on from where it is.
        """
        import keras_tuner as kt

        before = [unwrapped(member) for member in self.members] if self.builder.differentiable else []
        known = [item for item in before if item is not None]
        keeps = self.builder.differentiable and not self.builder.closed_form and settings.scale
        if keeps and len(known) < len(self.members):
            raise TrainingError(f"{self.builder.label}: its networks can't be trained on, as they were saved otherwise")
        trainer = Trainer(self.builder, data, rows, settings, ctx, known[0][1] if keeps else None)
        space = kt.HyperParameters()
        trainer.build(space, 0, "train-on")  # to know its hyper-parameters
        hp = space.copy()
        hp.values.update(self.values)
        count = 1 if trainer.in_one_go else len(self.members)
        models = [trainer.build(hp.copy(), number, "train-on") for number in range(count)]
        epochs = settings.epochs
        if not trainer.in_one_go:
            epochs = max(1, round(SHARE * epochs))
            for model, member in zip(models, self.members, strict=True):
                self._go_on(model, member)
        elif known and hasattr(models[0], "start_from") and len(rows.train) > FEW:
            with plugin_errors(self.builder.label):
                models[0].start_from(known[0][0])
        parts = [(rows.train, rows.validation)]
        parts += (cross_fitted(data, rows, count - 1, ctx) or parts * (count - 1)) if count > 1 else []
        outcomes = trainer.train(models, range(count), "train-on", "train", [epochs] * count, parts=parts)
        for outcome in outcomes:
            if not outcome.ok:
                raise TrainingError(f"{self.builder.label}: {outcome.message or 'its loss is not finite'}")
        return [trainer.member(model) for model in models], trainer.scaling

    def _go_on(self, model: Any, member: Any) -> None:
        """Give a new network the weights of a trained one, and a lower learning rate."""
        try:
            model.set_weights(member.get_weights())
        except ValueError as error:
            first = str(error).partition("\n")[0]
            raise TrainingError(f"{self.builder.label}: it builds another network than before: {first}") from None
        if isinstance(rate := getattr(model.optimizer, "_learning_rate", None), object) and hasattr(rate, "assign"):
            model.optimizer.learning_rate = RATE * float(np.asarray(model.optimizer.learning_rate))
