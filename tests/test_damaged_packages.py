"""Somebody else's package may be damaged, or call its plugin like ours: neither stops who doesn't ask for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
from pydantic import Field

from invdesign_core.cli.listing import experiment_schema
from invdesign_core.errors import PluginError, damaged, identity
from invdesign_core.plugin import KINDS, Dataset, Objective
from invdesign_core.registry import Entry, Provider, Registry, schema_of
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment

NAMED = b"Metadata-Version: 2.1\nName: leftover\nVersion: 1.0\n"
POINT = b"[invdesign]\nx = leftover_mod\n"
DAMAGES = {
    "no METADATA": {"entry_points.txt": POINT},
    "METADATA without a name": {"entry_points.txt": POINT, "METADATA": b"Metadata-Version: 2.1\nVersion: 1.0\n"},
    "METADATA in Latin-1": {"entry_points.txt": POINT, "METADATA": NAMED + b"Summary: caf\xe9\n"},
    "a line without =": {"entry_points.txt": POINT + b"y\n", "METADATA": NAMED},
    "a line without =, not for us": {"entry_points.txt": b"[console_scripts]\ny\n", "METADATA": NAMED},
    "Latin-1": {"entry_points.txt": b"[invdesign]\nx = caf\xe9\n", "METADATA": NAMED},
    "a missing module": {"entry_points.txt": POINT, "METADATA": NAMED},
}


def install(folder, files):
    (folder / "leftover-1.0.dist-info").mkdir()
    for name, content in files.items():
        (folder / "leftover-1.0.dist-info" / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("files", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_package_costs_its_own_line_only(files, tmp_path, monkeypatch):
    sound = Registry.discover()
    monkeypatch.syspath_prepend(str(install(tmp_path, files)))
    found = Registry.discover()
    assert [e.plugin for e in found.entries] == [e.plugin for e in sound.entries]
    (line,) = found.broken
    assert (line.distribution, line.version) == ("leftover", "1.0")
    assert line.error


def test_models_of_plugins_are_read_beside_a_package_whose_list_of_files_is_damaged(tmp_path, monkeypatch):
    from invdesign_core.surrogate.keras_file import _packages_of_plugins

    files = {"entry_points.txt": POINT, "METADATA": NAMED, "RECORD": b"\n"}
    monkeypatch.syspath_prepend(str(install(tmp_path, files)))
    assert {"leftover_mod", "invdesign_plugins"} <= _packages_of_plugins()


@pytest.mark.parametrize("name", ["a line without =, not for us", "Latin-1"])
def test_a_list_of_entry_points_that_stops_pydantic_is_named(name, tmp_path, console):
    env = {**os.environ, "PYTHONPATH": str(install(tmp_path, DAMAGES[name]))}
    done = subprocess.run([console, "plugins", "list"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "the installed package leftover is damaged" in done.stderr
    assert "entry_points.txt" in done.stderr
    assert "Bug" not in done.stderr and "Traceback" not in done.stderr  # noqa: PT018


def test_python_names_it_too(tmp_path):
    folder = install(tmp_path, DAMAGES["Latin-1"])
    code = "import invdesign_core; invdesign_core.Experiment()"
    env = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "PluginError: the installed package leftover is damaged" in done.stderr


def test_a_sound_environment_has_no_damaged_package():
    assert damaged() == []
    assert identity(None) == ("unknown", "unknown")


class Thing(Objective):
    """A thing."""

    name: ClassVar[str] = "mse"

    def loss(self, z, goal):
        raise AssertionError("nobody asked for it")


OURS = Registry.discover()
NAMESAKES = {
    kind: type("Other", (base,), {"name": name, "__doc__": "Another one.", "__annotations__": {"name": ClassVar[str]}})
    for kind, base, name in [
        ("dataset", KINDS["dataset"], "binary-decimal"),
        ("surrogate", KINDS["surrogate"], "selu-mlp"),
        ("tuner", KINDS["tuner"], "grid-search"),
        ("solver", KINDS["solver"], "lbfgsb"),
    ]
} | {"objective": Thing}
CLASH = Registry([*OURS.entries, *(Entry(p, Provider("My_Plugin.Pack", "1.0", "x")) for p in NAMESAKES.values())])


@pytest.mark.parametrize("given", [{}, {"objective": {}}, {"surrogate": {"widths": [8]}}, {"solver": {"starts": 3}}])
def test_who_names_no_plugin_gets_ours_whoever_shares_its_name(given):
    stages = Experiment(**given).stages(CLASH)
    ours = Experiment(**given).stages(OURS)
    assert {k: type(v) for k, v in stages} == {k: type(v) for k, v in ours}


@pytest.mark.parametrize("kind", ["dataset", "surrogate", "tuner", "objective"])
def test_who_writes_a_shared_name_is_asked_which(kind):
    name = NAMESAKES[kind].name
    for given in (name, {"use": name}):
        with pytest.raises(PluginError, match=f"two plugins are named '{name}'"):
            Experiment(**{kind: given}).stages(CLASH)
    chosen = Experiment(**{kind: f"invdesign:{name}"}).stages(CLASH)
    assert type(getattr(chosen, kind)) is OURS.find(name, kind).plugin


def test_in_python_the_defaults_are_ours_and_a_shared_name_is_asked_about():
    for kind in ("objective", "surrogate", "tuner"):
        found, ours = (InverseDesign()._plugin(kind, registry) for registry in (CLASH, OURS))
        assert type(found) is type(ours)
    with pytest.raises(PluginError, match="two plugins are named 'mse'"):
        InverseDesign(objective="mse")._plugin("objective", CLASH)
    assert type(InverseDesign(objective="my-plugin-pack:mse")._plugin("objective", CLASH)) is Thing


def test_auto_chooses_the_same_solver_where_another_shares_its_name():
    assert type(Experiment().stages(CLASH).solver) is type(Experiment().stages(OURS).solver)


def test_a_saved_run_keeps_the_plugins_that_it_ran_with(saved_run):
    from invdesign_core.workflow.load import prepare

    prepared = prepare(saved_run, registry=CLASH)
    assert type(prepared.objective) is OURS.find("mse", "objective").plugin
    assert prepared.model.truth is not None


def test_the_schema_lists_both_by_the_names_that_pick_them():
    schema = experiment_schema(CLASH)
    assert schema["properties"]["objective"]["anyOf"][-1]["enum"].count("mse") == 0
    assert {"invdesign:mse", "My_Plugin.Pack:mse"} <= set(schema["properties"]["objective"]["anyOf"][-1]["enum"])


def test_options_of_types_that_json_lacks_do_not_stop_the_schema():
    class Strange(Dataset):
        """Strange."""

        name: ClassVar[str] = "strange"
        array: np.ndarray = Field(description="Numbers.")

    assert schema_of(Strange)["properties"] == {"array": {"description": "Numbers."}}
    registry = Registry([*OURS.entries, Entry(Strange, Provider("strange", "1", "x"))])
    assert "strange" in json.dumps(experiment_schema(registry))
