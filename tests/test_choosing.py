"""Which solver takes a problem: `auto` goes by what solvers declare, and nothing is asked of one that can't."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.errors import PluginError
from invdesign_core.plugin import Solver, SurrogateBuilder
from invdesign_core.registry import Registry
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.solver_choice import Requirements, check_solver, choose_solver
from invdesign_core.workflow.validate import check

REGISTRY = Registry.discover()
MSE, MAE = (REGISTRY.create("objective", name, {}) for name in ("mse", "mae"))
INSTALLED = REGISTRY.labels("solver")


@pytest.mark.parametrize(
    ("demand", "chosen"),
    [
        (Requirements(MSE, "net"), "least-squares"),
        (Requirements(MAE, "net"), "lbfgsb"),
        (Requirements(MSE, "net", linear=True), "least-squares"),
        (Requirements(MAE, "net", linear=True), "slsqp"),
        (Requirements(MSE, "net", extremum=True), "lbfgsb"),
        (Requirements(MSE, "net", linear=True, extremum=True), "slsqp"),
        (Requirements(MSE, "forest", differentiable=False), "differential-evolution"),
        (Requirements(MAE, "forest", differentiable=False, linear=True), "differential-evolution"),
    ],
    ids=str,
)
def test_auto_takes_the_first_that_can(demand, chosen):
    solver = choose_solver(INSTALLED, demand, {"starts": 7})
    assert (solver.name, solver.starts) == (chosen, 7)


def test_for_an_extremum_a_solver_of_squares_is_taken_last_but_taken():
    only = {"least-squares": INSTALLED["least-squares"]}
    assert choose_solver(only, Requirements(MSE, "net", extremum=True), {}).name == "least-squares"
    check_solver(REGISTRY.create("solver", "least-squares", {}), Requirements(MSE, "net", extremum=True))


def test_a_solver_that_does_not_handle_linear_constraints_is_refused_with_those_that_do():
    lbfgsb = REGISTRY.create("solver", "lbfgsb", {})
    with pytest.raises(PluginError, match="'lbfgsb' does not handle linear constraints") as error:
        check_solver(lbfgsb, Requirements(MSE, "net", linear=True), INSTALLED)
    can = str(error.value.hint).partition("solvers that can: ")[2].split(", ")
    assert {"least-squares", "slsqp", "differential-evolution"} <= set(can)
    assert not {"lbfgsb", "dataset-search"} & set(can)


def test_what_no_installed_solver_can_take_is_refused_with_what_it_would_need():
    few = {name: INSTALLED[name] for name in ("lbfgsb", "least-squares", "dataset-search")}
    with pytest.raises(PluginError) as error:
        choose_solver(few, Requirements(MAE, "forest", differentiable=False, linear=True), {})
    said = "one would have to handle linear constraints and do without gradients and do without residuals"
    assert said in error.value.message
    assert "'forest'" in error.value.message
    assert "'mae'" in error.value.message
    with pytest.raises(PluginError) as error:
        check_solver(
            REGISTRY.create("solver", "lbfgsb", {}), Requirements(MSE, "forest", differentiable=False, linear=True), few
        )
    assert "no installed solver can; one would have to handle linear constraints" in str(error.value.hint)


def test_a_third_party_solver_is_chosen_by_what_it_declares():
    class Own(Solver):
        """Handles linear constraints, before all others."""

        name: ClassVar[str] = "own"
        needs: ClassVar[frozenset[str]] = frozenset({"residuals"})
        handles: ClassVar[frozenset[str]] = frozenset({"linear"})
        rank: ClassVar[int | None] = 1

    installed = {**INSTALLED, "own": Own}
    assert choose_solver(installed, Requirements(MSE, "net", linear=True), {}).name == "own"
    assert choose_solver(installed, Requirements(MSE, "net", linear=True, extremum=True), {}).name == "slsqp"
    assert choose_solver(installed, Requirements(MAE, "net", linear=True), {}).name == "slsqp"


@pytest.mark.parametrize(
    ("own", "more", "chosen"),
    [
        ({"decimal": 2}, [], "least-squares"),
        ({"decimal": 2}, ["decimal=min"], "lbfgsb"),
        ({"decimal": "max"}, [], "lbfgsb"),
        ({"decimal": {"goal": "Maximize"}}, [], "lbfgsb"),
        ({"decimal": "minimise weight 2"}, [], "lbfgsb"),
        ({"decimal": "max"}, ["decimal=2"], "least-squares"),
    ],
)
def test_auto_chooses_for_the_targets_of_the_experiment_with_those_of_the_command_line_over_them(own, more, chosen):
    assert check(Experiment(targets=own), REGISTRY, Context(), more).stages.solver.name == chosen


def test_auto_chooses_for_the_targets_of_a_solve(saved_run):
    prepared = prepare(saved_run, registry=REGISTRY)
    for targets, chosen in [(["decimal=2"], "least-squares"), (["decimal=max"], "lbfgsb")]:
        assert prepared.problem(parse_targets(targets, ("decimal",))).solver.name == chosen
    table = pd.DataFrame({"decimal": ["1", "max weight 2"]})
    assert prepared.problem(table).solver.name == "lbfgsb"
    assert prepared.problem(table[:1]).solver.name == "least-squares"


class Forest(SurrogateBuilder):
    """Extremely randomised trees."""

    name: ClassVar[str] = "forest"
    differentiable: ClassVar[bool] = False

    def build(self, hp, data):
        from sklearn.ensemble import ExtraTreesRegressor

        return ExtraTreesRegressor(20, random_state=0)


def test_a_surrogate_without_gradients_is_inverted_without_a_word_about_solvers():
    X = np.random.default_rng(0).random((300, 2))
    model = InverseDesign(surrogate=Forest()).fit(X, X[:, 0] + X[:, 1] ** 2)
    answers = model.invert(1.3)
    assert answers.met
    assert answers.counts()["hit"] > 32
