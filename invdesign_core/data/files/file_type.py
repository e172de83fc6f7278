"""What a file really is, by its first bytes; its name may say something else."""

from __future__ import annotations

TEXT = "a text file"
PARQUET = "a parquet file"
EXCEL = "an Excel file"
HTML = "an HTML page"
POINTER = "a Git LFS pointer, not the file itself"
WIDE_TEXT = "text in UTF-16 without a byte-order mark"
BINARY = "a binary file"
EMPTY = "an empty file"
ZIP = b"PK\x03\x04"

MAGIC = {
    b"PAR1": PARQUET,
    b"ARROW1": "an Arrow (feather) file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls) or one with a password",
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
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks of UTF-16 and UTF-32, whose text is full of zero bytes."""


def what_it_is(data: bytes) -> str:
    """Say what bytes are, by their beginning.

    Parameters
    ----------
    data : bytes
        The file; a zip archive's list of names stands at its end.

    Returns
    -------
    str
        ``TEXT`` for text that could be a table, else the name of what it is, as ``"a parquet file"``.
    """
    if not data:
        return EMPTY
    if data.startswith(ZIP):
        return EXCEL if b"xl/workbook" in data else "a zip archive"
    for magic, name in MAGIC.items():
        if data.startswith(magic):
            return name
    head = data[:4096]
    if b"\0" in head and not head.startswith(WIDE_MARKS):
        return WIDE_TEXT if _every_other_is_zero(head) else BINARY
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return HTML
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML file"
    if start.startswith((b'{"', b"[{", b"[[", b"{\n", b"[\n", b"{\r\n", b"[\r\n")):
        return "a JSON file"
    return TEXT


def _every_other_is_zero(head: bytes) -> bool:
    pairs = head[: len(head) // 2 * 2]
    zeros = max(pairs[0::2].count(0), pairs[1::2].count(0))
    return zeros > 0.8 * len(pairs) / 2
