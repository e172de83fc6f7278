"""Conditions that vary: designs that meet the target on average over what is measured and not chosen."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import fn
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import ConfigError, ExitCode
from invdesign_core.registry import Registry
from invdesign_core.search.loss_functions import InPieces
from invdesign_core.space.conditions import SCENARIOS, Distribution, distribution_of, draw
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.truth.simulator import as_truth
from invdesign_core.workflow.design import Design, merge_design
from invdesign_core.workflow.inverse import invert, invert_many, pose
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solve import solve_model
from invdesign_core.workflow.train import ForwardModel, untested

REGISTRY = Registry.discover()
SPACE = Space(
    (
        Variable("x", lower=0, upper=4),
        Variable("heat", lower=10, upper=30),
        Variable("wet", lower=0, upper=1),
        Variable("shift", "categorical", levels=("day", "night")),
        Variable("crew", "integer", lower=1, upper=9),
    )
)


def true(x, heat, wet, night):
    """Bent in what varies, so that the mean is not the answer at the mean."""
    return x + 0.01 * (heat - 20) ** 2 + x * wet + night


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    heat = rng.uniform(10, 30, 200).round(1)
    frame = pd.DataFrame({"x": rng.uniform(0, 4, 200), "heat": heat, "wet": ((30 - heat) / 20).round(3)})
    frame["shift"] = rng.choice(["day", "night"], 200)
    frame["crew"] = rng.integers(1, 10, 200)
    y = true(frame["x"], frame["heat"], frame["wet"], frame["shift"] == "night")
    return TrainingRows(SPACE.encode(frame), y.to_numpy()[:, None], np.arange(1, 201))


@pytest.fixture(scope="module")
def surrogate(rows):
    """An exact network of the true function, in two members that disagree by a constant."""
    return Surrogate(
        tuple(fn(6, lambda t, c=c: true(t[:, :1], t[:, 1:2], t[:, 2:3], t[:, 4:5]) + c) for c in (-0.1, 0.1)),
        SPACE, ("y",), np.array([4.0]), np.array([2.0]), np.array(SPACE.bounds), np.array([8.0]),
    )  # fmt: skip


@pytest.fixture
def ask(surrogate, rows):
    """Ask for designs in a space whose conditions vary."""

    def answers(asked, truth=None, ctx=None, known=rows, solver="least-squares", **design):
        def choose(extremum):
            return REGISTRY.create("solver", "lbfgsb" if extremum else solver, {"starts": 4})

        model = ForwardModel(surrogate, untested(surrogate), known, as_truth(truth))
        wanted = parse_targets(asked, ("y",), space=SPACE) if isinstance(asked, dict) else asked
        said, ctx = Design.from_mapping(design), ctx or Context()
        problem = pose(model, SPACE, said, wanted, REGISTRY.create("objective", "mse", {}), choose, ctx)
        if isinstance(asked, dict):
            return invert(problem, ctx)
        (_, found), *_ = invert_many(problem, ctx)
        return found

    return answers


ALL = {"heat": {"mean": 20, "sd": 4}, "wet": [0, 0.5, 1], "shift": "data", "crew": "data"}


def recomputed(surrogate, answers, row=0):
    """What the surrogate says of a design in each scenario, put together by hand."""
    frame = answers.scenarios.frame.copy()
    for name in SPACE.names:
        if name not in frame:
            frame[name] = answers.designs[f"design.{name}"][row]
    return surrogate.predict(SPACE.encode(frame)).mean[:, 0]


def test_the_mean_over_the_distribution_meets_the_target_and_can_be_computed_again(ask, surrogate):
    found = ask({"y": 3}, conditions=ALL)
    best = found.designs.iloc[0]
    y = recomputed(surrogate, found)
    assert len(y) == SCENARIOS
    assert best["met"]
    assert best["prediction.y"] == pytest.approx(3, abs=1e-3) == y.mean()
    assert best["prediction.y"] == pytest.approx(y.mean(), abs=1e-9), "written is what was judged"
    assert best["over_conditions.y"] == pytest.approx(y.std(), abs=1e-6)
    assert best["over_conditions.y"] > 0.5
    assert best["spread.y"] == pytest.approx(0.1, abs=1e-4), "the members' own, which is another thing"
    assert best[["design.heat", "design.wet", "design.shift"]].tolist() == [
        "mean 20, sd 4", "one of 0, 0.5, 1", "data",
    ]  # fmt: skip
    assert not [c for c in found.starts.columns if c.startswith(("guess.heat", "guess.shift"))]


def test_the_mean_of_the_answers_is_not_the_answer_at_the_mean(ask):
    varies = ask({"y": 3}, conditions={"heat": {"mean": 20, "sd": 4}}, fixed={"wet": 0.5, "shift": "day", "crew": 3})
    assert varies.designs["design.x"][0] == pytest.approx((3 - 0.01 * 16) / 1.5, abs=0.02), "at 20 alone it is 2"


def test_measured_values_go_together_as_they_were_measured(rows):
    scenarios = draw({"heat": Distribution(), "wet": Distribution()}, SPACE, rows.x, np.random.default_rng(0))
    pairs = scenarios.frame.to_numpy(dtype=float)
    assert np.allclose(pairs[:, 1], (30 - pairs[:, 0]) / 20, atol=1e-3), "each is a row"
    assert pairs[:, 0].mean() == pytest.approx(rows.x[:, 1].mean(), abs=0.1)
    assert pairs[:, 0].std() == pytest.approx(rows.x[:, 1].std(), abs=0.1)


numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
distributions = st.one_of(
    st.just(Distribution()),
    st.lists(numbers, min_size=1, max_size=70).map(lambda v: Distribution(tuple(v))),
    st.builds(lambda m, s: Distribution(mean=m, sd=s), numbers, st.floats(1e-6, 1e6)),
)


@given(st.lists(distributions, min_size=1, max_size=4), st.integers(0, 100), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_scenarios_have_the_distributions_that_were_said(said, seed, count):
    space = Space(tuple(Variable(f"c{i}", lower=-1, upper=1) for i in range(len(said))))
    x = np.random.default_rng(seed).normal(size=(count, len(said)))
    named = {f"c{i}": one for i, one in enumerate(said)}
    found, again = (draw(named, space, x, Context(seed).rng("conditions")) for _ in range(2))
    assert (found.values == again.values).all()
    assert 1 <= len(found) <= SCENARIOS
    assert list(found.frame) == list(named)
    for name, one in named.items():
        column = found.frame[name].to_numpy(dtype=float)
        if one.mean is not None:
            assert column.mean() == pytest.approx(one.mean, abs=1e-3 * one.sd + 1e-9 * abs(one.mean))
            assert column.std() == pytest.approx(one.sd, rel=1e-3)
        elif one.values:
            assert set(column) <= set(one.values)
            often = [int((column == value).sum()) / one.values.count(value) for value in set(one.values)]
            assert max(often) - min(often) <= 1 or len(one.values) > SCENARIOS, "each as often as another"
        else:
            assert np.isin(column, x).all()


@given(distributions)
@settings(deadline=None)
def test_what_is_written_of_a_distribution_is_read_back(said):
    assert distribution_of(str(said), Variable("c")) == said


def test_the_rows_that_conditions_come_from_do_not_make_a_design_near_or_an_answer(ask, rows):
    found = ask({"y": 3}, conditions={"heat": "data", "wet": "data", "shift": "data"}, fixed={"crew": 5})
    x = rows.x[:, 0]
    best = found.designs.iloc[0]
    assert found.rows is None, "a row was measured in one scenario"
    assert best["inside"]
    unit, crew = np.ptp(x), np.ptp(rows.x[:, 5])
    away = np.hypot((x - best["design.x"]) / unit, (rows.x[:, 5] - 5) / crew).min()
    assert best["nearest.distance"] == pytest.approx(away, abs=1e-9), "over the design's own columns"
    near = ask({"y": 3}, conditions={"heat": "data", "wet": "data", "shift": "data"}, stay_near_data=True)
    assert near.designs["inside"].all()
    assert near.met


def test_designs_are_judged_by_the_mean_of_the_true_model(ask):
    def truth(frame):
        assert frame["heat"].dtype.kind == "f"
        y = true(frame["x"], frame["heat"], frame["wet"], frame["shift"] == "night") + 0.5
        return pd.DataFrame({"y": y})

    found = ask({"y": 3}, truth, conditions=ALL)
    best, asked = found.designs.iloc[0], found.simulated
    assert best["truth.y"] == pytest.approx(best["prediction.y"] + 0.5, abs=1e-4)
    assert asked.designs == len(found.designs)
    assert asked.simulated + asked.known == len(found.designs) * len(found.scenarios), "each design in each scenario"
    failing = ask({"y": 3}, lambda f: truth(f).where(f[["heat"]].to_numpy() < 25), conditions=ALL)
    assert failing.designs["truth.y"].isna().all(), "where it fails in a scenario there is no mean"


@pytest.mark.long
def test_extrema_inputs_discrete_variables_and_present_designs_work_on_means(ask, surrogate):
    most = ask({"y": "max"}, conditions=ALL).designs.iloc[0]
    assert most["design.x"] == 4
    least = ask({"x": "min", "y": ">=3"}, conditions=ALL)
    assert recomputed(surrogate, least).mean() == pytest.approx(3, abs=2e-3)
    near = ask({"y": 3}, conditions=ALL, near={"x": 0, "heat": 3}, fewest_changes=True).designs.iloc[0]
    assert near["design.heat"] == "mean 20, sd 4"
    levels = ask({"y": 3}, conditions=ALL, levels={"x": [0, 1, 2, 3]}).designs.iloc[0]
    assert levels["design.x"] in (1, 2)


def test_the_value_in_a_table_of_targets_wins_for_its_row(ask):
    said = []
    ctx = Context(emit=lambda event: said.append(str(event.data.get("text"))))
    table = pd.DataFrame({"y": [3.0, 3.0], "heat": [20.0, 30.0]})
    conditions = {"heat": "data", "wet": [0.5], "shift": ["day"], "crew": "data"}
    found = ask(table, ctx=ctx, conditions=conditions, designs=1).designs
    assert found["design.heat"].tolist() == [20, 30]
    assert found["design.x"].tolist() == pytest.approx([2, 4 / 3], abs=0.02)
    assert any("each row holds 'heat' at its own value" in text for text in said)


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ({"conditions": {"heat": 22}}, "expected a distribution"),
        ({"conditions": {"heta": "data"}}, "no design variable 'heta'"),
        ({"conditions": {"heat": "dta"}}, "found 'dta'"),
        ({"conditions": {"heat": []}}, "empty list"),
        ({"conditions": {"heat": ["a", "b"]}}, "expected a number"),
        ({"conditions": {"heat": {"mean": 3}}}, "'sd' is missing"),
        ({"conditions": {"heat": {"mean": 3, "std": 1}}}, "no key 'std'"),
        ({"conditions": {"heat": {"mean": 3, "sd": 0}}}, "expected a number above 0"),
        ({"conditions": {"shift": {"mean": 3, "sd": 1}}}, "has no mean"),
        ({"conditions": {"shift": ["day", "nite"]}}, "'nite' is not one of its levels"),
        ({"conditions": {"crew": [1.5, 2]}}, "expected a whole number"),
        ({"conditions": {"heat": "data"}, "bounds": {"heat": [15, 20]}}, "which is for what is chosen"),
        ({"conditions": {"heat": "data"}, "constraints": ["x + heat <= 30"]}, "constraint 'x + heat <= 30'"),
    ],
)
def test_what_cannot_be_meant_is_refused(ask, design, words):
    with pytest.raises(ConfigError, match=words.replace("+", r"\+")):
        ask({"y": 3}, **design)


def test_a_target_for_what_varies_and_data_without_rows_are_refused(ask):
    with pytest.raises(ConfigError, match="which is not searched"):
        ask({"y": 3, "heat": "max"}, conditions={"heat": "data"})
    with pytest.raises(ConfigError, match="no rows are known"):
        ask({"y": 3}, known=None, conditions={"heat": "data"})


def test_scenarios_beyond_the_data_are_said(ask):
    said = []
    ctx = Context(emit=lambda event: said.append(str(event.data.get("text"))))
    ask({"y": 3}, ctx=ctx, conditions={"heat": [5, 20, 31]})
    assert any("1 of 3 scenarios lie outside the data (10 to 30)" in text for text in said)
    assert any("means over 3 scenarios of 'heat' (one of 5, 20, 31)" in text for text in said)


def test_of_a_condition_the_last_word_counts():
    run = {"fixed": {"a": 1}, "conditions": {"b": "data"}, "bounds": {"c": [0, 1]}, "log": ["c"]}
    assert merge_design(run, {"fixed": {"b": 2}}) == {**run, "fixed": {"a": 1, "b": 2}, "conditions": {}}
    varied = merge_design(run, {"conditions": {"a": "data", "c": [1, 2]}})
    assert varied["conditions"] == {"b": "data", "a": "data", "c": [1, 2]}
    assert not varied["fixed"]
    assert not varied["bounds"]
    assert not varied["log"]


def test_rows_in_pieces_are_the_same_as_all_at_once():
    seen = []

    def doubled(x, y):
        seen.append(len(x))
        return x + y, 2 * y

    x = np.arange(10.0)[:, None]
    first, second = InPieces(doubled, 4)(x, x + 1)
    assert (first == 2 * x + 1).all()
    assert (second == 2 * x + 2).all()
    assert seen == [4, 4, 2]


# The commands


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over a condition that varies, in a folder with its table."""
    from invdesign_core.workflow.experiment import Experiment
    from invdesign_core.workflow.run import run_experiment

    folder = tmp_path_factory.mktemp("varies")
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"x": rng.random(90), "air": rng.normal(20, 3, 90).round(1), "lot": rng.choice(["a", "b"], 90)}
    )
    table["y"] = (2 * table["x"] + 0.1 * (table["air"] - 20) + (table["lot"] == "b")).round(3)
    table.to_csv(folder / "t.csv", index=False)
    experiment = Experiment.from_mapping(
        {
            "dataset": {"use": "table", "path": "t.csv", "outputs": ["y"], "conditions": ["air", "lot"]},
            "surrogate": {"widths": [16], "learning_rate": [0.02, 0.02]},
            "training": {"epochs": 40, "early_stopping": False},
            "solver": {"starts": 4},
            "design": {"conditions": {"air": "data", "lot": "data"}},
            "targets": {"y": 1.5},
        },
        folder=folder,
    )
    return run_experiment(experiment, out=folder / "r")


def test_a_run_keeps_the_scenarios_from_which_its_predictions_follow(run):
    folder = RunFolder.open(run.saved)
    surrogate, known = folder.read_surrogate()
    kept = pd.read_parquet(run.saved / "solve/1/scenarios.parquet")
    designs = pd.read_csv(run.saved / "solve/1/designs.csv")
    y = surrogate.predict(surrogate.space.encode(kept.assign(x=designs["design.x"][0]))).mean[:, 0]
    assert designs["prediction.y"][0] == pytest.approx(y.mean(), abs=1e-9)
    assert designs["over_conditions.y"][0] == pytest.approx(y.std(), abs=1e-9)
    assert run.report.conditions == {"air": "data", "lot": "data"}
    assert run.report.scenarios == len(kept) == SCENARIOS
    assert run.report.designs[0].over_conditions is not None
    again = solve_model(run.saved, ["y=1.5"], solver={"use": "least-squares", "starts": 2})
    assert again.answers.scenarios.frame.equals(run.answers.scenarios.frame), "a solve draws the same"
    assert known.measured.x.shape == (90, 4)


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
def test_predict_reads_designs_back_and_says_the_same(run, invdesign, tmp_path, ending):
    done = invdesign(
        "solve", run.saved, "--target", "y=1.4", "--condition", "air=mean 20, sd 2", "--condition", "lot=a,b",
        "--out", f"d.{ending}",
    )  # fmt: skip
    assert done.code == ExitCode.OK, done.err
    assert (tmp_path / f"d.scenarios.{ending}").exists()
    again = invdesign("predict", run.saved, f"d.{ending}", "--json")
    assert again.code == 0, again.err
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "xlsx": partial(pd.read_excel, engine="openpyxl")}[ending]
    designs = read(tmp_path / f"d.{ending}")
    assert set(designs["design.air"]) == {"mean 20, sd 2"}
    for part in ("prediction", "over_conditions"):
        found = [row["y"] for row in again.json[part]]
        assert found == pytest.approx(designs[f"{part}.y"].tolist(), abs=1e-9)
    assert any("means over 64 scenarios" in note for note in again.json["notes"])


def test_a_solve_may_hold_what_the_run_lets_vary(run, invdesign):
    done = invdesign("solve", run.saved, "--target", "y=1.5", "--fixed", "air=22", "--fixed", "lot=a", "--json")
    assert done.code == ExitCode.OK, done.err
    design = done.json["designs"][0]
    assert design["inputs"]["air"] == 22
    assert design["over_conditions"] is done.json["conditions"] is None


def test_validate_says_what_varies(run, invdesign, tmp_path):
    (tmp_path / "t.csv").write_bytes((run.saved.parent / "t.csv").read_bytes())
    told = ["--dataset", "table", "--set", "dataset.path=t.csv", "--set", 'dataset.outputs=["y"]']
    done = invdesign("validate", *told, "--target", "y=1.5", "--condition", "air=18,22.5", "--condition", "lot=data")
    assert done.code == 0, done.err
    assert "condition air: continuous, one of 18, 22.5" in done.out
    table = invdesign("validate", *told, "--target", "y=1.5", "--condition", "air={ mean = 20, sd = 3 }", "--json")
    assert {v["name"]: v["values"] for v in json.loads(table.out)["variables"]}["air"] == "mean 20, sd 3"


@pytest.mark.long
def test_a_model_file_takes_a_distribution_too(tmp_path):
    fn(2, lambda t: t[:, :1] * t[:, 1:2] ** 2).save(tmp_path / "m.keras")
    bounds = {"x1": (0.0, 2.0)}
    found = solve_model(
        tmp_path / "m.keras", ["y=2"], bounds=bounds, conditions={"x2": [1, 2]}, solver={"use": "least-squares"}
    )
    assert found.answers.designs["design.x1"][0] == pytest.approx(0.8, abs=0.02)
    with pytest.raises(ConfigError, match="no rows are known"):
        prepare(tmp_path / "m.keras", bounds=bounds, conditions={"x2": "data"}).problem(parse_targets(["y=2"], ("y",)))
