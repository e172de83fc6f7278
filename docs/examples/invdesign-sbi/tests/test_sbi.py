from typing import ClassVar

import numpy as np
from invdesign_sbi.likelihood import Likelihood
from invdesign_sbi.posterior import Posterior

from invdesign_core.plugin import Context, Problem
from invdesign_core.testing import ObjectiveTests, SolverTests


class TestLikelihood(ObjectiveTests):
    plugin = Likelihood


class TestPosterior(SolverTests):
    plugin = Posterior
    options: ClassVar[dict[str, int]] = {"moves": 3}


def sampled(loss, columns, groups=1, **more):
    """Return the samples of a density exp(-loss) in the unit cube."""
    asks = np.repeat(np.arange(groups), 1000)
    box = np.zeros((len(asks), columns)), np.ones((len(asks), columns))
    problem = Problem.from_function(loss, *box, groups=asks, ctx=Context(), **more)
    u0 = np.random.default_rng(0).random((len(asks), columns))
    return np.split(Posterior().solve(problem, u0, Context()).u, groups)


def test_a_normal_distribution_has_its_mean_and_deviation_for_each_target():
    def loss(u, target):
        return 0.5 * (((u - 0.5) / np.where(target, 0.1, 0.02)[:, None]) ** 2).sum(axis=1)

    for samples, deviation in zip(sampled(loss, 3, groups=2), (0.02, 0.1), strict=True):
        assert np.allclose(samples.mean(axis=0), 0.5, atol=0.15 * deviation)
        assert np.allclose(samples.std(axis=0), deviation, rtol=0.1)


def test_answers_that_lie_apart_keep_their_shares():
    def loss(u, target):  # two narrow wells; the one on the right is twice as wide
        left, right = (u[:, 0] - 0.2) / 0.01, (u[:, 0] - 0.7) / 0.02
        return -np.logaddexp(-0.5 * left**2, -0.5 * right**2)

    (samples,) = sampled(loss, 2)
    assert abs((samples[:, 0] > 0.5).mean() - 2 / 3) < 0.07
    assert abs(samples[:, 1].mean() - 0.5) < 0.04  # what does not matter stays even
    assert abs(samples[:, 1].std() - 1 / np.sqrt(12)) < 0.03


def test_a_direction_that_the_response_does_not_fix_stays_free():
    (samples,) = sampled(lambda u, target: 0.5 * ((u.sum(axis=1) - 1) / 0.01) ** 2, 2)
    assert abs(samples.sum(axis=1).std() - 0.01) < 0.002
    assert samples[:, 0].min() < 0.05
    assert samples[:, 0].max() > 0.95
