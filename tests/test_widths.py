"""What is printed fits its width: wide tables become cards, and no number is ever cut in two."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from invdesign_core.cli.tables import Column, printer, say, show_rows

NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr)
WORDS = st.text("abcdefgh äß温", min_size=1, max_size=30).map(str.strip)


def printed(width, show):
    stream = io.StringIO()
    show(Console(file=stream, width=width, highlight=False, markup=False))
    return stream.getvalue()


@settings(max_examples=60)
@given(
    st.integers(40, 200),
    st.lists(st.tuples(WORDS, st.lists(NUMBERS, min_size=3, max_size=3)), min_size=1, max_size=25),
    st.integers(1, 3),
)
def test_a_table_of_any_width_fits_and_every_number_is_whole(width, columns, count):
    heads = [name for name, _ in columns]
    rows = [[numbers[at] for _, numbers in columns] for at in range(count)]
    text = printed(width, lambda console: show_rows(console, heads, rows))
    assert max(cell_len(line) for line in text.splitlines()) <= width
    found = re.findall(r"[^\s│:]+", text)
    for row in rows:
        for number in row:
            assert number in found


@settings(max_examples=40)
@given(st.integers(30, 120), st.lists(st.one_of(NUMBERS, WORDS), min_size=1, max_size=40), st.text(" ", max_size=4))
def test_lines_are_broken_at_spaces_alone(width, words, indent):
    text = printed(width, lambda console: say(console, " ".join(words), indent=indent))
    assert text.split() == " ".join(words).split()
    assert max(cell_len(line) for line in text.splitlines()) <= max(width, *(cell_len(indent + w) for w in words))


def test_a_path_that_has_no_room_is_left_whole():
    path = "/" + "a-long-name/" * 12
    text = printed(40, lambda console: say(console, f"the designs are in {path}"))
    assert path in text.splitlines()


def test_words_go_on_in_the_next_line_before_a_table_is_turned():
    heads, cells = [Column("name", "left"), Column("what it does", "left", words=True)], ["one", "word " * 20]
    text = printed(50, lambda console: show_rows(console, heads, [cells]))
    assert text.count("word") == 20
    assert "name" in text.splitlines()[1]
    assert "what it does" in text.splitlines()[1]


@pytest.mark.parametrize("command", ["schema", "plugins list", "plugins show mlp"])
def test_lists_fit_80_columns_and_are_whole_in_a_file(invdesign, command):
    narrow, wide = (invdesign(*command.split(), env=env) for env in ({"COLUMNS": "80"}, {"COLUMNS": ""}))
    assert "".join(narrow.out.split()) == "".join(wide.out.split())
    longest = max(max(map(cell_len, line.split()), default=0) for line in narrow.out.splitlines())
    assert max(map(cell_len, narrow.out.splitlines())) <= max(80, longest + 12)  # a word is never broken
    assert max(map(cell_len, wide.out.splitlines())) > 80


def test_a_file_has_the_same_width_whatever_the_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert printer(io.StringIO()).width == 120
    monkeypatch.setenv("COLUMNS", "66")
    assert printer(io.StringIO()).width == 66
