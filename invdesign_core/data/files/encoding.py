"""From a text file's bytes to its characters."""

from __future__ import annotations

import codecs
from pathlib import Path

from invdesign_core.errors import DataError

WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks and what they announce; UTF-32 first, for its mark begins with that of UTF-16."""


def decode(path: Path, data: bytes, encoding: str | None) -> tuple[str, str | None, str | None]:
    """Decode a file as its byte-order mark says, else as UTF-8, else as Windows-1252.

    Parameters
    ----------
    path : Path
        For messages.
    data : bytes
        The file.
    encoding : str, optional
        What the user says.

    Returns
    -------
    text : str
        Without a byte-order mark.
    encoding : str or None
        The name of the encoding where it isn't UTF-8.
    note : str or None
        What was assumed.
    """
    note = None
    if encoding is None:
        encoding = next((name for mark, name in WIDE.items() if data.startswith(mark)), "utf-8")
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding != "utf-8":
                raise _undecodable(path, data, error, encoding) from None
            text, note = _as_windows(path, data, error.start)
            encoding = "cp1252"
    else:
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise _undecodable(path, data, error, encoding) from None
    plain = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")
    return text.removeprefix("\ufeff"), None if plain else encoding, note


def _as_windows(path: Path, data: bytes, start: int) -> tuple[str, str]:
    line = data.count(b"\n", 0, start) + 1
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _undecodable(path, data, error, "UTF-8 or Windows-1252") from None
    found = data[start : start + 1].decode("cp1252")
    return text, (
        f"the file isn't UTF-8, so it was read as Windows-1252 (first in line {line}: {found!r}); "
        "if that is wrong, say `encoding`"
    )


def _undecodable(path: Path, data: bytes, error: Exception, encoding: str) -> DataError:
    at = ""
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        at = f", line {line}: byte {data[error.start]:#04x}"
    return DataError(
        f"{path}{at} can't be read as {encoding}",
        'say how the file is stored, for example encoding = "latin-1", or save it as UTF-8',
    )
