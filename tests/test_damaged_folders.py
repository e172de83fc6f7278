"""Any file of a saved run, damaged in any way: each reader gives the same answer as before, or names the file."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import called, of_an_earlier_version
from test_target_tables import REGISTRY

from invdesign_core.context import Context
from invdesign_core.errors import RunStoreError
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.pages import write_report
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.runs import compare_runs, list_runs

EXPERIMENT = """
[dataset]
use = "table"
path = "mine.csv"
outputs = ["y", "z"]

[surrogate]
use = "ridge"

[confidence]
model = "none"

[solver]
starts = 4

[truth]
function = "exact:simulate"
"""
SIMULATOR = """
import pandas as pd


def simulate(designs):
    return pd.DataFrame({"y": designs["a"] + 2 * designs["b"], "z": designs["a"] - designs["b"]})
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two folders, each with a run of its own: with a later solve, and with a round; they differ in data and seed."""
    both = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("damaged")
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(rng.random((20, 2)).round(3), columns=["a", "b"])
        frame.assign(y=frame["a"] + 2 * frame["b"], z=frame["a"] - frame["b"]).to_csv(folder / "mine.csv", index=False)
        (folder / "mine.toml").write_text(EXPERIMENT)
        (folder / "exact.py").write_text(SIMULATOR)
        refine = ["refine", "run", "--truth", "--target", "y=9", "--rounds", "1", "--batch", "2", "--budget", "2"]
        for command, code in (
            (["run", "mine.toml", "--target", "y=1.2", "--out", "run", "--seed", seed], 0),
            (["solve", "run", "--target", "y=1"], 0),
            (refine, 1),
        ):
            done = called([*map(str, command), "--quiet"], folder, {})
            assert done.code == code, done.err
        both.append(folder / "run")
    return both


def prepared(run):
    p = prepare(run, registry=REGISTRY, ctx=Context())
    rows = p.model.known
    x = np.array([[0.2, 0.7], [0.9, 0.1]])
    return json.dumps([p.model.surrogate.predict(x).mean.tolist(), rows.x.tolist(), rows.y.tolist(), p.experiment.seed])


def report_of(run, inside=""):
    file = write_report(run / inside, run.parent / "page.html")
    text = file.read_text()
    file.unlink()
    return re.sub(r"invdesign report[^<]*", "", text)


def listed(run):
    runs, others = list_runs(run)
    for one in others:  # which says it, and lists the other runs
        raise RunStoreError(one.why, "look into it")
    return str([replace(one, megabytes=0.0) for one in runs])  # a file that was cut is smaller


READERS = {
    "solve, predict, learn, propose": prepared,
    "report": report_of,
    "report of a later solve": lambda run: report_of(run, "solve/2"),
    "runs list": listed,
    "runs compare": lambda run: json.dumps(compare_runs(run, run).to_json()),
    "refine": lambda run: str(RunFolder(run / "rounds" / "1").read_round()),
}


def flipped(content):
    middle = 2 * len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "cut": lambda content, other: content[: len(content) // 2],
    "empty": lambda content, other: b"",
    "flipped": lambda content, other: flipped(content),
    "exchanged": lambda content, other: other,
}
NOT_READ = ("report.html", "experiment.toml")
"""What is for people alone."""


def files_of(run):
    found = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    return [name for name in found if not name.endswith(NOT_READ)]


def check(two, readers, name, how):
    """Damage a file, ask the readers, and mend the file again."""
    run, other = two
    path = run / name
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[how](whole, (other / name).read_bytes()))
    refused = 0
    try:
        for reader, before in readers.items():
            fault = None
            try:
                assert READERS[reader](run) == before, (name, how, reader)
            except RunStoreError as error:
                fault = error
            refused += fault is not None
            assert fault is None or (path.name in fault.message and fault.hint), (name, how, reader)
    finally:
        path.write_bytes(whole)
    return refused


@pytest.fixture(scope="module")
def answers(two):
    return {reader: ask(two[0]) for reader, ask in READERS.items()}


def test_a_damaged_file_changes_no_answer(two, answers):
    """One damage for each file, and the readers that are quick; the next test takes all of them."""
    names, hows = files_of(two[0]), list(DAMAGES)
    quick = {name: answer for name, answer in answers.items() if "report" not in name}
    refused = sum(check(two, quick, name, hows[i % len(hows)]) for i, name in enumerate(names))
    assert refused > len(names) / 2  # most files are read by somebody


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
def test_no_damage_to_any_file_changes_an_answer_of_any_reader(two, answers, how):
    for name in files_of(two[0]):
        check(two, answers, name, how)


def test_a_damaged_run_among_good_ones_is_named_and_the_others_are_listed(two, tmp_path):
    for name in ("first", "second"):
        shutil.copytree(two[0], tmp_path / name)
    shutil.copytree(two[0], tmp_path / "torn")
    (tmp_path / "torn" / "run.json").write_bytes(flipped((two[0] / "run.json").read_bytes()))
    listed, others = list_runs(tmp_path)
    assert [run.path.name for run in listed] == ["first", "second"]
    assert [(one.path.name, one.why.startswith(f"{tmp_path}/torn/run.json")) for one in others] == [("torn", True)]


@pytest.mark.parametrize("name", ["manifest.json", "solve/2/manifest.json", "rounds/1/manifest.json"])
def test_a_manifest_that_was_taken_away_is_missed(two, tmp_path, name):
    run = shutil.copytree(two[0], tmp_path / "run")
    (run / name).unlink()
    with pytest.raises(RunStoreError, match=r"manifest\.json: the file is missing"):
        prepared(run) if name.startswith("rounds") else report_of(run, "solve/2")


def test_a_run_of_a_version_without_a_manifest_is_read(two, tmp_path):
    run = shutil.copytree(two[0], tmp_path / "run", ignore=shutil.ignore_patterns("rounds"))
    of_an_earlier_version(run)
    assert prepared(run)
    assert report_of(run)
    assert len(list_runs(tmp_path)[0]) == 1
