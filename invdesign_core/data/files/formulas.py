"""Formulas of an .xlsx file whose values were never stored, as where a program wrote it that doesn't calculate."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from xml.etree import ElementTree

RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def unstored(data: bytes, title: str) -> set[tuple[int, int]]:
    """Return the rows and columns, from 1, of a sheet's formulas without a stored value; none in other files."""
    with zipfile.ZipFile(io.BytesIO(data)) if zipfile.is_zipfile(io.BytesIO(data)) else io.BytesIO() as archive:
        if not isinstance(archive, zipfile.ZipFile) or "xl/workbook.xml" not in archive.namelist():
            return set()
        sheet = archive.read(_part(archive, title))
    if not re.search(rb"<(\w+:)?f[\s>/]", sheet):
        return set()
    found = set()
    row = column = 0
    for cell in ElementTree.fromstring(sheet).iter():
        tag = _tag(cell)
        if tag == "row":
            row, column = int(cell.get("r", row + 1)), 0
        if tag != "c":
            continue
        letters = re.match("[A-Z]*", cell.get("r", ""))
        column = _number(letters[0]) if letters and letters[0] else column + 1
        parts = {_tag(part): part.text for part in cell}
        if "f" in parts and not parts.get("v") and "is" not in parts and cell.get("t") != "str":
            found.add((row, column))
    return found


def _part(archive: zipfile.ZipFile, title: str) -> str:
    """Return the name of a sheet's file in the archive."""
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    key = next(sheet.get(RELATION) for sheet in book.iter() if _tag(sheet) == "sheet" and sheet.get("name") == title)
    target = next(link.get("Target", "") for link in links if link.get("Id") == key)
    return posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(letters: str) -> int:
    """Return the number of a column, from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number
