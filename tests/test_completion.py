"""Shells complete commands, plugins, run folders and columns, quickly and without an error in the prompt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

HEAVY = ["keras", "jax", "tensorflow", "pandas"]


@pytest.fixture
def runs(tmp_path):
    """A folder of runs, of which completion reads nothing but the settings."""
    for name in ("first", "second"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        settings = {"trials depend on": {"the inputs": ["flow", "heat"], "the outputs": ["H2"]}}
        (folder / "resolved.json").write_text(json.dumps(settings))
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "mine.toml").write_text('[dataset]\noutputs = ["CO"]\n')
    return tmp_path


@pytest.fixture
def offered(invdesign):
    def complete(line):
        words = line.split(" ")
        env = {"_INVDESIGN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        done = invdesign(env=env)
        assert (done.code, done.err) == (0, "")
        return [item.split(",", 1) for item in done.out.splitlines() if item]

    return complete


def plain(found):
    return [text for kind, text in found if kind == "plain"]


def test_commands_and_options_are_offered(offered):
    assert plain(offered("invdesign run")) == ["run", "runs"]
    assert "--surrogate" in plain(offered("invdesign run --su"))


def test_plugins_are_offered_by_their_kind(offered):
    assert "least-squares" in plain(offered("invdesign run --solver "))
    assert plain(offered("invdesign run --surrogate rid")) == ["ridge"]
    assert "huber" in plain(offered("invdesign plugins show hu"))


@pytest.mark.parametrize("command", ["solve", "learn", "propose", "refine", "report", "runs compare", "runs rm"])
def test_runs_are_offered_where_a_command_takes_one(offered, runs, command):
    assert plain(offered(f"invdesign {command} ")) == ["runs/second", "runs/first"]
    assert plain(offered(f"invdesign {command} runs/f")) == ["runs/first"]
    assert offered(f"invdesign {command} mine")[0][0] == "file"


def test_columns_are_offered_once_the_run_or_the_experiment_is_typed(offered, runs):
    assert plain(offered("invdesign solve runs/first --target ")) == ["H2"]
    assert plain(offered("invdesign solve runs/first --target H2=1 --bounds f")) == ["flow"]
    assert plain(offered("invdesign run mine.toml --target ")) == ["CO"]
    assert plain(offered("invdesign solve --target ")) == []


def test_damage_leaves_the_prompt_alone(offered, runs):
    (runs / "runs" / "first" / "resolved.json").write_text("{")
    assert plain(offered("invdesign solve runs/first --target ")) == []


def test_completing_plugins_loads_no_heavy_package(tmp_path):
    code = (
        "import sys; sys.argv = ['invdesign']\nfrom invdesign_core.cli import main\n"
        f"try: main()\nexcept SystemExit: print([m for m in {HEAVY} if m in sys.modules])"
    )
    env = {"_INVDESIGN_COMPLETE": "bash_complete", "COMP_WORDS": "invdesign run --solver l", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "plain,lbfgsb" in done.stdout


def test_one_command_installs_it_and_another_time_changes_nothing(invdesign, tmp_path):
    home = {"HOME": str(tmp_path / "home"), "SHELL": "/bin/bash", "XDG_DATA_HOME": str(tmp_path / "data")}
    (tmp_path / "home").mkdir()
    start_up = tmp_path / "home" / ".bashrc"
    start_up.write_text("alias l=ls")
    assert invdesign("completion", "--install", env=home).code == 0
    once = start_up.read_text()
    assert once.startswith("alias l=ls\n")
    assert invdesign("completion", "--install", env=home).code == 0
    assert start_up.read_text() == once


def test_the_printed_script_is_that_of_the_shell(invdesign):
    assert "compdef" in invdesign("completion", "zsh").out
    assert "function _invdesign_completion" in invdesign("completion", "fish").out
    done = invdesign("completion", env={"SHELL": "/bin/tcsh"})
    assert done.code == 2
    assert "tcsh" in done.err


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_bash_that_was_installed_into_completes(invdesign, runs, console):
    home = {"HOME": str(runs / "home"), "SHELL": "/bin/bash", "XDG_DATA_HOME": str(runs / "data")}
    (runs / "home").mkdir()
    assert invdesign("completion", "--install", env=home).code == 0
    script = (
        ". ~/.bashrc; COMP_WORDS=(invdesign solve runs/f); COMP_CWORD=2; "
        f"_invdesign_completion {console}; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        cwd=runs,
        env={**os.environ, **home},
        check=True,
    )
    assert done.stdout.strip() == "runs/first"
