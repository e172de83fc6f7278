"""One value holds an inverse problem, is built in one place, and can be cut into parts."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, lin

from invdesign_core.data.data import TrainingRows
from invdesign_core.registry import Registry
from invdesign_core.search.inverse_problem import Wishes
from invdesign_core.search.proximity import NearTo
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets
from invdesign_core.workflow.inverse import inverse_problem
from invdesign_core.workflow.train import ForwardModel, untested

CORE = ROOT / "invdesign_core"
SPACE = Space((Variable("T", lower=0, upper=5), Variable("x", lower=0, upper=5)))


@pytest.fixture(scope="module")
def problem():
    registry = Registry.discover()
    surrogate = Surrogate.of_model(lin([[1], [2]]), SPACE, ("y",))
    x = np.random.default_rng(0).uniform(0, 5, (20, 2))
    model = ForwardModel(surrogate, untested(surrogate), TrainingRows(x, x @ [[1.0], [2.0]]))
    frame = pd.DataFrame({"T": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0]})
    plugins = registry.create("objective", "mse", {}), registry.create("solver", "least-squares", {})
    wanted = Targets.from_frame(frame, ("y",), surrogate.spread)
    return inverse_problem(model, SPACE, wanted, *plugins, Wishes(2, NearTo(to_data=True)), frame)


def test_a_part_asks_for_its_own_targets_and_shares_what_is_dear(problem):
    part = problem.take(slice(1, 3)).take(np.array([1]))
    assert part.first == 2
    assert part.fixed_inputs[:, 0].tolist() == [3]
    assert part.targets.lower.tolist() == [[6]]
    assert part.whole is problem.targets.kinds
    assert part.goal.lower == pytest.approx(problem.goal.lower[2:])
    assert part.losses is problem.losses
    assert (part.data, part.nearness) == (problem.data, problem.nearness)
    assert [bound[:, 0].tolist() for bound in part.bounds] == [[3], [3]]


def trees(*folders):
    for folder in folders:
        for path in sorted((CORE / folder).rglob("*.py")) if (CORE / folder).is_dir() else [CORE / folder]:
            yield path.relative_to(CORE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_inverse_problems_are_built_in_one_place():
    built = [
        name
        for name, tree in trees("cli", "workflow", "designs", "search")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InverseProblem"
    ]
    assert built == ["workflow/inverse.py"]


def test_no_function_of_the_search_takes_more_than_seven_parameters():
    long = [
        f"{name}: {node.name}"
        for name, tree in trees("search", "workflow/train.py", "workflow/inverse.py")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and len([a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]) > 7
    ]
    assert long == []
