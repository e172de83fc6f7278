"""The command line: what it prints, how it exits, and what it refuses before any work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import click
import numpy as np
import pandas as pd
import pytest
from conftest import lin

from invdesign_core.cli.commands import cli

QUICK = ["--set", "training.epochs=30", "--set", "surrogate.learning_rate=[0.01, 0.01]", "--set", "solver.starts=8"]
HEAVY = ["keras", "jax", "tensorflow", "pandas", "sklearn", "matplotlib", "scipy", "keras_tuner", "plotly"]


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (200, 2)), columns=["flow rate", "x-1"])
    frame["H2"] = frame["flow rate"] + frame["x-1"]
    frame["a=b"] = frame["flow rate"] - frame["x-1"]
    frame.to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "fake.parquet").write_text("a,b\n1,2\n")
    (tmp_path / "twice.csv").write_text("a,a,H2,a=b\n" + "1,2,3,4\n" * 9)
    (tmp_path / "mine.toml").write_text('[dataset]\nuse = "table"\npath = "mine.csv"\noutputs = ["H2", "a=b"]\n')
    return frame


@pytest.fixture
def model(tmp_path):
    lin([[1], [1]]).save(tmp_path / "sum.keras")
    return "sum.keras"


@pytest.mark.parametrize(
    "command",
    [
        [],
        *([word] for word in ["run", "solve", "benchmark", "plugins", "validate", "schema", "runs"]),
        ["plugins", "show"],
        ["runs", "rm"],
    ],
)
def test_every_command_has_help_with_an_example(invdesign, command):
    done = invdesign(*command, "--help")
    assert done.code == 0
    assert f"invdesign {' '.join(command)}".rstrip() in done.out
    assert "Example" in done.out


def test_an_option_that_counts_once_is_refused_twice(invdesign):
    def walk(command, *words):
        for name, one in getattr(command, "commands", {}).items():
            yield from walk(one, *words, name)
        yield from ((words, option) for option in command.params if isinstance(option, click.Option))

    tried = 0
    for words, option in walk(cli):
        if not (option.multiple or option.is_flag):
            done = invdesign(*words, option.opts[0], "1", option.opts[0], "2")
            assert (done.code, done.out) == (2, "")
            assert f"{option.opts[0]}: given 2 times, expected once" in done.err
            tried += 1
    assert tried > 50


@pytest.mark.parametrize("command", [["schema"], ["plugins", "list"], ["run", "--help"]])
def test_a_reader_who_goes_away_is_no_failure(console, command):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as pipe:
        done = subprocess.run([console, *command], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", [["--help"], ["plugins", "list"], ["validate", "--no-data"], ["schema"], ["runs", "list"]]
)
def test_light_commands_load_no_heavy_package(tmp_path, command):
    code = (
        f"import sys; sys.argv = ['invdesign', *{command}]\n"
        "from invdesign_core.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('loaded:', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "loaded: []" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "",
        "init",
        "run",
        "solve",
        "predict",
        "benchmark",
        "plugins",
        "plugins list",
        "plugins show",
        "validate",
        "schema",
    ],
)
def test_help_loads_click_and_nothing_else(tmp_path, command):
    code = (
        "import sys; before = set(sys.modules)\n"
        f"sys.argv = ['invdesign', *{command.split()}, '--help']\n"
        "from invdesign_core.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names\n"
        "print('loaded:', sorted(new))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "loaded: ['click', 'invdesign_core']" in done.stdout, done.stdout + done.stderr


def test_importing_the_package_loads_nothing_but_itself(tmp_path):
    code = (
        "import sys; before = set(sys.modules); import invdesign_core\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == "['invdesign_core']", done.stderr


def test_importing_the_core_loads_no_heavy_package(tmp_path):
    code = f"import sys, invdesign_core, invdesign_core.plugin; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_plugins_are_listed_with_who_brings_them(invdesign):
    found = invdesign("plugins", "list", "--json").json
    assert {(p["kind"], p["name"]) for p in found["plugins"]} >= {
        ("dataset", "binary-decimal"),
        ("dataset", "table"),
        ("surrogate", "selu-mlp"),
        ("tuner", "grid-search"),
        ("objective", "mse"),
        ("solver", "lbfgsb"),
    }
    assert all(p["distribution"] and p["version"] and p["summary"] for p in found["plugins"])
    assert "lbfgsb" in invdesign("plugins", "list").out


def test_a_plugin_is_shown_with_every_option(invdesign):
    found = invdesign("plugins", "show", "lbfgsb", "--json").json
    options = {o["name"]: o for o in found["options"]}
    assert options["gradient"]["default"] == '"exact"'
    assert all(o["description"] for o in options.values())
    assert found["needs"] == ["gradient"]
    assert "starts" in invdesign("plugins", "show", "lbfgsb").out


def test_the_schema_accepts_what_the_program_accepts(invdesign):
    schema = invdesign("schema", "--json").json
    assert schema["properties"]["training"]["properties"]["epochs"]["default"] == 2000
    uses = [c["properties"]["use"]["const"] for c in schema["properties"]["dataset"]["anyOf"] if "properties" in c]
    assert uses == ["binary-decimal", "robotic-arm", "sine-wave", "table", "test-function"]
    text = invdesign("schema").out
    assert "[solver]" in text
    assert "plateau_patience" in text
    result = invdesign("schema", "--result", "--json").json
    assert set(result["required"]) >= {"run", "designs", "starts", "surrogate", "seconds"}


def test_validate_says_what_it_understood(invdesign, table):
    found = invdesign("validate", "mine.toml", "--target", "a=b=0.1", "--json").json
    assert found["rows"] == 200
    assert [v["name"] for v in found["variables"]] == ["flow rate", "x-1"]
    assert found["targets"] == {"a=b": "= 0.1"}
    design = ["--constraint", "flow rate + x-1 <= 1.5", "--step", "x-1=0.1", "--target", "H2=max"]
    found = invdesign("validate", "mine.toml", *design, "--json").json
    assert (found["constraints"], found["plugins"]["solver"]) == (["flow rate + x-1 <= 1.5"], "slsqp")
    assert found["variables"][1]["values"].endswith("by 0.1")
    done = invdesign("validate", "mine.toml")
    assert done.code == 0
    assert "input  flow rate: continuous" in done.out


def test_a_model_of_the_users_own_is_inverted(invdesign, model):
    done = invdesign("solve", model, "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--target", "1.3", "--json")
    assert done.code == 0, done.err
    best = done.json["designs"][0]
    assert sum(best["inputs"].values()) == pytest.approx(1.3, abs=1e-3)
    assert best["met"] == {"y": True}
    assert done.json["run"] is None


def test_bounds_and_names_can_come_from_a_table(invdesign, model, table):
    done = invdesign("solve", model, "--table", "mine.csv", "--inputs", "flow rate,x-1", "--outputs", "H2", "--target",
                     "H2=1.2", "--fixed", "x-1=0.5", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["designs"][0]["inputs"] == pytest.approx({"flow rate": 0.7, "x-1": 0.5}, abs=1e-3)


def test_a_target_out_of_reach_exits_with_1_and_the_nearest_design(invdesign, tmp_path):
    lin([[1], [1]], act="tanh").save(tmp_path / "tanh.keras")
    args = ["solve", "tanh.keras", "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--target", "5"]
    done = invdesign(*args, "--json")
    assert done.code == 1
    best = done.json["designs"][0]
    assert best["inputs"] == {"x1": 1.0, "x2": 1.0}
    assert best["miss"]["y"] == pytest.approx(-4.0360, abs=1e-4)
    shown = invdesign(*args, "--outputs", "bending strength", "--quiet")
    assert "│ misses by 4.036 │" in shown.out
    assert shown.err == ""


MISTAKES = [
    (["init", ".", "--outputs", "H2"], 4, "found a folder"),
    (["run", "mine.csv"], 2, "invdesign init mine.csv"),
    (["run", "."], 2, "this is a folder"),
    (["init", "none.csv", "--outputs", "H2"], 4, "no such file"),
    (["init", "mine.csv", "--outputs", "H3"], 4, "did you mean 'H2'?"),
    (["init", "mine.csv", "--outputs", "H2"], 7, "already exists"),
    (["run", "mine.toml", "--target", "H2=inf"], 2, "expected a finite number"),
    (
        ["run", "mine.toml", "--set", 'design.fixed."x-1"=2', "--set", 'design.bounds."x-1"=[0, 1]'],
        2,
        "outside its bounds",
    ),
    (["run", "mine.toml", "--out", "/proc/none"], 7, "can't be written"),
    (["run", "mine.toml", "--set", "dataset.path=mine.toml"], 4, "mine.toml"),
    (["run", "mine.toml", "--set", "dataset.path=fake.parquet"], 4, "fake.parquet"),
    (["run", "mine.toml", "--set", "dataset.path=twice.csv"], 4, "twice"),
    (["solve", "sum.keras", "--bounds", "x1=1..0", "--bounds", "x2=0..1", "--target", "1"], 2, "above the upper end"),
    (
        ["solve", "sum.keras", "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--fixed", "x1=2", "--target", "1"],
        2,
        "outside",
    ),
    (["run", "nowhere.toml"], 2, "no such file"),
    (["run", "--set", "solver.start=3"], 2, "did you mean 'starts'?"),
    (["run", "--solver", "lbfgs"], 3, "did you mean 'lbfgsb'?"),
    (["run", "--dataset", "tabel"], 3, "did you mean 'table'?"),
    (["run", "--dataset", "table"], 2, "name a file"),
    (["run", "--frobnicate"], 2, "No such option"),
    (["run", "mine.toml", "--target", "H3=1"], 2, "did you mean 'H2'?"),
    (["run", "mine.toml", "--target", "1"], 2, "there are 2 outputs; name the one"),
    (["run", "mine.toml", "--target", "H2=high"], 2, "expected a number"),
    (["run", "mine.toml", "--set", "dataset.path=none.csv"], 4, "no such file"),
    (["run", "mine.toml", "--set", 'dataset.outputs=["H3"]'], 4, "did you mean 'H2'?"),
    (["run", "mine.toml", "--set", 'design.bounds."flow rate"=[1, 0]'], 2, "lower bound 1 is above the upper bound 0"),
    (["run", "mine.toml", "--set", "design.fixed.flow=1"], 2, "did you mean 'flow rate'?"),
    (["run", "mine.toml", "--set", "tuner.objective=val_acc"], 2, "no metric reports"),
    (["run", "mine.toml", "--out", "mine.csv"], 7, "this is a file"),
    (["run", "mine.toml", "--out", "."], 7, "not empty"),
    (["run", "mine.toml", "--out", "new", "--resume"], 7, "no run to resume"),
    (["solve", "sum.keras", "--set", "solver=lbfgs", "--target", "1"], 3, "did you mean 'lbfgsb'?"),
    (["solve", "sum.keras", "--set", "design=3", "--target", "1"], 2, "write design.KEY=VALUE"),
    (["solve", "nothing.keras", "--target", "1"], 4, "no such run or model"),
    (["solve", "mine.csv", "--target", "1"], 4, "not a Keras model"),
    (["solve", ".", "--target", "1"], 7, "not a run folder"),
    (["solve", "sum.keras", "--target", "1"], 2, "no bounds are known for 'x1', 'x2'"),
    (["solve", "sum.keras", "--bounds", "x1=0..1", "--bounds", "x2=0..1"], 2, "no target is given"),
    (["solve", "sum.keras", "--bounds", "x3=0..1", "--target", "1"], 2, "did you mean 'x"),
    (["solve", "sum.keras", "--bounds", "x1=1", "--target", "1"], 2, "expected LOW..HIGH"),
    (["solve", "sum.keras", "--set", "training.epochs=3", "--target", "1"], 2, "a solve trains nothing"),
    (["propose", "sum.keras", "--set", "training.epochs=3"], 2, "no surrogate is trained"),
    (["propose", "sum.keras", "--set", "dataset.decimal=,"], 2, "--set dataset: no surrogate is trained"),
    (["learn", "sum.keras", "t.csv", "--set", "tuner.objective=val_mae"], 2, "a run is trained on by its own settings"),
    (["refine", "sum.keras", "--budget", "3", "--set", "training.epochs=3"], 2, "trained on by its own settings"),
    (["plugins", "show", "lbfgs"], 3, "did you mean 'lbfgsb'?"),
    (["validate", "mine.toml", "--target", "H2=1e"], 2, "expected a number"),
]


@pytest.mark.parametrize(("args", "code", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_a_mistake_is_named_and_nothing_is_left_behind(invdesign, table, model, tmp_path, args, code, message):
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    done = invdesign(*args)
    assert done.code == code, done.err
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_from_table_to_designs_and_another_target(invdesign, table, tmp_path):
    done = invdesign("run", "mine.toml", "--target", "H2=1.2", "--target", "a=b=0.2", "--out", "out", *QUICK, "--json")
    assert done.code == 0, done.err
    report = done.json
    assert report["designs"][0]["inputs"] == pytest.approx({"flow rate": 0.7, "x-1": 0.5}, abs=0.05)
    assert set(report["surrogate"]["test"]) == {"H2", "a=b"}
    assert set(report["seconds"]) == {
        "import",
        "load",
        "race",
        "tune",
        "train",
        "compile",
        "solve",
        "simulate",
        "total",
    }
    assert report == json.loads((tmp_path / "out" / "run.json").read_text())
    starts = pd.read_parquet(tmp_path / "out" / "solve" / "1" / "starts.parquet")
    assert len(starts) == report["starts"]["total"] == 8
    assert {"guess.flow rate", "design.flow rate", "prediction.H2", "loss", "hit", "message", "evaluations"} <= set(
        starts
    )
    again = invdesign("solve", "out", "--target", "H2=1.0", "--bounds", "x-1=0..0.3", "--json")
    assert again.code == 0, again.err
    inputs = again.json["designs"][0]["inputs"]
    assert sum(inputs.values()) == pytest.approx(1.0, abs=0.05)
    assert inputs["x-1"] <= 0.3
    assert again.json["surrogate"]["test"] == report["surrogate"]["test"]
    assert (tmp_path / "out" / "solve" / "2" / "designs.csv").exists()


@pytest.mark.slow
def test_without_a_target_the_run_says_how_to_ask(invdesign, table, tmp_path):
    table[["flow rate", "x-1"]].to_parquet(tmp_path / "features.parquet")
    table[["H2"]].to_parquet(tmp_path / "targets.parquet")
    done = invdesign("run", *QUICK)
    assert done.code == 0, done.err
    assert "no target was given" in done.out
    assert "invdesign solve runs/" in done.err
    assert "--target H2=VALUE" in done.err
    assert "H2" in done.out


@pytest.mark.long
def test_two_runs_with_one_seed_print_the_same_and_another_seed_does_not(invdesign, invdesign_process):
    ask = ("run", "--target", "3", *QUICK, "--seed")
    first, again, other = invdesign(*ask, "5"), invdesign_process(*ask, "5"), invdesign(*ask, "6")
    assert first.out == again.out
    assert first.out != other.out
    assert "designs for decimal = 3" in first.out


@pytest.mark.long
def test_an_interrupted_run_is_resumed(console, tmp_path, invdesign):
    import signal

    long = ["--set", "training.early_stopping=false", "--set", "training.epochs=1200"]
    args = [*long, "--out", "out"]
    running = subprocess.Popen(
        [console, "run", *args], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "resolved.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    refused = invdesign("run", "--out", "out", *long)
    assert refused.code == 7
    assert "--resume" in refused.err
    changed = invdesign("run", "--out", "out", "--resume", *long, "--set", "training.batch_size=64")
    assert changed.code == 7
    assert "training.batch_size was 32, now 64" in changed.err
    done = invdesign("run", "--out", "out", "--resume", *long)
    assert done.code in (0, 1), done.err
    assert (tmp_path / "out" / "run.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("tensorflow", marks=pytest.mark.long)])
def test_stdout_holds_the_result_only_on_either_backend(invdesign_process, backend):
    done = invdesign_process("run", "--backend", backend, *QUICK, "--set", "training.batch_size=200", "--json")
    assert done.code in (0, 1), done.err
    assert done.json["backend"] == backend
    assert "I0000" not in done.err
    assert "tensorflow" not in done.err.lower() or backend == "tensorflow"


@pytest.mark.long
def test_a_surrogate_trained_on_one_backend_is_solved_on_the_other(invdesign):
    assert invdesign("run", "--out", "out", *QUICK, "--set", "training.epochs=100").code in (0, 1)
    on = {b: invdesign("solve", "out", "--backend", b, "--target", "1", "--json") for b in ("jax", "tensorflow")}
    losses = [on[b].json["designs"][0]["loss"] for b in on]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_what_keras_imports_unasked_is_hidden_while_keras_is_imported_and_no_longer(monkeypatch):
    from invdesign_core.cli.session import _without

    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with _without("colorsys", "json"):
        with pytest.raises(ImportError):
            import colorsys
        assert sys.modules["json"] is not None, "what somebody has imported stays"
    import colorsys

    assert colorsys.rgb_to_hls
