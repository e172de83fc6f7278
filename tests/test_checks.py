"""The checks that are no tests of behaviour: style, types, and who may import whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

BIN = Path(sys.executable).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports"]],
    ids=["style", "format", "types", "imports"],
)
def test_check(command):
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_is_a_room_with_a_sign():
    import ast

    for path in [*ROOT.glob("invdesign_core/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc, f"{path} doesn't say what it is for"
