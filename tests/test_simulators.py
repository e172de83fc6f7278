"""Simulators beside a table: a function or a program judges the designs that are shown, each once, whatever it does."""

from __future__ import annotations

import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import invert, invert_many, lin

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError, RunStoreError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.truth.kept import LOG, Entry, KeptDesigns
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.truth.simulator import HOPELESS, as_truth, find, simulator_of

REGISTRY = Registry.discover()
DESIGNS = pd.DataFrame({"x": [0.1, 0.2, 0.3, 0.4], "glass": ["A", "B", "A", "B"]})
SIMULATE = """
import csv, os, sys, time

x = [float(row["x"]) for row in csv.DictReader(open(sys.argv[1]))]
{body}
with open(sys.argv[2], "w") as file:
    file.write("y\\n" + "".join(f"{{10 * value}}\\n" for value in x))
"""


class Counted:
    """y = 10 x, and every table that it was asked about."""

    def __init__(self, fails=lambda frame: False):
        self.asked, self.fails = [], fails

    def __call__(self, frame):
        self.asked.append(frame["x"].tolist())
        if self.fails(frame):
            raise ValueError(f"no solution for {frame['x'].tolist()}")
        return pd.DataFrame({"y": 10 * frame["x"]})


def program(folder, body="", **options):
    """Return the simulator of a program written in Python, which runs `body` between reading and writing."""
    script = folder / "simulate.py"
    script.write_text(SIMULATE.format(body=textwrap.dedent(body)))
    settings = TruthSettings(command=["{python}", "simulate.py", "{input}", "{output}"], **options)
    return simulator_of(settings, find(settings, folder), folder / "truth")


def alive(process):
    """Whether a process is still there after a while, and no zombie that nobody waited for."""
    for _ in range(100):
        try:
            if (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.05)
    return True


def y_of(said):
    return said.y[:, 0].tolist()


# Designs are simulated once, in batches


def test_what_was_simulated_is_known_by_its_values():
    function = Counted()
    truth = as_truth(function)
    first = truth.evaluate(DESIGNS.iloc[[0, 1, 0]], ["y"], Context())
    assert (y_of(first), function.asked) == ([1, 2, 1], [[0.1, 0.2]])
    assert first.tally.simulated == 2
    second = truth.evaluate(DESIGNS, ["y"], Context())
    assert function.asked[1:] == [[0.3, 0.4]]
    assert (second.tally.designs, second.tally.simulated, second.tally.known) == (4, 2, 2)
    other = truth.evaluate(DESIGNS.iloc[:1].assign(glass="B"), ["y"], Context())
    assert other.tally.known == 0, "another label is another design"


@pytest.mark.parametrize(("batch", "calls"), [(None, [4]), (1, [1, 1, 1, 1]), (3, [3, 1])])
def test_a_call_has_at_most_the_designs_of_a_batch(batch, calls, tmp_path, monkeypatch):
    (tmp_path / "counting.py").write_text(
        "sizes = []\ndef simulate(frame):\n    sizes.append(len(frame))\n    return frame.assign(y=10 * frame['x'])\n"
    )
    settings = TruthSettings(function="counting:simulate", batch=batch)
    caller = find(settings, tmp_path)
    said = simulator_of(settings, caller).evaluate(DESIGNS, ["y"], Context())
    assert y_of(said) == pytest.approx([1, 2, 3, 4])
    assert caller.call.__globals__["sizes"] == calls
    assert said.tally.calls == len(calls)


def test_what_is_kept_is_found_by_another_process_and_not_after_the_simulator_changed(tmp_path):
    said = program(tmp_path).evaluate(DESIGNS, ["y"], Context())
    again = program(tmp_path).evaluate(DESIGNS, ["y"], Context())
    assert (again.tally.known, again.tally.calls, y_of(again)) == (4, 0, y_of(said))
    changed = program(tmp_path, "# another model").evaluate(DESIGNS, ["y"], Context())
    assert (changed.tally.known, changed.tally.calls) == (0, 1)


def test_a_function_whose_file_was_changed_since_it_was_imported_is_refused(tmp_path):
    settings, file = TruthSettings(function="edited:simulate"), tmp_path / "edited.py"
    file.write_text("def simulate(frame):\n    return frame\n")
    find(settings, tmp_path)
    file.write_text("def simulate(frame):\n    return 2 * frame\n")
    with pytest.raises(ConfigError, match="was changed since it was imported"):
        find(settings, tmp_path)


def test_outputs_that_nobody_asks_for_may_be_left_out():
    two = Surrogate.of_model(lin([[1, 2], [1, 0]]), SPACE, ("y", "z"))
    found = invert(two, parse_targets(["y=1"], ("y", "z")), SPACE, *PLUGINS, Context(), truth=off)
    assert found.designs["truth.z"].isna().all()
    assert (set(found.designs["failed"]), found.simulated.failed) == ({""}, 0)


def test_a_line_that_was_changed_is_refused_and_half_a_line_is_cut_off(tmp_path):
    design = {"n": 1, "x": 0.1 + 0.2, "label": "010"}
    KeptDesigns(tmp_path, "one").add([design], [Entry({"y": 1.5, "z": np.nan}, "z is empty")])
    with (tmp_path / LOG).open("a") as file:
        file.write('{"truth": "one", "des')
    found = KeptDesigns(tmp_path, "one").find({"n": 1.0, "x": 0.30000000000000004, "label": "010"}, ["y"])
    assert (found.outputs["y"], found.failed) == (1.5, "z is empty")
    assert KeptDesigns(tmp_path, "one").find({**design, "label": 10}, ["y"]) is None
    assert KeptDesigns(tmp_path, "two").find(design, ["y"]) is None
    (tmp_path / LOG).write_text((tmp_path / LOG).read_text().replace("1.5", "9.5"))
    with pytest.raises(RunStoreError, match=r"simulated.jsonl, line 1: .*it was changed"):
        KeptDesigns(tmp_path, "one")


# Failures are facts about designs


def test_a_design_that_fails_costs_no_other_and_says_why():
    function = Counted(lambda frame: (frame["x"] == 0.2).any())
    said = as_truth(function).evaluate(DESIGNS, ["y"], Context())
    assert y_of(said) == pytest.approx([1, np.nan, 3, 4], nan_ok=True)
    assert [why.partition(" (")[0] for why in said.failed] == ["", "ValueError: no solution for [0.2]", "", ""]
    assert (said.tally.failed, said.tally.simulated) == (1, 4)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit('diverged at step 3')", "exit code 1: diverged at step 3"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("os._exit(0)", "it wrote no output file"),
        ("x = [1 / 0]", "exit code 1: ZeroDivisionError: division by zero"),
        ("x = []", "it gave 0 rows, expected 1 row"),
        ("x = [float('nan')]", "y is empty"),
        ("open(sys.argv[2], 'w').write('y,failed\\n-,no mesh\\n'); os._exit(0)", "no mesh"),
        ("open(sys.argv[2], 'w').write('z\\n1\\n'); os._exit(0)", "it gave the columns ['z'], expected each of ['y']"),
        ("open(sys.argv[2], 'w').write('y,z\\n1\\n'); os._exit(0)", "row 1 of its output has 1 cells, expected 2"),
    ],
)
def test_whatever_a_program_does_is_the_reason_why_its_design_has_no_outputs(body, why, tmp_path):
    said = program(tmp_path, body).evaluate(DESIGNS[:1], ["y"], Context())
    assert np.isnan(said.y).all()
    assert said.failed[0].startswith(why)


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_began(tmp_path):
    body = """
        import subprocess
        if x == [0.2]:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            open("child", "w").write(str(child.pid))
            time.sleep(60)
        """
    began = time.monotonic()
    said = program(tmp_path, body, timeout=2, parallel=2, batch=1).evaluate(DESIGNS[:2], ["y"], Context())
    assert time.monotonic() - began < 30
    assert said.failed[0] == ""
    assert said.failed[1].startswith("it took more than 2 s")
    assert not alive(int((tmp_path / "child").read_text()))


def test_a_design_that_failed_is_simulated_again_as_often_as_asked(tmp_path):
    body = """
        tries = sum(name.isdecimal() for name in os.listdir("truth"))
        if tries < 4:
            sys.exit(f"no licence at try {tries}")
        """
    said = program(tmp_path, body, retries=1).evaluate(DESIGNS[:1], ["y"], Context())
    assert (said.failed[0][:36], said.tally.calls) == ("exit code 1: no licence at try 2 (" + str(tmp_path)[:2], 2)
    said = program(tmp_path, body, retries=1).evaluate(DESIGNS[:1], ["y"], Context())
    assert (y_of(said), said.tally.calls) == ([1], 2), "what failed is tried again by the next command"


@pytest.mark.parametrize("batch", [None, 1, 7])
def test_a_simulator_that_never_gives_anything_is_not_called_for_ever(batch):
    calls = []

    def broken(designs):
        calls.append(len(designs))
        raise RuntimeError("no licence")

    events = []
    designs = pd.DataFrame({"a": np.arange(500.0)})
    said = replace(as_truth(broken), batch=batch).evaluate(designs, ["y"], Context(emit=events.append))
    assert len(calls) == HOPELESS
    assert all("no licence" in why for why in said.failed)
    assert sum("not simulated" in why for why in said.failed) >= 500 - HOPELESS
    assert [event for event in events if event.kind == "warning" and "were not simulated" in event.data["text"]]


def test_a_simulator_that_gave_something_once_is_called_for_all():
    def seldom(designs):
        if designs["a"].max() > 0:
            raise RuntimeError("it did not converge")
        return pd.DataFrame({"y": designs["a"]})

    said = replace(as_truth(seldom), batch=1).evaluate(pd.DataFrame({"a": np.arange(200.0)}), ["y"], Context())
    assert said.tally.calls == 200
    assert np.isfinite(said.y).sum() == 1


def test_calls_run_at_the_same_time_each_in_a_folder_of_its_own(tmp_path):
    body = """
        own = os.path.dirname(sys.argv[1])
        open(os.path.join(own, "here"), "w").close()
        print("said", file=sys.stderr)
        others = [os.path.join("truth", name, "here") for name in "12"]
        for _ in range(200):
            if all(map(os.path.exists, others)):
                break
            time.sleep(0.05)
        else:
            sys.exit("nobody else runs")
        """
    said = program(tmp_path, body, parallel=2).evaluate(DESIGNS, ["y"], Context())
    assert (y_of(said), said.tally.calls) == ([1, 2, 3, 4], 2)
    assert (tmp_path / "truth" / "2" / "stderr.txt").read_text() == "said\n"
    assert pd.read_csv(tmp_path / "truth" / "2" / "input.csv").equals(DESIGNS[2:].reset_index(drop=True))


def test_ctrl_c_ends_the_programs_and_keeps_what_is_done(tmp_path):
    ctx = Context()
    body = "time.sleep(60 if x[0] > 0.15 else 0)"
    truth = program(tmp_path, body, parallel=2, batch=1)
    threading.Timer(1.5, ctx.stop.set).start()
    began = time.monotonic()
    said = truth.evaluate(DESIGNS[:3], ["y"], ctx)
    assert time.monotonic() - began < 20
    assert said.interrupted
    assert (y_of(said)[0], said.failed) == (1, ("", "interrupted", "interrupted"))
    assert program(tmp_path, body).evaluate(DESIGNS[:1], ["y"], Context()).tally.known == 1


# What can't be used is refused before any training


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"command": "./simulate {input} {output}"}, 'expected a list of the program and its arguments: ["./simulate"'),
        ({"command": ["./simulate", "{input}"]}, "with {output} in them"),
        ({"function": "./simulate.py:run"}, "expected 'module:function', such as 'simulate:run'"),
        ({"function": "a:b", "command": ["c", "{input}", "{output}"]}, "expected one of them"),
        ({"function": "a:b", "timeout": 3}, "found 'timeout' beside 'function'"),
        ({"retries": 3}, "found 'retries', and neither 'function' nor 'command'"),
        ({"comand": []}, "there is no option 'comand'"),
    ],
)
def test_a_section_that_cant_be_meant_is_refused(section, said):
    from invdesign_core.workflow.experiment import Experiment

    with pytest.raises(ConfigError) as error:
        Experiment.from_mapping({"truth": section})
    assert said in error.value.message
    assert "[truth]" in error.value.message


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"command": ["./simulat", "{input}", "{output}"]}, "'./simulat': there is no such file"),
        ({"command": ["./plain", "{input}", "{output}"]}, "'./plain': the file can't be executed"),
        ({"command": ["no-such-program", "{input}", "{output}"]}, "there is no such program on the PATH"),
        ({"function": "sim:simulat"}, "there is no 'simulat' in"),
        ({"function": "sim:NUMBER"}, "'sim:NUMBER' is 3, expected a function"),
        ({"function": "simm:simulate"}, "there is no module 'simm'"),
    ],
)
def test_what_is_not_there_is_refused(section, said, tmp_path):
    (tmp_path / "sim.py").write_text("NUMBER = 3\ndef simulate(frame):\n    return frame\n")
    (tmp_path / "plain").write_text("")
    with pytest.raises(ConfigError) as error:
        find(TruthSettings(**section), tmp_path)
    assert said in error.value.message


# The truth decides what is met, and the order


SPACE = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
SURROGATE = Surrogate.of_model(lin([[1], [1]]), SPACE, ("y",))
PLUGINS = REGISTRY.create("objective", "mse", {}), REGISTRY.create("solver", "least-squares", {"starts": 16})


def off(frame):
    """A truth that is right where x1 is 0.4, and the more off the farther away."""
    return pd.DataFrame({"y": frame["x1"] + frame["x2"] + abs(frame["x1"] - 0.4)})


def asked(target, truth=off, designs=5):
    return invert(SURROGATE, parse_targets([target], ("y",)), SPACE, *PLUGINS, Context(), truth=truth, designs=designs)


def test_only_designs_that_are_shown_are_simulated():
    tables = []
    found = asked("1", lambda frame: off(frame).assign(n=tables.append(frame)))
    assert [len(frame) for frame in tables] == [len(found.designs)] == [5]
    assert len(found.starts) > 5
    assert not any(column.startswith("truth.") for column in found.starts)


def test_the_truth_decides_what_is_met_and_the_order():
    designs = asked("y=1 tolerance 0.3").designs
    assert designs["met"].tolist() == (abs(designs["truth.y"] - 1) <= 0.3).tolist()
    assert designs["met"].tolist() == sorted(designs["met"], reverse=True), "those that meet it come first"
    misses = abs(designs["truth.y"] - 1)
    assert misses.is_monotonic_increasing
    assert designs["rank"].tolist() == [1, 2, 3, 4, 5]
    assert designs["miss.y"].to_numpy() == pytest.approx(designs["truth.y"] - 1)
    assert designs["difference.y"].to_numpy() == pytest.approx(designs["prediction.y"] - designs["truth.y"])
    most = asked("max", lambda frame: pd.DataFrame({"y": -(frame["x1"] + frame["x2"])})).designs
    assert most["truth.y"].is_monotonic_decreasing


def test_a_design_that_could_not_be_simulated_is_shown_last_and_says_why():
    def sometimes(frame):
        if (frame["x1"] < 0.5).any():
            raise RuntimeError("no mesh")
        return off(frame)

    found = asked("y=1 tolerance 0.9", sometimes)
    designs = found.designs
    assert designs["truth.y"].isna().tolist() == sorted(designs["truth.y"].isna())
    assert designs["failed"].str.startswith("RuntimeError: no mesh").tolist() == designs["truth.y"].isna().tolist()
    assert designs["met"].tolist() == designs["truth.y"].notna().tolist()
    assert found.simulated.failed == designs["truth.y"].isna().sum() > 0


def test_each_target_of_a_table_is_ordered_by_itself():
    wanted = pd.DataFrame({"y": [0.5, 1.0, 1.5]})
    designs = pd.concat(
        found.designs.assign(target=found.designs["target"] + first)
        for first, found in invert_many(SURROGATE, wanted, SPACE, *PLUGINS, Context(), truth=as_truth(off), designs=3)
    )
    for number, group in designs.groupby("target"):
        assert abs(group["truth.y"] - wanted["y"][number]).is_monotonic_increasing
        assert group["rank"].tolist() == [1, 2, 3]
