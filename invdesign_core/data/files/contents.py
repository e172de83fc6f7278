"""What is in a table file: its bytes, if they are what the file's ending says, and a text file's characters."""

from __future__ import annotations

import codecs
from pathlib import Path

from invdesign_core.data.files.messages import option
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, no_such_file

ENDINGS = {
    "a text file": (".csv", ".txt", ".tsv", ".tab", ".dat"),
    "a parquet file": (".parquet", ".pq"),
    "an Excel file": (".xlsx", ".xlsm", ".xlsb"),
    "an old Excel file": (".xls",),
    "an OpenDocument spreadsheet": (".ods",),
}
"""Kinds of files that can be read, and what they are called."""
TEXT, PARQUET, *SHEETS = ENDINGS
EXCEL, OLD_EXCEL, OPEN_DOCUMENT = SHEETS
KINDS = {ending: kind for kind, endings in ENDINGS.items() for ending in endings}
READERS = tuple(KINDS)
"""Endings of the files that can be read."""

HTML = "an HTML page"
POINTER = "a Git LFS pointer, not the file itself"
WIDE_TEXT = "text in UTF-16 without a byte-order mark"
BINARY = "a binary file"
ZIP = b"PK\x03\x04"
MAGIC = {
    b"PAR1": PARQUET,
    b"ARROW1": "an Arrow (feather) file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\xd0\xcf\x11\xe0": OLD_EXCEL,
    b"%PDF": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"CDF\x01": "a NetCDF file",
    b"CDF\x02": "a NetCDF file",
    b"\x93NUMPY": "a NumPy array",
    b"MATLAB 5.0": "a MATLAB file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"version https://git-lfs": POINTER,
}
MARKUP = {
    (b"<!doctype html", b"<html", b"<head", b"<body"): HTML,
    (b"<?xml", b"<svg"): "an XML file",
    (b'{"', b"[{", b"[[", b"{\n", b"[\n", b"{\r\n", b"[\r\n"): "a JSON file",
}
ADVICE = {
    TEXT: "if it is a table, rename it to end in .csv",
    PARQUET: "if it is a table, rename it to end in .parquet",
    EXCEL: "if it is a table, rename it to end in .xlsx",
    OLD_EXCEL: "if it is a table, rename it to end in .xls",
    OPEN_DOCUMENT: "if it is a table, rename it to end in .ods",
    WIDE_TEXT: f"say so: {option('encoding', 'utf-16-le')}",
    POINTER: "fetch the file itself: git lfs pull",
    HTML: "was a page about the file saved instead of the file?",
}
WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks and what they announce; UTF-32 first, for its mark begins with that of UTF-16."""


def read_bytes(path: Path, reading: Reading) -> bytes:
    """Return what is in a file of the kind that its ending says; of a parquet file only the beginning."""
    ending = path.suffix.lower()
    kind = KINDS.get(ending)
    readable = f"files that can be read: {', '.join(READERS)}"
    if not path.exists():
        raise DataError(*no_such_file(path))
    if path.is_dir():
        raise DataError(f"{path}: found a folder, expected a file", readable)
    if kind is None:
        found = f"a {ending} file" if ending else "a file without an ending"
        raise DataError(f"{path}: found {found}, which can't be read", readable)
    try:
        with path.open("rb") as file:
            data = file.read(5000) if kind == PARQUET else file.read()
            if data.startswith(ZIP) and kind == PARQUET:
                data += file.read()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    if not data:
        raise DataError(f"{path}: the file is empty", "expected column names and rows of values below them")
    found = _kind_of(data)
    named = kind == TEXT and reading.encoding and found in (WIDE_TEXT, BINARY)  # who names it knows that it is text
    if found != kind and not named and not {found, kind} <= set(SHEETS):  # one reader reads all spreadsheets
        advice = ADVICE.get(found, f"unpack it, or save it as one of {', '.join(READERS)}")
        raise DataError(f"{path}: the file is called {ending}, but it is {found}", advice)
    return data


def ending_of(data: bytes) -> str:
    """Return an ending for bytes that come without a name; that of text where they are nothing that can be read."""
    return ENDINGS.get(_kind_of(data), ENDINGS[TEXT])[0]


def _kind_of(data: bytes) -> str:
    """Say what bytes are by their beginning; `TEXT` is text that could be a table."""
    if data.startswith(ZIP):  # a zip archive's list of names stands at its end
        if b"opendocument.spreadsheet" in data[:200]:
            return OPEN_DOCUMENT
        return EXCEL if b"xl/workbook" in data else "a zip archive"
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            return name
    head = data[:4096]
    if b"\0" in head and not head.startswith(tuple(WIDE)):
        pairs = head[: len(head) // 2 * 2]
        zeros = max(pairs[0::2].count(0), pairs[1::2].count(0))
        return WIDE_TEXT if zeros > 0.8 * len(pairs) / 2 else BINARY
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    return next((name for tags, name in MARKUP.items() if start.startswith(tags)), TEXT)


def decode(path: Path, data: bytes, encoding: str | None) -> tuple[str, str | None, str | None]:
    """Return a text file's characters, its encoding where that isn't UTF-8, and what was assumed about it.

    Read as the user says, else as the byte-order mark says, else as UTF-8, else as Windows-1252.
    """
    known = encoding or next((name for mark, name in WIDE.items() if data.startswith(mark)), None)
    failed: list[Exception] = []
    for name in (known,) if known else ("utf-8", "cp1252"):
        try:
            text = data.decode(name)
        except (UnicodeDecodeError, LookupError) as error:
            failed.append(error)
            continue
        note = None
        if failed and isinstance(failed[0], UnicodeDecodeError):
            start = failed[0].start
            note = (
                f"the file isn't UTF-8, so it was read as Windows-1252 (first in line {_line(data, start)}: "
                f"{data[start : start + 1].decode(name)!r}); if that is wrong, say `encoding`"
            )
        plain = codecs.lookup(name).name in ("utf-8", "utf-8-sig", "ascii")
        return text.removeprefix("\ufeff"), None if plain else name, note
    last, at = failed[-1], ""
    if isinstance(last, UnicodeDecodeError):
        at = f", line {_line(data, last.start)}: byte {data[last.start]:#04x}"
    raise DataError(
        f"{path}{at} can't be read as {known or 'UTF-8 or Windows-1252'}",
        'say how the file is stored, for example encoding = "latin-1", or save it as UTF-8',
    )


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
