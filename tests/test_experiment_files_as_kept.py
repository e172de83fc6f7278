"""Experiment files as Windows, word processors and people in a hurry write them: read, or explained with the line."""

from __future__ import annotations

import codecs
import tomllib

import pytest

from invdesign_core.data.files.load import load_table
from invdesign_core.errors import ConfigError, DataError
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.experiment_text import read_text, read_toml

TEXT = '[dataset]\nuse = "table"\npath = "größe.csv"\noutputs = ["loss"]\n'
GOOD = tomllib.loads(TEXT)


def refusal(tmp_path, line):
    path = tmp_path / "mine.toml"
    path.write_text(f'[dataset]\n{line}\noutputs = ["loss"]\n', encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_toml(path)
    return refused.value


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode("utf-16"),
    ],
)
def test_an_experiment_is_read_however_an_editor_stores_it(tmp_path, data):
    path = tmp_path / "mine.toml"
    path.write_bytes(data)
    assert read_toml(path) == GOOD
    assert Experiment.from_toml(path).dataset.options["path"] == "größe.csv"
    assert read_text(path) == TEXT, "what a run keeps of it"


def test_a_file_in_another_encoding_is_refused_by_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(TEXT.encode("cp1252"))
    with pytest.raises(ConfigError, match=r"mine\.toml, line 3: found byte 0xf6, expected text in UTF-8"):
        read_toml(path)


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        (r'path = "C:\Users\lab\plain.csv"', r"path = 'C:\Users\lab\plain.csv'"),
        (r'path = ["a.csv", "D:\lab\b.csv"]', r"""path = ["a.csv", 'D:\lab\b.csv']"""),
        (r'''path = "C:\lab\Jo's.csv"''', '''path = "C:/lab/Jo's.csv"'''),
        (r'path = "\\server\lab\x.csv"', r"path = '\\server\lab\x.csv'"),
        ("path = plain.csv", 'path = "plain.csv"'),
        (r"path = C:\lab\plain.csv", r"path = 'C:\lab\plain.csv'"),
        ("path = “plain.csv”", 'path = "plain.csv"'),
        ("shuffle = True", "shuffle = true"),
        ("share = 0,5", "share = 0.5"),
        ("NG Steam Ratio = 1", '"NG Steam Ratio" = 1'),
    ],
)
def test_a_line_that_is_no_toml_is_shown_as_it_should_be(tmp_path, line, mended):
    error = refusal(tmp_path, line)
    assert "mine.toml, line 2" in error.message
    assert line in error.message
    assert mended in error.hint
    assert "\n" not in error.message + error.hint
    tomllib.loads(mended)


def test_keys_and_brackets_get_the_hint_that_fits(tmp_path):
    assert "twice" in refusal(tmp_path, "path = 'a'\npath = 'b'").hint
    assert "twice" in refusal(tmp_path, "path = 'a'\n[dataset]").hint
    assert "not closed" in refusal(tmp_path, 'path = "a.csv').hint
    assert "not closed" in refusal(tmp_path, 'path = ["a.csv"').hint


@pytest.mark.parametrize("name", ["C:\temp\new.csv", "C:\results\bin\f.csv", "data\table.csv"])
def test_a_path_whose_backslashes_were_eaten_is_shown_on_one_line(tmp_path, name):
    with pytest.raises(DataError) as refused:
        load_table(tmp_path / name)
    error = refused.value
    assert error.message.isprintable()
    assert "there is no such file" in error.message
    meant = name.encode("unicode_escape").decode().replace(r"\x08", r"\b").replace(r"\x0c", r"\f")
    assert f"write '{meant}' in single quotes" in error.hint
    assert f'"{meant.replace(chr(92), "/")}"' in error.hint


def test_the_command_line_says_the_same(invdesign, tmp_path):
    (tmp_path / "eaten.toml").write_text('[dataset]\nuse = "table"\npath = "C:\\temp\\new.csv"\noutputs = ["y"]\n')
    done = invdesign("validate", "eaten.toml")
    assert done.code == 4
    assert "C:<tab>emp<line break>ew.csv: there is no such file" in done.err
    assert r"write 'C:\temp\new.csv' in single quotes" in done.err
