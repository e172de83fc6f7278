"""The notebook of the tutorial runs from its first cell to its last, and each shows what it should."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "tutorial.ipynb"


def cells(notebook: Path = NOTEBOOK) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    return found["cells"]


def shown(source: str, names: dict[str, Any], place: str) -> Any:
    """Run a cell as a notebook does; return what its last line gives."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), place, "eval"), names)


@pytest.mark.parametrize("name", ["tutorial", "pictures"])
def test_it_is_kept_without_outputs(name: str) -> None:
    found = cells(NOTEBOOK.with_stem(name))
    ids = [cell["id"] for cell in found]
    assert len(set(ids)) == len(ids)
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in found if "outputs" in cell)


@pytest.mark.long  # it trains a network
def test_it_runs_and_shows_pages_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    kinds = []
    for cell in cells():
        if cell["cell_type"] != "code":
            continue
        value = shown("".join(cell["source"]), names, cell["id"])
        if hasattr(value, "_repr_html_"):
            assert value._repr_html_().strip().startswith("<"), cell["id"]
        kinds.append(type(value).__name__)
    assert kinds.count("Figure") == 3
    assert {"InverseDesign", "Answers", "DataFrame"} <= set(kinds)
    assert {path.name for path in tmp_path.iterdir()} == {"profiler.pdf", "digits.html", "digits"}
