"""Experiment files as text: how they are stored, and where one stops being TOML, with the line as it should be."""

from __future__ import annotations

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any

from invdesign_core.errors import ConfigError, near_match

TABLES = (".csv", ".tsv", ".parquet", ".pq", ".xlsx", ".xls", ".ods")
"""Endings that people try to run as experiments."""
STORED = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte-order marks and the encodings that they announce."""
TYPED = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}
"""Quotes that word processors write."""
LITERALS = {"True": "true", "False": "false", "None": '"none"', "yes": "true", "no": "false"}
ADVICE = {
    "Cannot overwrite": "the key is there twice; remove one of the two",
    "Cannot declare": "the section is there twice; put all of its keys into one",
    "Cannot mutate": "the section or key is there twice; put all of its keys into one",
    "Expected '=' after": 'write KEY = VALUE; a key with spaces or signs goes in quotes: "NG Steam Ratio" = 1',
    "Expected ']'": "a bracket is not closed",
    "Unclosed": "a bracket is not closed",
    "Unterminated": "a quote is not closed",
    "Illegal character": "a quote is not closed",
    "Invalid statement": 'write KEY = VALUE; a key with signs goes in quotes: "NG Steam Ratio" = 1',
    "Invalid value": "text needs quotes",
}
"""What is wrong, by the beginning of what the parser says."""


def read_text(path: Path) -> str:
    """Return the characters of an experiment file, in UTF-8 or, as Windows may store it, in UTF-16."""
    if path.suffix.lower() in TABLES:
        raise ConfigError(
            f"{path}: this is a table, expected an experiment file", f"write one: invdesign init {path} --outputs A,B"
        )
    if path.is_dir():
        raise ConfigError(f"{path}: this is a folder, expected an experiment file", "for example mine.toml")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        near = near_match(path.name, [p.name for p in path.parent.glob("*.toml")]) if path.parent.is_dir() else None
        raise ConfigError(f"{path}: there is no such file", near) from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from None
    encoding = next((name for mark, name in STORED.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:4]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: found byte {data[error.start]:#04x}, expected text in UTF-8",
            "save the file as UTF-8, which editors offer under Save As",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, or say where it stops being one, and how the line is meant to be."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)|\(at end of document\)", str(error))
        lines = text.split("\n")
        number = int(place[1]) if place and place[1] else len(lines)
        said = str(error)[: place.start()].strip() if place else str(error)
        shown = f"{path}, line {number}" if place and place[1] else f"{path}, at its end"
        line = lines[number - 1].strip()
        if re.search(r"hex|escape", said) and "\\" in line:
            wrong = f"{shown}: between double quotes a \\ begins an escape: {line}"
            raise ConfigError(wrong, f"write {_literal(line)}") from None
        raise ConfigError(f"{shown}: invalid TOML: {said}: {line}", _advice(said, line)) from None


def _literal(line: str) -> str:
    """Return a line with texts that hold a backslash in single quotes, or with slashes where that can't be."""

    def mended(match: re.Match[str]) -> str:
        inner = re.sub(r"(?<!^)\\\\", r"\\", match[1])  # the two at the beginning of a network path stay
        if "\\" not in inner:
            return match[0]
        return f"'{inner}'" if "'" not in inner else f'"{inner.replace(chr(92), "/")}"'

    return re.sub(r'"([^"]*)"', mended, line)


def _advice(said: str, line: str) -> str | None:
    """Return what to do about a line, written as it should be where that is clear."""
    straight = "".join(TYPED.get(sign, sign) for sign in line)
    if straight != line:
        return f"write straight quotes: {straight}"
    key, sign, value = (part.strip() for part in line.partition("="))
    if re.fullmatch(r"-?\d+,\d+", value):
        return f"write the decimals after a point: {key} = {value.replace(',', '.')}"
    if said.startswith("Invalid value") and sign and value:
        literal = LITERALS.get(value)
        if literal is not None:
            return f"write {key} = {literal}"
        if re.fullmatch(r"[^\[\]{}\"'#]+", value):
            quote = "'" if "\\" in value else '"'
            return f"text needs quotes: {key} = {quote}{value}{quote}"
    if said.startswith(("Expected '=' after", "Invalid statement")) and sign and re.search(r"[^\w.\"' -]| ", key):
        return f'a key with spaces or signs goes in quotes: "{key}" = {value}'
    return next((advice for begin, advice in ADVICE.items() if said.startswith(begin)), None)
