import numpy as np
from invdesign_cma.cma import CmaEs

from invdesign_core.plugin import Context, Problem
from invdesign_core.testing import SolverTests


class TestCmaEs(SolverTests):
    plugin = CmaEs


def test_the_bottom_of_a_bent_valley_is_found_for_each_target() -> None:
    groups = np.repeat([0, 1], 16)

    def valley(u, target):  # Rosenbrock's, with its bottom at 0.4 or 0.7
        x = u / np.where(target, 0.7, 0.4)[:, None]
        return (1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2

    problem = Problem.from_function(valley, np.zeros((32, 2)), np.ones((32, 2)), groups)
    result = CmaEs().solve(problem, np.random.default_rng(0).random((32, 2)), Context())
    for target, bottom in enumerate((0.4, 0.7)):
        reached = result.u[groups == target]
        assert np.abs(reached - bottom).max(axis=1).min() < 1e-3
    assert problem.evaluations.sum() < 2 * 2000
