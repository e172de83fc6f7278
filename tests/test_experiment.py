"""The experiment file: what it may hold, and what is said of what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.errors import ConfigError, PluginError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.workflow.design import Design, merge_design
from invdesign_core.workflow.experiment import Experiment, apply_overrides, parse_value


def test_an_empty_experiment_takes_the_default_plugins():
    stages = Experiment().stages(Registry.discover())
    assert [getattr(stages, kind).name for kind in type(stages).model_fields] == [
        "binary-decimal",
        "selu-mlp",
        "grid-search",
        "mse",
        "least-squares",
    ]


def test_a_section_without_use_means_the_default_plugin(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text("[solver]\nstarts = 16\n[dataset]\ndigits = 3\n")
    stages = Experiment.from_toml(path).stages(Registry.discover())
    assert stages.solver.starts == 16
    assert stages.dataset.digits == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "did you mean 'seed'?"),
        ("seed = -1", "option 'seed'"),
        ("seed = 'x'", "option 'seed'"),
        ("[solvr]\nuse = 'lbfgsb'", "did you mean 'solver'?"),
        ("[training]\nepoch = 3", "did you mean 'epochs'?"),
        ("[training]\nepochs = 'many'", "option 'epochs'"),
        ("[solver]\nstart = 3", "did you mean 'starts'?"),
        ("[solver]\nstarts = 0", "option 'starts'"),
        ("[design]\nbounds = {a = [0]}", "bounds"),
        ("[design", "invalid TOML"),
        ("backend = 'torch'", "option 'backend'"),
    ],
)
def test_mistakes_are_named_with_the_near_match(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        Experiment.from_toml(path).stages(Registry.discover())
    assert message in str(error.value)


def test_an_unknown_plugin_is_refused_with_the_near_match():
    with pytest.raises(PluginError, match="did you mean 'lbfgsb'"):
        Experiment.from_mapping({"solver": "lbfgs"}).stages(Registry.discover())


def test_a_plugin_of_another_kind_is_pointed_out():
    with pytest.raises(PluginError, match="'mse' is the name of an objective"):
        Experiment.from_mapping({"solver": "mse"}).stages(Registry.discover())


def test_set_reaches_into_sections_and_quoted_keys():
    values = apply_overrides(
        {"solver": {"use": "lbfgsb"}},
        ["solver.starts=64", "training.schedule=cosine", 'design.bounds."flow rate"=[0, 1]', "seed=3"],
    )
    assert values == {
        "solver": {"use": "lbfgsb", "starts": 64},
        "training": {"schedule": "cosine"},
        "design": {"bounds": {"flow rate": [0, 1]}},
        "seed": 3,
    }


@pytest.mark.parametrize("item", ["solver", "solver.=3", "=3", "solvr.starts=3", "seed.x=3"])
def test_set_items_of_another_form_are_refused(item):
    with pytest.raises(ConfigError):
        apply_overrides({"seed": 0}, [item])


@given(st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_on_the_command_line_keep_their_value(value):
    assert parse_value(str(value).lower() if isinstance(value, bool) else repr(value)) == value


def test_lists_of_a_section_grow_and_an_empty_one_takes_all_away():
    base = {"constraints": ["a <= 1"], "log": ["a"], "fixed": {"b": 1}}
    over = {"constraints": ["b <= 1", "a <= 1"], "log": [], "bounds": {"b": [0, 2]}}
    assert merge_design(base, over) == {
        "constraints": ["a <= 1", "b <= 1"],
        "log": [],
        "fixed": {},
        "bounds": {"b": [0, 2]},
    }


def test_few_changes_and_staying_near_the_data_exclude_each_other():
    space = Space((Variable("a", lower=0, upper=1),))
    design = Design(near={"a": 0.5}, fewest_changes=True, stay_near_data=True)
    with pytest.raises(ConfigError, match="cannot be combined"):
        design.near_to(space)


@pytest.mark.parametrize(
    ("values", "use"),
    [
        ({}, "selu-mlp"),
        ({"dataset": {"digits": 3}}, "selu-mlp"),
        ({"dataset": "table"}, "auto"),
        ({"dataset": {"use": "sine-wave"}, "surrogate": {}}, "auto"),
        ({"dataset": "table", "surrogate": {"folds": 10}}, "auto"),
        ({"dataset": "table", "surrogate": {"widths": [8]}}, "selu-mlp"),
        ({"surrogate": "mlp"}, "mlp"),
    ],
    ids=str,
)
def test_candidates_race_for_a_table_where_no_surrogate_is_named(values, use):
    experiment = Experiment.from_mapping(values)
    assert experiment.surrogate.use == use
    assert experiment.choice("surrogate", Registry.discover())[0] == use
