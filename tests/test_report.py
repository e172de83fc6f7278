"""The report as one HTML file: what it computes, what it shows, and what it must not hold."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import Report
from invdesign_core.errors import ConfigError, RunStoreError
from invdesign_core.errors.visible import visible
from invdesign_core.report.formula import formula
from invdesign_core.report.influence import influence
from invdesign_core.report.page import page
from invdesign_core.report.payload import Material, payload
from invdesign_core.space.conditions import distribution_of, draw
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.over_scenarios import OverScenarios
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.pages import write_report
from invdesign_core.workflow.train import untested

MIXED = Space(
    (
        Variable("temperature", lower=300, upper=450),
        Variable("flow", lower=1e-3, upper=2e-3),
        Variable("catalyst", "categorical", levels=("A", "B", "C")),
        Variable("stages", "integer", lower=1, upper=6),
    )
)


def javascript(html: str, program: str, given: Any = None) -> Any:
    """Run a program after the page's own code, in the Node that comes with Playwright; return what it prints."""
    from playwright._impl._driver import compute_driver_executable

    node = compute_driver_executable()[0]
    code = [
        re.search(rf'<script data-name="{name}">(.*?)</script>', html, re.S)[1] for name in ("model.js", "space.js")
    ]
    data = f"const content = {embedded(html)}, given = {json.dumps(given)};"
    source = "\n".join([*code, data, f"console.log(JSON.stringify((() => {{ {program} }})()));"])
    done = subprocess.run(
        [str(node), "-"],
        input=source,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def embedded(html: str) -> str:
    """Return the JSON that a page holds."""
    return re.search(r'<script type="application/json" id="content">(.*?)</script>', html, re.S)[1]


def answers_of_page(html: str, x: np.ndarray) -> np.ndarray:
    program = """
    const model = new Invdesign.Model(content.model, content.outputs.length, content.scenarios);
    return [...model.predict(Float64Array.from(given.flat()), given.length).mean];
    """
    return np.array(javascript(html, program, x.tolist())).reshape(len(x), -1)


def without_target(surrogate: Surrogate, **more: Any) -> Report:
    """Return a report that asks for nothing."""
    known = {
        "run": None,
        "status": "no target",
        "met_by": None,
        "verdict": "no target was given",
        "target": {},
        "distinct": 0,
        "designs": [],
        "measured": [],
        "measured_count": 0,
        "measured_best": None,
        "starts": None,
        "search": None,
        "surrogate": untested(surrogate),
        "plugins": {},
        "seed": 0,
        "backend": "jax",
        "notes": [],
        "seconds": {"total": 1.0},
    }
    return Report.model_validate(known | more)


def html_of(surrogate: Surrogate, space: Space | None = None, **more: Any) -> str:
    return page(payload(Material(without_target(surrogate), surrogate, space or surrogate.space, **more)))


def points(space: Space, count: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(1)
    return space.snap(rng.uniform(*space.bounds, (count, space.width)))


def table(space: Space = MIXED, outputs: int = 2, count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    x = points(space, count)
    u = (x - x.min(axis=0)) / np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1)
    y = np.column_stack(
        [np.sin(3 * u[:, k % space.width]) + u @ np.linspace(-1, 1, space.width) for k in range(outputs)]
    )
    return x, 100 + 7 * y


def trained(nets: list[Any], space: Space = MIXED, outputs: int = 2, **more: Any) -> Surrogate:
    """Return a surrogate of some networks from standardised inputs to z, as training would have wrapped them."""
    from dataclasses import replace

    x, y = table(space, outputs)
    scaling = Scaling.of(x, y)
    names = [f"y{k + 1}" for k in range(outputs)]
    surrogate = Surrogate.trained([scaling.wrap(net) for net in nets], space, names, scaling, x, y)
    return replace(surrogate, **more)


def dense(width: int, outputs: int = 2, seed: int = 0) -> Any:
    import keras

    first, last = (keras.initializers.GlorotUniform(seed=seed + k) for k in range(2))
    x = keras.Input((width,))
    h = keras.layers.Dense(16, "swish", kernel_initializer=first)(x)
    return keras.Model(x, keras.layers.Dense(outputs, kernel_initializer=last)(h))


def every_layer(width: int, outputs: int = 2) -> Any:
    """Return a network with a branch for each activation and layer that the page knows."""
    import keras

    from invdesign_core.report.formula import ACTIVATIONS

    layers, x = keras.layers, keras.Input((width,))
    branches = [layers.Dense(5, name)(x) for name in ACTIVATIONS]
    branches += [
        layers.ReLU(negative_slope=0.1)(layers.Dense(5)(x)),
        layers.LeakyReLU(0.3)(layers.Dense(5)(x)),
        layers.ELU(0.7)(layers.Dense(5)(x)),
        layers.BatchNormalization(moving_mean_initializer="ones")(layers.Dense(5)(x)),
        layers.Dropout(0.5)(layers.Add()([branches[0], branches[5]])),
        layers.Multiply()([branches[9], branches[12]]),
        layers.Subtract()([branches[1], branches[2]]),
        layers.Average()([branches[3], branches[4]]),
        keras.Sequential([keras.Input((width,)), layers.Dense(4, "tanh"), layers.Activation("gelu")])(x),
    ]
    return keras.Model(x, layers.Dense(outputs)(layers.Concatenate()(branches)))


def in_closed_form(outputs: int = 2) -> list[Any]:
    from invdesign_plugins.surrogates.process_model import GaussianProcess
    from invdesign_plugins.surrogates.ridge_model import Polynomial

    x, y = table(outputs=outputs)
    scaling = Scaling.of(x, y)
    pairs = [(i, j) for i in range(MIXED.width) for j in range(i, MIXED.width)]
    models = [
        GaussianProcess(MIXED.width, outputs, blocks=[0, 1, 2, 2, 2, 3], starts=1),
        Polynomial(columns=MIXED.width, responses=outputs, pairs=pairs),
    ]
    for model in models:
        model.fit(scaling.inputs(x), scaling.outputs(y))
    return models


# What the page computes


def same(html: str, surrogate: Surrogate, x: np.ndarray) -> None:
    """The page's own code answers as the surrogate does, to 1e-5 of each output's range."""
    said = surrogate.units(surrogate.mean_z(x))
    off = np.abs(answers_of_page(html, x) - said).max(axis=0) / np.ptp(said, axis=0)
    assert (off <= 1e-5).all(), off


@pytest.mark.long
def test_the_page_computes_every_layer_and_activation_as_keras_does() -> None:
    surrogate = trained([every_layer(MIXED.width)])
    same(html_of(surrogate), surrogate, points(MIXED))


@pytest.mark.long
def test_the_page_computes_weighted_members_of_all_kinds_as_keras_does() -> None:
    nets = [*in_closed_form(), dense(MIXED.width), dense(MIXED.width, seed=5)]
    weights = np.array([[0.5, 0.1], [0.1, 0.2], [0.4, 0.3], [0.0, 0.4]])
    surrogate = trained(nets, weights=weights)
    same(html_of(surrogate), surrogate, points(MIXED))


def test_an_input_of_small_range_beside_its_size_is_rounded_as_keras_rounds_it() -> None:
    space = Space((Variable("pressure", lower=101325.0, upper=101326.0), Variable("b", lower=0, upper=1)))
    surrogate = trained([dense(2)], space)
    same(html_of(surrogate), surrogate, points(space))


def test_the_page_averages_over_conditions_as_the_search_does() -> None:
    said = {"temperature": distribution_of("mean 350, sd 20", MIXED["temperature"])}
    scenarios = draw(said, MIXED, None, np.random.default_rng(0))
    surrogate = trained([dense(MIXED.width)])
    same(html_of(surrogate, scenarios=scenarios), OverScenarios.averaging(surrogate, scenarios), points(MIXED, 40))


def test_what_the_page_cannot_compute_is_sampled_beforehand_and_said() -> None:
    import keras

    space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=2)))
    x = keras.Input((2,))
    unknown = keras.Model(x, keras.layers.Dense(2)(keras.layers.LayerNormalization()(keras.layers.Dense(4)(x))))
    surrogate = trained([unknown], space)
    content = payload(Material(without_target(surrogate), surrogate, space))
    assert content["model"] is None
    html = page(content)
    assert "computed beforehand" in html
    assert "LayerNormalization" in html
    curve = content["slices"]["curves"][0][1]
    design = np.repeat([content["slices"]["points"][0]], len(curve["x"]), axis=0)
    design[:, 1] = np.ravel(curve["x"])
    assert np.allclose(curve["y"], surrogate.units(surrogate.mean_z(design)), rtol=1e-5)


def test_the_page_has_the_second_model_as_keras_computes_it_and_how_far_to_trust_it() -> None:
    first, other = trained([dense(MIXED.width)]), trained([dense(MIXED.width, seed=9)])
    ratios = np.linspace(-1, 2, 40).reshape(20, 2)
    html = html_of(first, second=SecondModel(other, "mlp", ratios, np.array([0.25, 0.5])))
    program = """
    const model = new Invdesign.Model(content.second.model, content.outputs.length, content.scenarios);
    return [...model.predict(Float64Array.from(given.flat()), given.length).mean];
    """
    x = points(MIXED, 50)
    found = np.array(javascript(html, program, x.tolist())).reshape(len(x), -1)
    assert np.abs(found - other.predict(x).mean).max() < 1e-5 * float(other.spread.max())
    content = json.loads(embedded(html))["second"]
    assert (content["plugin"], content["count"], content["level"]) == ("mlp", 20, "90 %")
    assert [row["noise"] for row in content["rows"]] == ["0.25", "0.5"]
    assert "The second model" in Text(html).text


def test_a_second_model_of_other_outputs_is_left_out() -> None:
    first, other = trained([dense(MIXED.width)]), trained([dense(MIXED.width, 1)], outputs=1)
    html = html_of(first, second=SecondModel(other, "mlp", np.zeros((5, 1)), np.ones(1)))
    assert json.loads(embedded(html))["second"] is None


def test_weights_that_would_make_the_page_too_large_are_left_out() -> None:
    import keras

    x = keras.Input((1,))
    large = keras.Model(x, keras.layers.Dense(1)(keras.layers.Dense(800, "relu")(keras.layers.Dense(800, "relu")(x))))
    surrogate = trained([large], Space((Variable("a", lower=0, upper=1),)), 1)
    assert "MB" in str(formula(surrogate))


def test_moving_an_input_keeps_the_constraints_and_the_others_give_way_in_proportion() -> None:
    names = ("a", "b", "c", "d", "e")
    space = Space(tuple(Variable(name, lower=0, upper=100) for name in names))
    rules = parse_constraints(["a + b + c + d = 100", "a + e <= 120", "at most 3 of a, b, c, d above zero"], space, ())
    space = Space(space.variables, rules)
    surrogate = trained([dense(5)], space)
    program = """
    const space = new Invdesign.Space(content.variables, content.constraints);
    let x = Float64Array.from([50, 30, 20, 0, 10]);
    return given.map(([j, value]) => {
      const moved = space.move(x, j, value);
      x = moved.x;
      return [[...x], moved.limited];
    });
    """
    rng = np.random.default_rng(0)
    moves = [
        [0, 60.0],
        *([int(j), float(v)] for j, v in zip(rng.integers(0, 5, 60), rng.uniform(0, 100, 60), strict=True)),
    ]
    found = javascript(html_of(surrogate, space), program, moves)
    assert np.allclose(found[0][0], [60, 24, 16, 0, 10])
    for (j, value), (x, limited) in zip(moves, found, strict=True):
        assert space.feasible_set.violation(np.array([x]))[0] < 1e-5
        assert limited or x[j] == pytest.approx(value)


def test_find_it_meets_the_target_and_keeps_the_constraint() -> None:
    space = Space(tuple(Variable(name, lower=0, upper=1) for name in "abc"))
    space = Space(space.variables, parse_constraints(["a + b + c = 1"], space, ()))
    surrogate = trained([dense(3, 1)], space, 1)
    y = surrogate.units(surrogate.mean_z(np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])))[:, 0]
    program = """
    const space = new Invdesign.Space(content.variables, content.constraints);
    const model = new Invdesign.Model(content.model, 1, null);
    const wish = { output: 0, range: content.outputs[0].range, lower: given, upper: given, goal: null };
    return [...Invdesign.find(model, space, Float64Array.from([0.2, 0.3, 0.5]), [wish]).x];
    """
    found = np.array([javascript(html_of(surrogate, space), program, float(y[1]))])
    assert surrogate.units(surrogate.mean_z(found))[0, 0] == pytest.approx(y[1], abs=1e-3 * surrogate.spread[0])
    assert found.sum() == pytest.approx(1)


def test_sobol_indices_are_those_of_a_function_whose_are_known() -> None:
    """Ishigami's function with a = 7 and b = 0.1."""

    def ishigami(x: np.ndarray) -> np.ndarray:
        return (np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))[:, None]

    space = Space(tuple(Variable(name, lower=-np.pi, upper=np.pi) for name in "abc"))
    found = influence(ishigami, space)
    assert np.allclose(found.first, [[0.314, 0.442, 0.0]], atol=0.04)
    assert np.allclose(found.total, [[0.558, 0.442, 0.244]], atol=0.04)
    assert found.direction[0, 0] > 0.3
    assert abs(found.direction[0, 1]) < 0.1


@pytest.mark.long
def test_sobol_indices_are_those_of_salib() -> None:
    from SALib.analyze import sobol
    from SALib.sample import sobol as points_of

    surrogate = trained([dense(4, 1)], Space(tuple(Variable(n, lower=0, upper=2) for n in "abcd")), 1)
    problem = {"num_vars": 4, "names": list("abcd"), "bounds": [[0, 2]] * 4}
    x = points_of.sample(problem, 2048, calc_second_order=False, seed=0)
    y = surrogate.units(surrogate.mean_z(x))[:, 0]
    theirs = sobol.analyze(problem, y, calc_second_order=False, seed=0)
    ours = influence(lambda x: surrogate.units(surrogate.mean_z(x)), surrogate.space)
    assert np.allclose(ours.first[0], theirs["S1"], atol=0.03)
    assert np.allclose(ours.total[0], theirs["ST"], atol=0.03)


# What the page shows and holds


@pytest.fixture(scope="module")
def run(saved_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(saved_run, folder)
    return folder


class Text(HTMLParser):
    """The text that a reader sees without JavaScript, and the elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self._silent = "", list[tuple[str, dict[str, Any]]](), False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data


def test_the_first_screen_has_the_answer_without_any_script(run: Path) -> None:
    report = json.loads((run / "run.json").read_text())
    text = " ".join(Text((run / "report.html").read_text()).text.split())
    best = report["designs"][0]
    assert report["verdict"] in text
    assert "decimal 2 ± 0.06" in text
    assert "bit_0" in text
    assert f"{best['prediction']['decimal']:.2f}" in text
    assert "inside the data" in text


def test_designs_without_numbers_are_shown_as_they_are() -> None:
    """A prediction that is not finite, a true model that failed, an interval that may not hold."""
    surrogate = trained([dense(MIXED.width)])
    target = {"goal": None, "lower": 1.0, "upper": None, "weight": 1.0, "tolerance": 0.0, "range": 5.0}
    design = {
        "inputs": {"temperature": 350.0, "flow": 0.001, "catalyst": "B", "stages": 3},
        "prediction": {"y1": float("nan"), "y2": 3.0},
        "spread": None,
        "error": None,
        "interval": {"y1": (None, None), "y2": (2.0, 4.0)},
        "no_guarantee": "outside the data",
        "probability": float("nan"),
        "loss": float("nan"),
        "variance": 0.0,
        "met": {"y1": False},
        "miss": {"y1": None},
        "truth": {"y1": None, "y2": None},
        "failed": "it crashed <b>",
        "starts": 1,
        "nearest": None,
        "tolerance_range": None,
        "free_directions": None,
    }
    report = without_target(surrogate, status="not met", target={"y1": target}, distinct=1, designs=[design])
    html = page(payload(Material(report, surrogate, MIXED)))
    text = " ".join(Text(html).text.split())
    for said in ("y1 wanted at least 1 –", "it crashed <b>", "outside the data", "2 to 4", "✗ misses"):
        assert said in text, said


def test_a_report_made_again_is_the_same(run: Path, tmp_path: Path) -> None:
    again = write_report(run, tmp_path / "again.html")
    assert again.read_text() == (run / "report.html").read_text()


def test_a_later_solve_has_a_report_of_its_own(run: Path, invdesign: Any) -> None:
    done = invdesign("solve", run, "--target", "3", "--set", "solver.starts=8", "--quiet")
    assert done.code in (0, 1), done.err
    newest = max((run / "solve").iterdir(), key=lambda folder: int(folder.name))
    page = newest / "report.html"
    text = Text(page.read_text()).text
    assert "Designs for decimal = 3" in text
    assert f"invdesign solve {run} --target 3 --set solver.starts=8 --quiet" in text
    before = page.read_text()
    page.unlink()
    assert invdesign("report", page.parent).code == 0
    assert page.read_text() == before


def test_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    html = (run / "report.html").read_text()
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) == {"http://www.w3.org/2000/svg"}
    for tag, attributes in Text(html).tags:
        assert tag not in ("img", "iframe", "object", "embed")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:"))


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\u2028"


def test_text_of_users_is_never_html() -> None:
    space = Space((Variable(HOSTILE, "categorical", levels=(HOSTILE, "b")), Variable("x", lower=0, upper=1)))
    surrogate = trained([dense(3, 1)], space, 1)
    from dataclasses import replace

    surrogate = replace(surrogate, outputs=(HOSTILE,))
    report = without_target(surrogate, notes=[HOSTILE], verdict=HOSTILE)
    known = TrainingRows(*table(space, 1), rows=np.arange(80) + 1)
    html = page(payload(Material(report, surrogate, space, known, command=HOSTILE, versions={HOSTILE: HOSTILE})))
    tags = [tag for tag, _ in Text(html).tags]
    assert "img" not in tags
    assert tags.count("script") == 8
    assert html.count("alert(1)") > 0
    assert "<script>alert" not in html
    assert json.loads(embedded(html))["outputs"][0]["name"] == visible(HOSTILE)


def test_a_hundred_inputs_and_outputs_fit_into_a_mail() -> None:
    space = Space(tuple(Variable(f"input {i}", lower=0, upper=1) for i in range(100)))
    surrogate = trained([dense(100, 100, seed) for seed in range(3)], space, 100)
    x = points(space, 3000)
    y = np.repeat(table(space, 1, 3000)[1], 100, axis=1)
    known = TrainingRows(x, y, np.arange(3000) + 1, left_out=y + 1.0)
    html = html_of(surrogate, rows=known)
    assert len(html.encode()) < 6e6
    content = json.loads(embedded(html))
    assert content["fit"]["total"] == 3000
    assert "left out in turn" in content["fit"]["said"]


def test_rows_left_out_in_turn_are_kept_with_the_surrogate(tmp_path: Path) -> None:
    x, y = table()
    known = TrainingRows(x, y, np.arange(len(x)) + 1, left_out=y + 0.5)
    again = TrainingRows.from_arrays(known.arrays())
    assert np.array_equal(again.left_out, y + 0.5)
    assert again.held_out is None


def test_losses_by_epoch_are_those_of_the_training(run: Path) -> None:
    content = json.loads(embedded((run / "report.html").read_text()))
    losses, trials = content["history"]["losses"], content["history"]["trials"]
    assert losses
    for network in losses:
        assert network["epoch"] == list(range(1, len(network["epoch"]) + 1))
        assert len(network["loss"]) == len(network["val_loss"]) == len(network["epoch"]) <= 20
    assert min(losses[0]["val_loss"]) == pytest.approx(min(trial["score"] for trial in trials), rel=1e-6)


# Ways to it


def test_answers_in_python_write_their_report(tmp_path: Path) -> None:
    from invdesign_core.workflow.estimator import InverseDesign

    x = np.random.default_rng(0).uniform(0, 1, (60, 2))
    model = InverseDesign(surrogate="ridge", solver={"use": "least-squares", "starts": 4}, designs=2)
    answers = model.fit(x, x.sum(axis=1)).invert({"y": 1.3})
    file = answers.report(tmp_path / "mine.html")
    assert "Designs for y = 1.3" in file.read_text()
    with pytest.raises(ConfigError, match="pickle"):
        pickle.loads(pickle.dumps(answers)).report(tmp_path / "other.html")
    with pytest.raises(RunStoreError, match="nowhere"):
        answers.report(tmp_path / "nowhere" / "mine.html")


@pytest.mark.long
def test_a_model_file_has_a_report_too(tmp_path: Path, invdesign: Any) -> None:
    from conftest import lin

    lin([[1.0], [1.0]]).save(tmp_path / "sum.keras")
    pd.DataFrame({"a": [0.0, 1, 0.5], "b": [0.0, 1, 0.2], "y": [0.0, 2, 0.7]}).to_csv(tmp_path / "t.csv", index=False)
    options = ("--table", "t.csv", "--outputs", "y", "--target", "y=1.5", "--report", "sum.html", "--quiet")
    done = invdesign("solve", "sum.keras", *options)
    assert done.code == 0, done.err
    html = (tmp_path / "sum.html").read_text()
    assert "Designs for y = 1.5" in html
    assert np.allclose(answers_of_page(html, np.array([[0.25, 0.5]])), 0.75)


def test_what_can_hold_no_report_is_refused(tmp_path: Path, run: Path, invdesign: Any) -> None:
    done = invdesign("report", run, "--out", "report.pdf")
    assert done.code == 2
    assert "expected .html" in done.err
    (tmp_path / "empty").mkdir()
    done = invdesign("report", "empty")
    assert done.code == 7
    assert "not a run folder" in done.err
    done = invdesign("report", run / "solve" / "77")
    assert done.code != 0


def test_a_table_of_targets_has_a_report_with_a_line_for_each(tmp_path: Path, run: Path, invdesign: Any) -> None:
    (tmp_path / "w.csv").write_text("decimal\n2\n>=2.5\n1..1.5\n")
    done = invdesign("solve", run, "--targets", "w.csv", "--out", "d.csv", "--report", "x.html", "--quiet")
    assert done.code in (0, 1), done.err
    html = (tmp_path / "x.html").read_text()
    content = json.loads(embedded(html))
    written = pd.read_csv(tmp_path / "d.csv")
    assert [line["number"] for line in content["table"]["lines"]] == [1, 2, 3]
    assert [line["wanted"][0]["text"] for line in content["table"]["lines"]] == [
        "decimal = 2",
        "decimal ≥ 2.5",
        "decimal = 1..1.5",
    ]
    for design, (_, row) in zip(content["designs"], written[written["rank"] == 1].iterrows(), strict=True):
        assert design["outputs"][0]["value"] == pytest.approx(row["prediction.decimal"], rel=1e-6)
        assert design["met"] == row["met"]
        assert design["wishes"]["decimal"]["range"] > 0
    assert content["designs"][1]["wishes"]["decimal"]["lower"] == 2.5
    assert content["table"]["file"] == "d.csv"
    again = ("report", run, "--targets", "w.csv", "--designs", "d.csv", "--out", "again.html")
    assert invdesign(*again).code == 0
    later = json.loads(embedded((tmp_path / "again.html").read_text()))
    assert (later["table"], later["verdict"]) == (content["table"], content["verdict"])
    assert [design["inputs"] for design in later["designs"]] == [design["inputs"] for design in content["designs"]]
    (tmp_path / "w.csv").write_text("decimal\n2\n>=2.5\n2.6..2.9\n")
    done = invdesign(*again)
    assert done.code == 4
    assert "d.csv, target 3" in done.err
