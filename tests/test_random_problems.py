"""Random boxes, kinds of variables and constraints for every installed solver: no design is ever infeasible."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cache

import numpy as np
import pytest
from conftest import invert

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import ConfigError, PluginError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.solver_choice import Requirements, check_solver

REGISTRY = Registry.discover()
SOLVERS = sorted(REGISTRY.labels("solver"))
KINDS = ["continuous", "ranges", "log", "integer", "step", "levels", "binary", "labels", "categorical"]
OUTPUTS = ("y1", "y2")
PROBLEMS = [3, pytest.param(14, marks=pytest.mark.long)]
"""Random problems for each solver."""
HARD = (24, 32, 34, 39, 42, 67, 86)
"""Seeds of problems in which boxes, ranges or rows of the data hold no feasible design; they come first."""


@dataclass
class Case:
    """A random problem in the words of `[design]`, and what its check has to know."""

    variables: list[Variable] = field(default_factory=list)
    design: dict = field(default_factory=dict)
    allowed: dict = field(default_factory=dict)
    """The values that exist, by variable, or its ranges."""
    sums: list = field(default_factory=list)
    """Pairs of terms (a number and a name each), a sign and a right side."""
    few: list = field(default_factory=list)
    """Pairs of a count and names."""
    numbers: dict = field(default_factory=dict)
    """What the levels of a binary variable count as."""


def grid(low, high, step):
    """The multiples of a decimal step from low to high."""
    low, high, step = (Decimal(repr(v)) for v in (low, high, step))
    first, last = (low / step).to_integral_value(ROUND_CEILING), (high / step).to_integral_value(ROUND_FLOOR)
    return [float(k * step) for k in range(int(first), int(last) + 1)]


def decimals(rng, low, high, digits=2):
    return round(float(rng.uniform(low, high)), digits)


def add_variable(rng, case, name, kind, zero):
    """Add a variable of a kind; `zero` lets its values begin at 0."""
    bounds, levels, step = ({} for _ in range(3))
    low = 0.0 if zero else decimals(rng, -5, 5)
    high = round(low + decimals(rng, 0.5, 10), 2)
    plain = Variable(name, lower=-1e3, upper=1e3)
    if kind == "continuous":
        bounds[name] = (low, high)
        case.allowed[name] = [(low, high)]
    elif kind == "ranges":
        cut = np.round(np.sort(rng.uniform(low, high, 2)), 2)
        case.allowed[name] = [(low, float(cut[0])), (float(cut[1]), high)]
        bounds[name] = case.allowed[name]
    elif kind == "log":
        high = float(f"{10 ** rng.uniform(-1, 3):.3g}")
        low = float(f"{high * 10 ** rng.uniform(-4, -0.5):.3g}")
        bounds[name] = (low, high)
        case.design.setdefault("log", []).append(name)
        case.allowed[name] = [(low, high)]
    elif kind == "integer":
        low, high = int(np.floor(low)), int(np.floor(low)) + int(rng.integers(1, 12))
        plain = Variable(name, "integer", lower=low, upper=high)
        case.allowed[name] = list(range(low, high + 1))
    elif kind == "step":
        step[name] = float(rng.choice([0.1, 0.05, 0.3, 2.5]))
        high = round(low + step[name] * int(rng.integers(1, 40)), 2)
        bounds[name] = (low, high)
        case.allowed[name] = grid(low, high, step[name])
    elif kind == "levels":
        levels[name] = sorted({low, *(decimals(rng, low, high) for _ in range(int(rng.integers(1, 5))))})
        case.allowed[name] = levels[name]
    elif kind in ("binary", "labels"):
        case.allowed[name] = [False, True] if kind == "binary" else ["no", "yes"]
        plain = Variable(name, "binary", levels=tuple(case.allowed[name]))
    else:
        labels = [f"{name}{letter}" for letter in "ABCD"[: int(rng.integers(2, 5))]]
        plain = Variable(name, "categorical", levels=tuple(labels))
        case.allowed[name] = labels
        if rng.random() < 0.3:
            levels[name] = case.allowed[name] = labels[1:]
    case.variables.append(plain)
    for key, value in (("bounds", bounds), ("levels", levels), ("step", step)):
        case.design.setdefault(key, {}).update(value)


def some(rng, allowed):
    """Draw one of the values that exist."""
    if isinstance(allowed[0], tuple):
        low, high = allowed[int(rng.integers(len(allowed)))]
        return float(rng.choice([low, high, rng.uniform(low, high)], p=[0.1, 0.1, 0.8]))
    return allowed[int(rng.integers(len(allowed)))]


def add_constraints(rng, case, design):
    """Add constraints that a design satisfies."""
    kinds = dict(zip(case.allowed, case.kinds, strict=True))
    eligible = [n for n, kind in kinds.items() if kind not in ("log", "labels", "categorical")]
    texts = []
    if len(eligible) >= 2:
        for _ in range(int(rng.integers(0, 4))):
            names = list(rng.permutation(eligible))[: int(rng.integers(2, len(eligible) + 1))]
            if rng.random() < 0.4:
                terms = [(1.0, n) for n in names]
            else:
                terms = [(decimals(rng, 0.1, 3) * float(rng.choice([-1, 1])), n) for n in names]
            total = added(terms, design)
            sign = rng.choice(["<=", ">=", "="], p=[0.4, 0.3, 0.3])
            side = (
                total if sign == "=" else total + (1 if sign == "<=" else -1) * decimals(rng, 0, 1.5) * rng.integers(2)
            )
            case.sums.append((terms, str(sign), float(side)))
            left = " + ".join(f"{factor!r}*{n}" for factor, n in terms).replace("+ -", "- ")
            texts.append(f"{left} {sign} {float(side)!r}")
    above = [n for n in eligible if min_of(case.allowed[n]) == 0]
    if len(above) >= 2 and rng.random() < 0.5:
        names = list(rng.permutation(above))[: int(rng.integers(2, len(above) + 1))]
        count = max(sum(design[n] > 0 for n in names), 1)
        case.few.append((count, names))
        texts.append(f"at most {count} of {', '.join(names)} above zero")
    case.design["constraints"] = texts


def min_of(allowed):
    return min(v[0] if isinstance(v, tuple) else v for v in allowed)


def added(terms, design):
    """Add up the terms from left to right in double precision."""
    total = terms[0][0] * design[terms[0][1]]
    for factor, name in terms[1:]:
        total = total + factor * design[name]
    return total


def random_case(rng):
    case = Case()
    case.kinds = [str(k) for k in rng.choice(KINDS, size=int(rng.integers(2, 6)))]
    zero = rng.random() < 0.5
    for i, kind in enumerate(case.kinds):
        add_variable(rng, case, f"v{i}", kind, zero)
    present = {name: some(rng, allowed) for name, allowed in case.allowed.items()}
    if zero and rng.random() < 0.5:
        for name in present:
            if min_of(case.allowed[name]) == 0 and rng.random() < 0.6:
                present[name] = False if case.allowed[name] == [False, True] else type(present[name])(0)
    add_constraints(rng, case, present)
    case.present = present
    return case


def can_give_way(case, design, terms, sign):
    """Whether an inequality that rounding breaks has any room: the discrete variables as they are, all else kept."""
    from scipy.optimize import linprog

    loose = {n: next(r for r in case.allowed[n] if r[0] <= design[n] <= r[1])
             for n in design if isinstance(case.allowed[n][0], tuple)}  # fmt: skip
    for _, names in case.few:
        loose = {n: bounds for n, bounds in loose.items() if n not in names or design[n] > 0}
    if not loose:
        return False

    def row(terms):
        factors = dict.fromkeys(loose, 0.0)
        for factor, name in terms:
            if name in loose:
                factors[name] += factor
        return np.array(list(factors.values()))

    a, b, a_eq, b_eq = [], [], [], []
    for others, way, side in case.sums:
        rest = side - sum(f * design[n] for f, n in others if n not in loose)
        factor = -1.0 if way == ">=" else 1.0
        (a_eq if way == "=" else a).append(factor * row(others))
        (b_eq if way == "=" else b).append(factor * rest)
    slack = 1e-7  # the point itself satisfies all up to rounding
    a = np.array([*a, *a_eq, *(-r for r in a_eq)])
    b = np.array([*b, *b_eq, *(-v for v in b_eq)]) + slack * 1e-3
    c = row(terms) * (-1.0 if sign == ">=" else 1.0)
    found = linprog(c, A_ub=a, b_ub=b, bounds=list(loose.values()))
    now = c @ np.array([design[n] for n in loose])
    return found.status == 0 and found.fun < now - slack


def infeasible(case, design):
    """Say what is wrong with one written design; nothing, where it is feasible."""
    wrong = []
    for name, allowed in case.allowed.items():
        value = design[name]
        if isinstance(allowed[0], tuple):
            fine = any(low <= value <= high for low, high in allowed)
        else:
            fine = value in allowed and isinstance(value, type(allowed[0]))
        if not fine:
            wrong.append(f"{name} = {value!r} does not exist: {allowed[:9]}")
    for terms, sign, side in case.sums:
        total = added(terms, design)
        over = {"=": abs(total - side), "<=": total - side, ">=": side - total}[sign]
        largest = max(abs(factor) * max(np.ravel(case.allowed[name])) for factor, name in terms)
        if not over <= 1e-9 * max(largest, 1.0) or (
            sign != "=" and over > 0 and can_give_way(case, design, terms, sign)
        ):
            wrong.append(f"{terms} {sign} {side!r} is broken by {over!r}")
    for count, names in case.few:
        if sum(design[n] > 0 for n in names) > count:
            wrong.append(f"at most {count} of {names}: {[design[n] for n in names]}")
    return wrong


def wrong_guess(case, guess):
    """Say what is wrong with one start, whose discrete variables may lie between their values."""
    wrong = []
    for name, allowed in case.allowed.items():
        if not isinstance(allowed[0], str):
            ends = [end for item in allowed for end in (item if isinstance(item, tuple) else (item,))]
            if not min(ends) - 1e-9 <= guess[name] <= max(ends) + 1e-9:
                wrong.append(f"{name} begins at {guess[name]!r}")
    for terms, sign, side in case.sums:
        over = added(terms, guess) - side
        if not {"=": abs(over), "<=": over, ">=": -over}[sign] <= 1e-7:
            wrong.append(f"{terms} {sign} {side!r} is broken by {over!r}")
    return wrong


@cache
def network(width):
    import keras

    rng = np.random.default_rng(width)
    model = keras.Sequential([keras.Input((width,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(2)])
    model.set_weights([rng.normal(size=(width, 8)) / 3, rng.normal(size=8), rng.normal(size=(8, 2)), np.zeros(2)])
    return model


def problem(seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    how = str(rng.choice(["", "near", "fewest", "data"], p=[0.55, 0.15, 0.15, 0.15]))
    if how in ("near", "fewest"):
        case.design["near"] = {name: some(rng, allowed) for name, allowed in case.allowed.items()}
        case.design["fewest_changes"] = how == "fewest"
    case.design["stay_near_data"] = how == "data"
    goals = [f">={rng.normal():.2f}", float(rng.normal()), str(rng.choice(["max", "min"]))]
    targets = {name: goals[int(rng.integers(2 if how == "fewest" else 3))] for name in OUTPUTS}
    return case, targets


def solved(case, targets, name, seed):
    space = Space(tuple(case.variables))
    design = Design.from_mapping(case.design)
    space = design.apply(space, OUTPUTS)
    surrogate = Surrogate.of_model(network(space.width), space, OUTPUTS)
    known = rows_of(case, space, surrogate, seed)
    options = {"starts": 8}
    if name == "differential-evolution":
        options["max_generations"] = 15
    objective, solver = REGISTRY.create("objective", "mse", {}), REGISTRY.create("solver", name, options)
    check_solver(solver, Requirements(objective, "it", linear=design.linear))
    wanted = parse_targets(targets, OUTPUTS)
    return invert(surrogate, wanted, space, objective, solver, Context(seed % 7), known, near_to=design.near_to(space))


def rows_of(case, space, surrogate, seed):
    """Rows of which few satisfy the constraints, and whose numbers lie beside the values that exist."""
    rng = np.random.default_rng(seed)
    drawn = {name: [some(rng, allowed) for _ in range(30)] for name, allowed in case.allowed.items()}
    x = np.hstack([v.encode(drawn[v.name]) for v in space.variables])
    numbers = np.concatenate([np.full(v.width, v.kind in ("continuous", "levels")) for v in space.variables])
    x[1::2, numbers] *= 1 + 0.02 * rng.standard_normal((15, numbers.sum()))
    return TrainingRows(x, surrogate.predict(x).mean, np.arange(30) + 1)


@pytest.mark.slow
@pytest.mark.parametrize("problems", PROBLEMS)
@pytest.mark.parametrize("name", SOLVERS)
def test_no_design_is_ever_infeasible(name, problems):
    count = 0
    for seed in itertools.chain(HARD, itertools.count()):
        case, targets = problem(seed)
        try:
            answers = solved(case, targets, name, seed)
        except PluginError:
            continue  # the solver says that it can't take it
        except ConfigError as error:
            if not str(error).startswith("stay_near_data: no"):
                raise
            continue  # no row of the data is near to a feasible design
        for table in (answers.designs, answers.starts):
            for row in table.to_dict("records"):
                wrong = infeasible(case, {n: row[f"design.{n}"] for n in case.allowed})
                assert not wrong, (seed, case.design, wrong)
        for row in answers.starts.to_dict("records") if answers.search != "enumeration" else ():
            wrong = wrong_guess(case, {n: row[f"guess.{n}"] for n in case.allowed if f"guess.{n}" in row})
            assert not wrong, (seed, case.design, wrong)
        count += 1
        if count == problems:
            return
