"""Saved runs are listed, compared and deleted; what is damaged, in use or somebody else's stays."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from conftest import called, of_an_earlier_version
from filelock import FileLock

from invdesign_core.errors import RunStoreError
from invdesign_core.surrogate.sealed import seal
from invdesign_core.workflow.runs import compare_runs, list_runs, remove_run


@pytest.fixture
def runs(saved_run, tmp_path):
    """A folder with two finished runs, of which the second has another seed and another target."""
    folder = tmp_path / "runs"
    for name in ("first", "second"):
        shutil.copytree(saved_run, folder / name)
    path = of_an_earlier_version(folder / "second") / "resolved.json"
    settings = json.loads(path.read_text())
    del settings["sha256"]
    settings["experiment"]["seed"] = settings["trials depend on"]["seed"] = 7
    settings["experiment"]["targets"]["decimal"]["equals"] = 1
    path.write_text(json.dumps(seal(settings)))
    return folder


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_runs_are_listed_with_what_came_of_them(runs, invdesign):
    listed = invdesign("runs", "list", "--json").json
    assert [run["path"] for run in listed["runs"]] == ["runs/first", "runs/second"]
    one = listed["runs"][0]
    assert one["status"] in ("met", "not met")
    assert one["target"] == "decimal = 2"
    solves = len(list((runs / "first" / "solve").iterdir()))
    assert (one["surrogate"], one["solves"], one["rounds"]) == ("selu-mlp", solves, 0)
    assert one["megabytes"] > 0
    assert one["began"] is not None
    shown = invdesign("runs", "list").out
    assert "runs/first" in shown
    assert "decimal = 2" in shown


def test_without_runs_that_is_said(invdesign):
    done = invdesign("runs", "list")
    assert (done.code, done.out) == (0, "there are no runs in the folder runs\n")


def test_what_is_no_run_is_named_with_the_reason(runs):
    (runs / "notes.txt").write_text("mine")
    (runs / "pictures").mkdir()
    (runs / "link").symlink_to(runs / "first", target_is_directory=True)
    shutil.copytree(runs / "first", runs / "torn")
    (runs / "torn" / "run.json").write_text("{")
    shutil.copytree(runs / "first", runs / "changed")
    with (runs / "changed" / "resolved.json").open("a") as file:
        file.write(" {}")
    listed, others = list_runs(runs)
    assert [run.path.name for run in listed] == ["first", "second"]
    why = {other.path.name: other.why for other in others}
    assert set(why) == {"notes.txt", "pictures", "link", "torn", "changed"}
    assert "link" in why["link"]
    assert "resolved.json" in why["pictures"]
    assert "run.json" in why["torn"]
    shown = called(["runs", "list", "."], runs, {}).out
    assert "files, not runs: notes.txt\n" in shown
    assert "pictures is not listed: " in shown


def test_an_unfinished_run_is_listed_as_such(runs):
    (runs / "second" / "run.json").unlink()
    shutil.rmtree(runs / "second" / "surrogate")
    assert {run.path.name: run.status for run in list_runs(runs)[0]}["second"] == "unfinished"
    with FileLock(runs / "second" / ".lock"):
        assert {run.path.name: run.status for run in list_runs(runs)[0]}["second"] == "being written"


def test_two_runs_are_compared_by_settings_errors_and_designs(runs, invdesign):
    found = compare_runs(runs / "first", runs / "second")
    said = {one.setting: (one.first, one.second) for one in found.differences}
    assert said == {"seed": (0, 7), "targets.decimal.equals": (2.0, 1)}
    assert not found.same_rows
    done = invdesign("runs", "compare", "runs/first", "runs/second")
    for word in ("seed", "targets.decimal.equals", "R²", "predicted decimal", "different rows"):
        assert word in done.out
    same = invdesign("runs", "compare", "runs/first", "runs/first", "--json").json
    assert same["differences"] == []
    assert same["same_test_rows"]
    assert same["results"][0]["designs"]


def test_a_run_is_deleted_only_after_yes(runs, invdesign):
    before = files_below(runs / "first")
    done = invdesign("runs", "rm", "runs/first")
    assert done.code == 2
    assert "--yes" in done.err
    assert files_below(runs / "first") == before
    done = invdesign("runs", "rm", "runs/first", "--yes")
    assert (done.code, done.out) == (0, "deleted runs/first\n")
    assert files_below(runs) == ["second", *(f"second/{name}" for name in files_below(runs / "second"))]


def damaged(run):
    (run / "run.json").write_text("{")


def not_ours(run):
    (run / "resolved.json").unlink()


def with_a_file_of_the_users(run):
    (run / "thesis.docx").write_text("all of it")


def a_link(run):
    run.rename(run.with_name("elsewhere"))
    run.symlink_to(run.with_name("elsewhere"), target_is_directory=True)


def a_round(run):
    (run / "round.json").write_text("{}")


@pytest.mark.parametrize("spoil", [damaged, not_ours, with_a_file_of_the_users, a_link, a_round])
def test_what_is_not_surely_a_whole_run_is_never_deleted(runs, invdesign, spoil):
    spoil(runs / "first")
    before = files_below(runs)
    done = invdesign("runs", "rm", "runs/first", "runs/second", "--yes")
    assert done.code == 7
    assert "runs/first" in done.err
    assert done.out == "deleted runs/second\n"  # the other one is fine
    assert files_below(runs) == [name for name in before if not name.startswith("second")]


def test_a_run_that_is_being_written_is_not_deleted(runs):
    before = files_below(runs / "first")
    with FileLock(runs / "first" / ".lock"), pytest.raises(RunStoreError, match="another process"):
        remove_run(runs / "first")
    assert set(files_below(runs / "first")) - {".lock"} == set(before)


def test_what_links_in_a_run_lead_to_stays(runs):
    outside = runs.parent / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    os.symlink(outside, runs / "first" / "plugins")
    remove_run(runs / "first")
    assert (outside / "kept.txt").read_text() == "kept"
    assert not (runs / "first").exists()
