"""A full disk, a reader who went away, a stream that was never there: no bug, no lost answer, the right exit code."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import lin

from invdesign_core.cli import output
from invdesign_core.cli.run import finish
from invdesign_core.context import Context, Note
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.files.atomic import write_text
from invdesign_core.errors import InvdesignError, RunStoreError, writing
from invdesign_core.plugin import Trial, TrialResult
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trials import TrialTable
from invdesign_core.workflow.chunks import ChunkedTable
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.result import UnsavedError
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solve import solve_one, solve_table

resource = pytest.importorskip("resource", reason="the system has no limit on the size of files")


@contextmanager
def full(room=0):
    """Let no file grow beyond some bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def surrogate():
    space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
    return Surrogate.of_model(lin([[1], [1]]), space, ("y",))


@pytest.fixture
def run_copy(saved_run, tmp_path):
    return Path(shutil.copytree(saved_run, tmp_path / "run"))


FRAME = pd.DataFrame({"a": np.arange(99.0)})
KNOWN = TrainingRows(np.random.default_rng(0).random((50, 2)), np.ones((50, 1)))
RESULT = TrialResult(0, 1.0, "ok", 1, {"rate": 0.1}, None, {"loss": 1.0})


class Tables:
    """Stands for answers."""

    starts = designs = FRAME


WRITERS = {
    "text": lambda path, s: write_text(path / "x.toml", "x"),
    "JSON": lambda path, s: RunFolder(path).write_json("x", {}),
    "the environment": lambda path, s: RunFolder(path).write_environment(),
    "an event": lambda path, s: RunFolder(path).event(Note("x")),
    "the surrogate of a run": lambda path, s: RunFolder(path).write_surrogate(s, KNOWN),
    "a surrogate": lambda path, s: s.save(path / "x"),
    "trials": lambda path, s: RunFolder(path).write_trials([RESULT]),
    "answers": lambda path, s: RunFolder(path).write_answers(Tables(), "1", s.space),
    "a part of a table": lambda path, s: ChunkedTable(path / "x.csv", {}),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_whatever_can_not_be_written_is_named_with_the_reason_and_leaves_no_half(writer, tmp_path, surrogate):
    with full(), pytest.raises(RunStoreError, match=r"can't be written: File too large") as seen:
        writer(tmp_path, surrogate)
    assert str(tmp_path) in seen.value.message
    assert ".partial" not in seen.value.message
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "events.jsonl" and p.parent.name != "x"]
    assert left == []


@pytest.mark.parametrize("room", [0, 300, 2000, 6000])
def test_an_estimator_is_saved_whole_or_not_at_all(room, tmp_path, surrogate):
    from invdesign_core.workflow import saved

    about = dict.fromkeys(("params", "n_features_in", "feature_names_in", "report"), 1)
    saved.write(tmp_path / "model", about, surrogate, KNOWN, None)
    with full(room), pytest.raises(RunStoreError, match=r"model.*can't be written: File too large"):
        saved.write(tmp_path / "model", about | {"params": "x" * 9999}, surrogate, KNOWN, None)
    assert saved.read_about(tmp_path / "model")["params"] == 1  # the earlier save is still there
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("step", ["write", "join"])
def test_parts_that_are_there_stay_where_the_next_can_not_be_written(tmp_path, step, kind):
    parts = ChunkedTable(tmp_path / f"out.{kind}", {})
    parts.write(0, FRAME)
    with full(), pytest.raises(RunStoreError, match=r"out.*can't be written: File too large") as seen:
        parts.write(1, FRAME) if step == "write" else parts.join()
    assert "run the same command to resume" in seen.value.hint
    again = ChunkedTable(tmp_path / f"out.{kind}", {})
    assert again.done == {0}
    again.join()
    assert [p.name for p in tmp_path.iterdir()] == [f"out.{kind}"]


def test_errors_that_libraries_wrap_are_traced_to_the_disk():
    wrapped = ValueError("Can't close the ZIP file")
    wrapped.__context__ = OSError(28, "whatever")
    with pytest.raises(RunStoreError, match="x: can't be written: No space left on device"), writing(Path("x")):
        raise wrapped
    with pytest.raises(ValueError, match="not the disk"), writing(Path("x")):
        raise ValueError("not the disk")


def test_a_log_of_trials_that_can_not_be_written_loses_no_trial(tmp_path):
    table = TrialTable(tmp_path)
    table.add(Trial({"rate": 0.1}), RESULT, [np.zeros(9)])
    with full():
        table.add(Trial({"rate": 0.2}), replace(RESULT, id=1), [np.zeros(9)])
    table.add(Trial({"rate": 0.3}), replace(RESULT, id=2), [np.zeros(9)])
    assert [r.id for r in table.results] == [0, 1, 2]
    assert "File too large" in table.lost.message
    assert [r.id for r in TrialTable(tmp_path).results] == [0]  # what stands after a gap could not be read again


def watch(at, seen, stack):
    def emit(event):
        seen.append(event)
        if event.kind == "stage" and event.data["stage"] == at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, stack[1]))

    return emit


@pytest.mark.parametrize(
    "at", ["train", pytest.param("tune", marks=pytest.mark.slow), pytest.param("solve", marks=pytest.mark.slow)]
)
def test_a_run_on_a_disk_that_fills_up_hands_over_its_answer_and_is_resumed(at, tmp_path):
    experiment = Experiment(training={"epochs": 3}, surrogate={"widths": [8], "learning_rate": (0.02, 0.02)})
    before, events = resource.getrlimit(resource.RLIMIT_FSIZE), []
    try:
        ctx = Context(emit=watch(at, events, before))
        with pytest.raises(UnsavedError) as seen:
            run_experiment(experiment, ["decimal=2"], tmp_path / "run", ctx=ctx)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "run/run.json" in seen.value.message or "run/surrogate" in seen.value.message or at == "solve"
    assert "File too large" in seen.value.message
    assert f"--out {tmp_path / 'run'} --resume" in seen.value.hint
    result = seen.value.result
    assert result.report.designs
    assert result.report.run is None
    assert any("events.jsonl" in str(e.data.get("text")) for e in events)
    again = run_experiment(experiment, ["decimal=2"], tmp_path / "run", resume=True)
    assert again.report.designs[0].inputs == result.report.designs[0].inputs
    assert (tmp_path / "run" / "run.json").exists()


def test_a_solve_on_a_full_disk_hands_over_its_answer(run_copy):
    before = sorted(p.name for p in (run_copy / "solve").iterdir())
    prepared = prepare(run_copy)
    with full(), pytest.raises(UnsavedError, match="can't be written: File too large") as seen:
        solve_one(prepared, ["decimal=1"])
    assert seen.value.result.report.designs
    assert sorted(p.name for p in (run_copy / "solve").iterdir()) == before
    stream = io.StringIO()

    def job():
        raise seen.value

    for as_json in (True, False):
        with pytest.raises(UnsavedError):
            finish(job, as_json, stream, quiet=True)
    assert '"designs"' in stream.getvalue()
    assert "the best design" in stream.getvalue()


def test_a_table_of_targets_on_a_full_disk_is_gone_on_with(run_copy, tmp_path):
    frame, out = pd.DataFrame({"decimal": [0.0, 1.0, 2.0]}), tmp_path / "out.csv"

    def ask():
        return solve_table(prepare(run_copy), frame, out)

    prepared = prepare(run_copy)
    with full(2500), pytest.raises(RunStoreError, match=r"out.csv: can't be written: File too large") as seen:
        solve_table(prepared, frame, out)
    assert "to resume" in seen.value.hint
    assert not out.exists()
    assert ask().targets == 3


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all"])
def test_rows_that_can_not_be_read_are_named_and_are_no_interruption(run_copy, content):
    (run_copy / "surrogate" / "known.npz").write_bytes(content)
    with pytest.raises(InvdesignError, match=r"known.npz"):
        RunFolder.open(run_copy).read_surrogate()


# Standard streams


def test_what_a_stream_refuses_is_dropped_and_remembered():
    with open(os.devnull, "rb") as nothing:  # opened for reading: it takes nothing
        stream = output._text(output.Descriptor(os.dup(nothing.fileno()), own=True), "utf-8", "replace")
    print("x" * 100_000, file=stream, flush=True)
    with pytest.raises(RunStoreError, match="standard output can't be written: Bad file descriptor"):
        output.check_printed(stream, "it is elsewhere")
    stream.close()


def test_a_reader_who_went_away_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    stream = output._text(output.Descriptor(writer, own=True), "utf-8", "replace")
    print("x" * 100_000, file=stream, flush=True)
    output.check_printed(stream)
    stream.close()


def test_a_slow_reader_of_a_stream_that_does_not_block_gets_everything():
    import threading

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = output._text(output.Descriptor(writer, own=True), "utf-8", "replace")
    thread = threading.Thread(target=lambda: (print("x" * 300_000, file=stream, flush=True), stream.close()))
    thread.start()
    with os.fdopen(reader, "rb") as source:
        assert len(source.read()) == 300_001
    thread.join()


def broken():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


STREAMS = [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">&9", "2>&9", ">&9 2>&9"]


def shell(console, arguments, streams, cwd, first=""):
    """Run a command whose streams are redirected; descriptor 9 is a pipe that nobody reads."""
    writer = broken()
    os.set_inheritable(writer, True)
    line = f"exec 9>&{writer}; {first} exec '{sys.executable}' -X faulthandler '{console}' {arguments} {streams}"
    try:
        return subprocess.run(
            ["bash", "-c", line], cwd=cwd, capture_output=True, text=True, pass_fds=[writer], check=False
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    ("arguments", "code", "streams"),
    [
        *(("--help", 0, streams) for streams in STREAMS),
        *(("run nowhere.toml", 2, streams) for streams in STREAMS),
        ("plugins list", 0, ">&-"),
        ("validate --no-data", 0, ">&9 2>&9"),
    ],
)
def test_streams_that_are_not_there_change_no_exit_code(console, arguments, code, streams, tmp_path):
    done = shell(console, arguments, streams, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")


@needs_full
@pytest.mark.parametrize("arguments", ["--help", "schema", "validate --no-data"])
def test_output_that_can_not_be_written_is_said_and_ends_with_7(console, arguments, tmp_path):
    done = shell(console, arguments, ">/dev/full", tmp_path)
    assert done.returncode == 7
    assert done.stderr.startswith("Error: standard output can't be written: No space left on device")


@pytest.mark.long
@pytest.mark.parametrize(("target", "code", "streams"), [("1", 0, "2>&-"), ("77", 1, ">&9 2>&9")])
def test_a_solve_that_nobody_watches_ends_with_its_own_code(console, run_copy, streams, target, code):
    done = shell(console, f"solve run --target {target}", streams, run_copy.parent)
    assert done.returncode == code
    assert (run_copy / "solve" / "2" / "report.json").exists()


@needs_full
@pytest.mark.slow
def test_a_solve_whose_output_is_lost_says_where_the_answer_is(console, run_copy):
    done = shell(console, "solve run --target 1", ">/dev/full", run_copy.parent)
    assert done.returncode == 7
    assert "Hint: the result is in run/solve/2" in done.stderr
    assert "Bug" not in done.stderr
    assert (run_copy / "solve" / "2" / "designs.csv").exists()


@pytest.mark.long
def test_a_solve_on_a_full_disk_prints_its_answer_and_ends_with_7(console, run_copy):
    done = shell(console, "solve run --target 1 --json", "", run_copy.parent, first="ulimit -f 0;")
    assert done.returncode == 7
    assert '"status": "met"' in done.stdout
    assert "run/solve/2/starts.parquet: can't be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="only root may mount a file system")
def test_a_run_on_a_read_only_disk_is_solved_and_reported_elsewhere(console, run_copy):
    folder = run_copy.parent
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(run_copy, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = shell(console, "solve disk/run --target 1", "", folder)
        assert done.returncode == 7
        assert "Read-only file system\nHint: make the folder writable" in done.stderr
        assert "the best design meets the target" in done.stdout
        done = shell(console, "solve disk/run --target 1 --out designs.csv", "", folder)
        assert done.returncode == 0
        assert "saved in" not in done.stderr
        assert (folder / "designs.csv").is_file()
        done = shell(console, "report disk/run", "", folder)
        assert done.returncode == 7
        assert "Hint: make the folder writable, or choose another --out" in done.stderr
        assert shell(console, "report disk/run --out page.html", "", folder).returncode == 0
    finally:
        subprocess.run(["umount", str(disk)], check=False)
