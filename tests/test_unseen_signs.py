"""Signs that a terminal obeys, or that nobody sees, never reach the screen as they are, wherever they come from."""

from __future__ import annotations

import io
import json
import tomllib
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from conftest import called
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from invdesign_core.cli.console import Watcher
from invdesign_core.cli.output import print_csv
from invdesign_core.context import CandidateStarted, Context, Progress, StageStarted
from invdesign_core.errors import DataError
from invdesign_core.errors.visible import JOINERS, visible, visible_json, visible_toml

RED, TITLE, TURN, ISOLATE, C1 = "\x1b[31m", "\x1b]0;mine\x07", "\u202e", "\u2066", "\x9b31m"
A, KIND, Y = f"a{TITLE}", f"k{TURN}ind", f"y{ISOLATE}"
LABELS = (f"{RED}red", f"turn{TURN}ed", C1)
TARGET = f"{Y}=2"


def unseen(text: str) -> set[str]:
    """The signs of a text that a terminal obeys, or that nobody sees."""
    kinds = {sign: unicodedata.category(sign) for sign in set(text) - {"\n", "\t", *JOINERS}}
    return {sign for sign, kind in kinds.items() if kind.startswith("C") or kind in ("Zl", "Zp")}


texts = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x85\r\n\t\x7f\u2028\u061c\u200e\u202e\u2066\ufeff\ud800"))
)


@settings(deadline=None)
@given(texts)
def test_what_is_shown_holds_no_such_sign_and_text_that_can_be_seen_stays(text: str):
    assert not unseen(visible(text))
    assert not set("\n\t") & set(visible(text, lines=False))
    assert visible(visible(text)) == visible(text)
    if not unseen(text):
        assert visible(text) == text


@settings(deadline=None)
@given(texts)
def test_json_and_toml_say_the_same_without_them(text: str):
    said = visible_json(json.dumps({text: text}, ensure_ascii=False))
    assert not unseen(said)
    assert json.loads(said) == {text: text}
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        return  # no file holds one
    plain = "".join(sign for sign in text if sign not in '"\\')
    assert (
        tomllib.loads(visible_toml(f'a = "{plain}"  # {plain}')) == {"a": plain.replace("\r\n", "\n")} or "\r" in plain
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with such names and labels, and a run of it."""
    folder = tmp_path_factory.mktemp("unseen")
    a = [i / 7 % 1 for i in range(24)]
    kinds = [LABELS[i % 3] for i in range(24)]
    y = [3 * x + len(kind) / 10 for x, kind in zip(a, kinds, strict=True)]
    pd.DataFrame({A: a, KIND: kinds, Y: y}).to_csv(folder / "table.csv", index=False)
    return folder


def test_no_command_prints_them(folder: Path):
    """From the first file of a table to the list of its runs, and what is wrong with one."""
    said = {}
    for name, args, code in (
        ("init", ["init", "table.csv", "--outputs", Y, "--out", "e.toml"], 0),
        ("validate", ["validate", "e.toml", "--surrogate", "ridge", "--target", TARGET], 0),
        ("run", ["run", "e.toml", "--surrogate", "ridge", "--out", f"runs/r{TURN}", "--target", TARGET], 0),
        ("list", ["runs", "list"], 0),
        ("compare", ["runs", "compare", f"runs/r{TURN}", f"runs/r{TURN}"], 0),
        ("no target", ["validate", "e.toml", "--target", f"{RED}=2"], 2),
        ("no file", ["validate", f"{RED}{TURN}.toml"], 2),
        ("no command", [f"{RED}{C1}"], 2),
        ("no option", ["validate", f"--{RED}{C1}"], 2),
        ("no label", ["validate", "e.toml", "--fix", f"{KIND}={C1}{TURN}", "--target", TARGET], 2),
        ("predict", ["predict", f"runs/r{TURN}", "table.csv", "--json"], 0),
        ("solve", ["solve", f"runs/r{TURN}", "--target", TARGET, "--json"], 0),
        ("rm", ["runs", "rm", f"runs/r{RED}"], 7),
    ):
        done = called(args, folder, {})
        assert done.code == code, (name, done)
        assert not unseen(done.out + done.err), name
        said[name] = done
    assert r"a\x1b]0;mine\x07" in said["validate"].out
    assert said["solve"].json["target"].keys() == {Y}
    assert said["solve"].json["designs"][0]["inputs"][KIND] in LABELS
    page = next((folder / "runs").glob("*/report.html")).read_text(encoding="utf-8")
    assert not unseen(page)
    assert r"k\u202eind" in page


def test_progress_and_notes_on_a_terminal_obey_nobody_but_us():
    """The bars move the cursor themselves; of the names in them nothing does."""
    screen = io.StringIO()
    with Watcher(console=Console(file=screen, force_terminal=True, width=200)) as watcher:
        ctx = Context(emit=watcher)
        watcher(CandidateStarted(f"own{TITLE}", 1, 2))
        watcher(StageStarted("solve", f"solver{C1}{TURN}"))
        watcher(Progress("solve", 1, 2))
        ctx.warn(f"column {TITLE}")
        watcher._bar.refresh()
        shown = screen.getvalue()
    assert r"solver\x9b31m\u202e" in shown
    assert r"column \x1b" in shown
    assert TITLE not in shown
    assert not {"\x9b", TURN} & set(shown)


def test_errors_in_python_hold_them_as_escapes_too():
    error = DataError(f"column {RED}x", f"did you mean {TURN}?")
    assert str(error) == "column \\x1b[31mx\nHint: did you mean \\u202e?"
    assert str(error.args[0]) == "column \\x1b[31mx"


def test_csv_for_a_program_is_as_it_is_and_for_a_reader_as_it_may_be_seen():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    table, file, terminal = pd.DataFrame({KIND: [RED]}), io.StringIO(), Terminal()
    print_csv(table, file)
    print_csv(table, terminal)
    assert file.getvalue() == f"{KIND}\n{RED}\n"
    assert terminal.getvalue() == "k\\u202eind\n\\x1b[31m\n"
