"""What surrogates promise: a model that learns, follows the seed, and answers the same after it was saved."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.plugin import Race
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.testing.declared import check, does_not_apply, hold
from invdesign_core.testing.small import small_data, trained
from invdesign_core.workflow.others import check_plugins

EPOCHS = 3


def _builds(plugin: Any) -> None:
    if isinstance(plugin, Race):
        does_not_apply("a race builds nothing itself")


@check("surrogate")
def has_a_recipe_that_training_knows(plugin: Any) -> None:
    """The recipe is a mapping of settings of [training]."""
    for rows in (10, 1000):
        recipe = plugin.recipe(rows)
        hold(isinstance(recipe, Mapping), f"the recipe is {recipe!r}, expected a mapping")
        Training().with_recipe(recipe)


@check("surrogate")
def learns_and_follows_the_seed(plugin: Any) -> None:
    """The same seed gives the same finite predictions, for several outputs and a category."""
    _builds(plugin)
    data = small_data(category=True)
    check_plugins([plugin], data, Context())
    before = data.frame.copy()
    first, again = (trained(plugin, data, EPOCHS).surrogate.predict(data.x).mean for _ in range(2))
    hold(first.shape == (len(data.frame), 2), f"predictions have the shape {first.shape}")
    hold(np.isfinite(first).all(), "a prediction is not finite")
    hold(np.allclose(first, again, rtol=1e-4, atol=1e-6), "two trainings with one seed differ: draw from ctx")
    hold(data.frame.equals(before), "it changes the table that it is handed")


@check("surrogate")
def answers_the_same_after_it_was_saved(plugin: Any) -> None:
    """Saved and loaded, it predicts the same, also for one output."""
    _builds(plugin)
    data = small_data(outputs=("sum",))
    surrogate = trained(plugin, data, EPOCHS).surrogate
    with tempfile.TemporaryDirectory() as folder:
        surrogate.save(Path(folder) / "saved")
        loaded = Surrogate.load(Path(folder) / "saved", allow_code=True)
        before, after = (item.predict(data.x).mean for item in (surrogate, loaded))
    hold(np.allclose(before, after, rtol=1e-5, atol=1e-6), f"predictions differ by {np.abs(before - after).max():.3g}")


@check("surrogate")
def has_the_gradient_of_its_answer(plugin: Any) -> None:
    """Where it is differentiable, gradients are those of central differences."""
    _builds(plugin)
    if not plugin.differentiable:
        does_not_apply("it is not differentiable")
    from invdesign_core.surrogate import backend

    data = small_data(outputs=("sum",))
    surrogate = trained(plugin, data, EPOCHS).surrogate
    x = data.x[:8]
    _, gradient = backend.load().value_and_grad(lambda x: surrogate.trace(x).mean[:, 0], surrogate.variables)(x)
    for column in range(x.shape[1]):
        step = np.zeros_like(x)
        step[:, column] = 1e-2
        ahead, here, behind = (surrogate.predict_z(x + sign * step).mean[:, 0] for sign in (1, 0, -1))
        slopes = np.stack([ahead - here, here - behind]) / 1e-2
        size = np.abs(slopes).max() + 1e-2
        smooth = np.abs(slopes[0] - slopes[1]) < 0.2 * size
        far = np.abs(slopes.mean(axis=0) - gradient[:, column])[smooth]
        hold((far < 0.1 * size).all(), f"the gradient is off by up to {far.max(initial=0):.3g}")
