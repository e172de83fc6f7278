"""Distributions by others, built and installed with pip beside the project in environments of their own.

They are in ``third_party/``, where ``invdesign_example`` is the one to copy from, and in the examples of the docs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Finished
from distributions import EXAMPLES, missing

pytestmark = pytest.mark.long

EXAMPLE = {
    ("dataset", "cantilever"),
    ("surrogate", "forest"),
    ("tuner", "few-draws"),
    ("objective", "pseudo-huber"),
    ("solver", "one-plus-one"),
}
"""What `invdesign-example` brings."""

SOUND = {"invdesign-example", *(example.name for example in EXAMPLES)}
"""Distributions whose requirements are met."""

FIVE_BY_NAME = (
    *("--dataset", "cantilever", "--set", "dataset.rows=300"),
    *("--surrogate", "forest", "--set", "surrogate.trees=20"),
    *("--tuner", "few-draws", "--set", "tuner.draws=2"),
    *("--objective", "pseudo-huber", "--set", "objective.delta=0.5"),
    *("--solver", "one-plus-one", "--set", "solver.starts=6", "--set", "solver.steps=60"),
)
WANTED = ("--target", "deflection=2", "--target", "mass<=20")
FIVE_IN_A_FILE = """
[dataset]
use = "cantilever"
rows = 300

[surrogate]
use = "forest"
trees = 20

[tuner]
use = "few-draws"
draws = 2

[objective]
use = "pseudo-huber"
delta = 0.5

[solver]
use = "invdesign-example:one-plus-one"
starts = 6
steps = 60

[targets]
deflection = 2
mass = "<=20"
"""
"""The same as on the command line; the solver's full name settles whose it is."""


class Environment:
    """A fresh virtual environment with the project as its users install it, and other distributions.

    Everything else, such as Keras, is taken from the environment that runs the tests: a path file
    names its folders of packages, behind those installed here. Path files over there are not followed, so an
    editable install of the project stays out of it.
    """

    def __init__(self, folder: Path, wheels: Path, *distributions: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.folder = folder
        where = {"base": str(folder), "platbase": str(folder)}
        self.scripts = Path(sysconfig.get_path("scripts", "venv", where))
        elsewhere = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        packages = Path(sysconfig.get_path("purelib", "venv", where))
        (packages / "elsewhere.pth").write_text("\n".join(elsewhere), encoding="utf-8")
        self._install("--no-deps", "--force-reinstall", *wheels.glob("invdesign-*.whl"))
        sound = [name for name in distributions if name in SOUND]
        if sound:
            self._install("--find-links", wheels, *sound)  # pip finds their requirements met
        others = [name.replace("-", "_") for name in distributions if name not in SOUND]
        if others:
            self._install("--no-deps", *(wheel for name in others for wheel in wheels.glob(f"{name}-*.whl")))

    def invdesign(self, *args: object, cwd: Path, env: Mapping[str, str] | None = None) -> Finished:
        """Run the console script."""
        return self._run(self.scripts / "invdesign", *args, cwd=cwd, env=env or {})

    def python(self, code: str, cwd: Path) -> Finished:
        """Run a few lines of Python."""
        return self._run(self.scripts / "python", "-c", code, cwd=cwd, env={})

    def _install(self, *args: object) -> None:
        pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index")
        done = self._run(self.scripts / "python", *pip, *args, cwd=self.folder, env={})
        assert done.code == 0, done.err

    def _run(self, *command: object, cwd: Path, env: Mapping[str, str]) -> Finished:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**inherited, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the project and of every distribution in ``third_party/``, built from copies."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for item in ROOT.iterdir():
        if item.is_file() and not item.name.startswith("."):
            shutil.copy(item, source)
    for folder in ("invdesign_core", "plugins", "tests", "docs/examples"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index")
    third_party = sorted((source / "tests" / "third_party").glob("invdesign_*"))
    examples = [source / example.relative_to(ROOT) for example in EXAMPLES]
    command = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", built, source, *third_party, *examples]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def plain(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The project and the example."""
    return Environment(tmp_path_factory.mktemp("plain"), wheels, "invdesign-example")


@pytest.fixture(scope="module")
def crowded(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The project and the example among distributions that are broken, too new, or of the same names."""
    others = ("invdesign-broken", "invdesign-newer", "invdesign-namesake")
    return Environment(tmp_path_factory.mktemp("crowded"), wheels, "invdesign-example", *others)


@pytest.fixture(scope="module")
def examples(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The project and the distributions of the docs."""
    absent = {name for example in EXAMPLES for name in missing(example)}
    if absent:
        pytest.skip(f"not installed: {', '.join(sorted(absent))}")
    return Environment(tmp_path_factory.mktemp("examples"), wheels, *(example.name for example in EXAMPLES))


@pytest.fixture(scope="module")
def five(plain: Environment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, Path]:
    """A run of all five by name, and the folder that it worked in."""
    cwd = tmp_path_factory.mktemp("five")
    env = {"INVDESIGN_EXAMPLE_LOG": str(cwd / "events.jsonl")}
    return plain.invdesign("run", *FIVE_BY_NAME, *WANTED, "--out", "run", "--json", cwd=cwd, env=env), cwd


def beam(width: float, height: float) -> tuple[float, float]:
    """Deflection (mm) and mass (kg) of a steel cantilever of 1 m under 1 kN; section in mm."""
    w, h = width / 1000, height / 1000
    return 1000 * 4 * 1000 / (210e9 * w * h**3), 7850 * w * h


def assert_met(done: Finished, deflection: float = 2) -> Any:
    """Hold a finished command to its promise, by the formula itself; return its report."""
    assert done.code == 0, done.err
    report = done.json
    assert report["status"] == "met", report
    best = report["designs"][0]
    found, mass = beam(**best["inputs"])
    assert best["truth"] == pytest.approx({"deflection": found, "mass": mass})
    assert found == pytest.approx(deflection, abs=report["target"]["deflection"]["tolerance"])
    assert mass <= 20 + report["target"]["mass"]["tolerance"]
    return report


def listed(environment: Environment, cwd: Path) -> Any:
    done = environment.invdesign("plugins", "list", "--json", cwd=cwd)
    assert done.code == 0, done.err
    return done.json


def solvers_that_can(message: str) -> list[str]:
    """Return the solvers that a refusal names."""
    return message.partition("solvers that can: ")[2].partition("\n")[0].split(", ")


# Discovery


def test_an_install_brings_the_packages_and_nothing_else(plain: Environment, tmp_path: Path) -> None:
    code = """
import importlib.util, json, invdesign_core, invdesign_plugins
print(json.dumps({
    "from": [invdesign_core.__file__, invdesign_plugins.__file__],
    "found": [name for name in ("plugins", "tests") if importlib.util.find_spec(name)],
}))
"""
    done = plain.python(code, tmp_path)
    assert done.code == 0, done.err
    assert all(Path(path).is_relative_to(plain.folder) for path in done.json["from"]), done.json
    assert done.json["found"] == []


def test_the_list_says_who_brings_each_plugin(plain: Environment, tmp_path: Path) -> None:
    found = listed(plain, tmp_path)
    theirs = [row for row in found["plugins"] if row["distribution"] == "invdesign-example"]
    assert {(row["kind"], row["name"]) for row in theirs} == EXAMPLE
    assert all(row["version"] == "1.2.0" and row["summary"] for row in theirs), theirs
    assert {row["distribution"] for row in found["plugins"]} == {"invdesign", "invdesign-example"}
    assert found["broken"] == []


def test_each_broken_entry_point_has_a_line_with_its_reason(crowded: Environment, tmp_path: Path) -> None:
    broken = {row["entry_point"]: row for row in listed(crowded, tmp_path)["broken"]}
    reasons = {
        "exits": "SystemExit: this plugin needs a licence",
        "lacks-a-module": "No module named 'a_package_that_nobody_has'",
        "nowhere": "No module named 'invdesign_broken.nowhere'",
        "unknown-hook": "unknown hook 'invdesign_solver': did you mean 'invdesign_solvers'?",
        "no-hook": "implements no hook",
        "wrong-kind": "expected subclasses of Solver",
        "newer": "requires invdesign>=99",
    }
    assert broken.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in broken[name]["error"]
    assert broken["exits"]["distribution"] == "invdesign-broken"
    assert broken["exits"]["version"] == "0.3.0"
    lines = crowded.invdesign("plugins", "list", cwd=tmp_path).out.splitlines()
    assert len([line for line in lines if line.startswith("not loaded: ")]) == len(reasons), lines
    warning = "warning: invdesign-broken 0.3.0 (undescribed): solver terse: option 'speed' has no description"
    assert [line for line in lines if line.startswith("warning: ")] == [warning]


def test_broken_neighbours_take_nothing_away(plain: Environment, crowded: Environment, tmp_path: Path) -> None:
    among = listed(crowded, tmp_path)["plugins"]
    ours = [row for row in among if row["distribution"] not in ("invdesign-namesake", "invdesign-broken")]
    assert ours == listed(plain, tmp_path)["plugins"]
    assert len(among) == len(ours) + 2


def test_a_missing_plugin_is_explained_by_those_not_loaded(crowded: Environment, tmp_path: Path) -> None:
    done = crowded.invdesign("run", "--solver", "unheard", cwd=tmp_path)
    assert done.code == 3
    assert "there is no solver plugin 'unheard'" in done.err
    assert "invdesign-broken (unknown-hook): unknown hook 'invdesign_solver'" in done.err


def test_listing_imports_nothing_heavy(plain: Environment, tmp_path: Path) -> None:
    code = """
import json, sys
from invdesign_core.registry import Registry
assert len(Registry.discover().entries) > 5
heavy = ("keras", "keras_tuner", "jax", "tensorflow", "pandas", "sklearn", "scipy", "matplotlib")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    done = plain.python(code, tmp_path)
    assert done.code == 0, done.err
    assert done.json == []


def test_options_of_a_third_party_are_explained_and_checked(plain: Environment, tmp_path: Path) -> None:
    shown = plain.invdesign("plugins", "show", "forest", "--json", cwd=tmp_path).json
    assert not shown["differentiable"]
    trees = {"name": "trees", "default": "50", "description": "Number of trees.", "served_by_core": False}
    assert trees in shown["options"]
    done = plain.invdesign("validate", *FIVE_BY_NAME, "--set", "solver.step=2", "--no-data", cwd=tmp_path)
    assert done.code == 2
    assert "option 'step': found 2" in done.err
    assert "First step, as a share of each variable's range." in done.err


def test_what_a_plugin_prints_stays_out_of_the_json(wheels: Path, tmp_path: Path) -> None:
    talkative = Environment(tmp_path / "environment", wheels, "invdesign-talkative")
    done = talkative.invdesign("plugins", "list", "--json", cwd=tmp_path)
    assert done.json["plugins"]
    assert "talkative is being imported" in done.err


# All five at work


def test_all_five_by_name(five: tuple[Finished, Path]) -> None:
    report = assert_met(five[0])
    assert set(report["plugins"].items()) == EXAMPLE
    assert report["surrogate"]["trials"] == 3  # the defaults and two draws
    assert report["starts"]["total"] == 6


def test_a_run_writes_down_whose_plugins_it_used(five: tuple[Finished, Path]) -> None:
    resolved = json.loads((five[1] / "run" / "resolved.json").read_text(encoding="utf-8"))
    expected = {"distribution": "invdesign-example", "version": "1.2.0"}
    used = {kind: {k: v for k, v in item.items() if k != "options"} for kind, item in resolved["plugins"].items()}
    assert used == {kind: {"name": name, **expected} for kind, name in EXAMPLE}
    assert resolved["plugins"]["solver"]["options"]["precision"] == 1e-4, "every option, those left alone too"


def test_an_observer_sees_the_run_as_it_happens(five: tuple[Finished, Path]) -> None:
    lines = (five[1] / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    stages = [event["stage"] for event in events if event["kind"] == "stage"]
    assert stages == ["load", "tune", "train", "solve"]
    assert [event["id"] for event in events if event["kind"] == "trial"] == [0, 1, 2]


def test_all_five_from_a_file_beside_broken_ones(
    five: tuple[Finished, Path], crowded: Environment, tmp_path: Path
) -> None:
    (tmp_path / "beam.toml").write_text(FIVE_IN_A_FILE, encoding="utf-8")
    report = assert_met(crowded.invdesign("run", "beam.toml", "--json", cwd=tmp_path))
    assert set(report["plugins"].items()) == EXAMPLE
    assert report["designs"] == five[0].json["designs"]  # the file asks for the same, so the answer is the same


def test_all_five_from_python(five: tuple[Finished, Path], plain: Environment, tmp_path: Path) -> None:
    (tmp_path / "beam.toml").write_text(FIVE_IN_A_FILE, encoding="utf-8")
    code = """
import json
from invdesign_core import Experiment, InverseDesign, run_experiment
from invdesign_core.plugin import Context, PluginError
from invdesign_example.cantilever import Cantilever
from invdesign_example.few_draws import FewDraws
from invdesign_example.forest import Forest
from invdesign_example.one_plus_one import OnePlusOne
from invdesign_example.pseudo_huber import PseudoHuber

data = Cantilever(rows=300).load(Context(seed=0))
by_name = InverseDesign(
    {"use": "forest", "trees": 20},
    {"use": "few-draws", "draws": 2},
    {"use": "pseudo-huber", "delta": 0.5},
    {"use": "one-plus-one", "starts": 6, "steps": 60},
)
objects = Forest(trees=20), FewDraws(draws=2), PseudoHuber(delta=0.5), OnePlusOne(starts=6, steps=60)
found = {}
for way, model in (("by name", by_name), ("as objects", InverseDesign(*objects))):
    answers = model.fit_data(data).invert({"deflection": 2, "mass": "<=20"})
    best = answers.designs.iloc[0]
    found[way] = {"met": answers.met, "inputs": {k: best[f"design.{k}"] for k in ("width", "height")}}
report = run_experiment(Experiment.from_toml("beam.toml"), out="run").report
found["from a file"] = {"met": report.status == "met", "inputs": report.designs[0].inputs}
try:
    InverseDesign("forest", solver="lbfgsb").fit_data(data)
except PluginError as error:
    found["refused"] = str(error)
print(json.dumps(found))
"""
    done = plain.python(code, tmp_path)
    assert done.code == 0, done.err
    found = done.json
    assert "one-plus-one" in solvers_that_can(found.pop("refused"))
    assert found.keys() == {"by name", "as objects", "from a file"}
    best = five[0].json["designs"][0]["inputs"]
    for way, answer in found.items():
        assert answer["met"], way
        assert answer["inputs"] == pytest.approx(best), way


# A surrogate without gradients


def test_a_gradient_solver_is_refused_before_anything_is_trained_or_written(plain: Environment, tmp_path: Path) -> None:
    done = plain.invdesign(
        "run", "--dataset", "cantilever", "--surrogate", "forest", "--solver", "lbfgsb", cwd=tmp_path
    )
    assert done.code == 3
    assert "solver 'lbfgsb' needs gradients, and surrogate 'forest' has none" in done.err
    assert "one-plus-one" in solvers_that_can(done.err)
    assert "lbfgsb" not in solvers_that_can(done.err)
    assert "Traceback" not in done.err
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_surrogate_is_opened_on_request_only(five: tuple[Finished, Path], plain: Environment) -> None:
    cwd = five[1]
    ask = ("solve", "run", "--target", "deflection=3", "--target", "mass<=20", "--json")
    held = ("--fixed", "width=30", "--bounds", "height=50..80")
    refused = plain.invdesign(*ask, cwd=cwd)
    assert refused.code == 4
    assert "unpickling runs code" in refused.err
    assert "--allow-code" in refused.err
    assert "Traceback" not in refused.err

    report = assert_met(plain.invdesign(*ask, *held, "--allow-code", cwd=cwd), deflection=3)
    for design in report["designs"]:
        assert design["inputs"]["width"] == 30
        assert 50 <= design["inputs"]["height"] <= 80

    gradients = plain.invdesign(*ask, "--allow-code", "--solver", "lbfgsb", cwd=cwd)
    assert gradients.code == 3
    assert "one-plus-one" in solvers_that_can(gradients.err)


# Written by `plugins new`


def test_what_plugins_new_writes_installs_is_listed_and_is_used_by_name(wheels: Path, tmp_path: Path) -> None:
    fresh = Environment(tmp_path / "environment", wheels)
    done = fresh.invdesign("plugins", "new", "all", "mine", cwd=tmp_path)
    assert done.code == 0, done.err
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-build-isolation")
    done = fresh._run(fresh.scripts / "python", *pip, tmp_path / "invdesign-mine", cwd=tmp_path, env={})
    assert done.code == 0, done.err
    kinds = ("dataset", "surrogate", "tuner", "objective", "solver")
    theirs = [row for row in listed(fresh, tmp_path)["plugins"] if row["distribution"] == "invdesign-mine"]
    assert {(row["kind"], row["name"]) for row in theirs} == {(kind, f"mine-{kind}") for kind in kinds}
    assert not any(row["warnings"] for row in theirs)
    tests = tmp_path / "invdesign-mine" / "tests"
    suites = ("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "-k", "Dataset or Tuner or Solver")
    done = fresh._run(fresh.scripts / "python", *suites, cwd=tmp_path, env={})
    assert done.code == 0, done.out
    chosen = [item for kind in kinds for item in (f"--{kind}", f"mine-{kind}")]
    done = fresh.invdesign("run", *chosen, "--set", "training.epochs=20", "--json", cwd=tmp_path)
    assert done.code in (0, 1), done.err
    assert set(done.json["distributions"].values()) == {"invdesign-mine 0.1.0"}


def test_the_example_passes_the_kit(plain: Environment, tmp_path: Path) -> None:
    for name in ("cantilever", "few-draws", "pseudo-huber", "one-plus-one", "forest"):
        done = plain.invdesign("plugins", "check", name, cwd=tmp_path)
        assert done.code == 0, done.out


# The examples of the docs


def test_the_examples_are_installed_listed_and_used_together(examples: Environment, tmp_path: Path) -> None:
    rows = [row for row in listed(examples, tmp_path)["plugins"] if row["distribution"] != "invdesign"]
    assert {row["distribution"] for row in rows} == {example.name for example in EXAMPLES}
    assert not any(row["warnings"] for row in rows)
    chosen = ("--dataset", "thin-film", "--tuner", "optuna", "--objective", "likelihood", "--solver", "cma-es")
    quick = ("--surrogate", "ridge", "--set", "dataset.rows=60", "--set", "confidence.model=none")
    done = examples.invdesign("run", *chosen, *quick, "--target", "R550=10", "--json", cwd=tmp_path)
    assert done.code in (0, 1), done.err
    assert done.json["distributions"] == {
        "dataset": "invdesign-thinfilm 0.1.0",
        "tuner": "invdesign-optuna 0.1.0",
        "objective": "invdesign-sbi 0.1.0",
        "solver": "invdesign-cma 0.1.0",
    }
    assert done.json["designs"][0]["truth"]["R550"] > 0


def test_the_examples_pass_their_own_tests(examples: Environment, tmp_path: Path) -> None:
    suites = []
    for example in EXAMPLES:
        suites.append(shutil.copytree(example / "tests", tmp_path / example.name))
    quiet = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path)
    done = examples._run(examples.scripts / "python", *quiet, *suites, cwd=tmp_path, env={})
    assert done.code == 0, done.out


# Mixed with the defaults


def test_example_and_default_plugins_work_together(plain: Environment, tmp_path: Path) -> None:
    network = (
        *("--dataset", "cantilever", "--set", "dataset.rows=300"),
        *("--set", "surrogate.learning_rate=[3e-3, 3e-3]", "--set", "training.epochs=150"),
    )
    solver = ("--solver", "one-plus-one", "--set", "solver.starts=6", "--set", "solver.steps=60")
    first = plain.invdesign("run", *network, *solver, *WANTED, "--out", "run", "--json", cwd=tmp_path)
    report = assert_met(first)
    defaults = {"surrogate": "selu-mlp", "tuner": "grid-search", "objective": "mse"}
    assert report["plugins"] == {"dataset": "cantilever", "solver": "one-plus-one", **defaults}

    # The same network for the default solver, which differentiates the example's objective.
    again = ("--objective", "pseudo-huber", "--solver", "lbfgsb", "--set", "solver.starts=6")
    report = assert_met(plain.invdesign("solve", "run", *WANTED, *again, "--json", cwd=tmp_path))
    assert report["plugins"]["objective"] == "pseudo-huber"
    assert report["plugins"]["solver"] == "lbfgsb"
    assert report["designs"][0]["loss"] < 1e-9


# Two of one name


def test_a_name_taken_twice_matters_only_where_it_is_used(
    five: tuple[Finished, Path], crowded: Environment, tmp_path: Path
) -> None:
    unclear = crowded.invdesign("run", "--solver", "one-plus-one", cwd=tmp_path)
    assert unclear.code == 3
    assert "two plugins are named 'one-plus-one'" in unclear.err
    assert "'invdesign-example:one-plus-one' or 'invdesign-namesake:one-plus-one'" in unclear.err
    assert list(tmp_path.iterdir()) == []

    elsewhere = crowded.invdesign("validate", "--dataset", "cantilever", "--json", cwd=tmp_path)
    assert elsewhere.code == 0, elsewhere.err

    shutil.copytree(five[1] / "run", tmp_path / "run")
    ask = ("solve", "run", *WANTED, "--allow-code", "--json")
    settled = crowded.invdesign(*ask, "--solver", "invdesign-namesake:one-plus-one", cwd=tmp_path)
    report = assert_met(settled)
    assert report["starts"]["unmoved"] == report["starts"]["total"]
    assert "one plus one is two" in settled.err  # what it prints stays out of the JSON
