"""Distributions as pip would leave them, written into a folder that Python imports from."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EXAMPLES = sorted(path.parent for path in Path(__file__).parents[1].glob("docs/examples/*/pyproject.toml"))
"""The distributions of the docs, each in a folder that is named like it."""


def missing(project: Path) -> list[str]:
    """Return what a project depends on and is not installed; `pip install '.[test]'` installs all of it."""
    found = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    names = [re.split(r"[<>=]", requirement)[0] for requirement in found["project"]["dependencies"]]
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def put(site: Path, name: str, version: str, source: str, requires: str = "") -> Path:
    """Install a distribution of one module, whose entry point names it; return the module's file."""
    module = name.replace("-", "_")
    info = site / f"{module}-{version}.dist-info"
    info.mkdir(parents=True)
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    (info / "entry_points.txt").write_text(f"[invdesign]\n{module} = {module}\n")
    (info / "RECORD").write_text(f"{module}.py,,\n")
    path = site / f"{module}.py"
    path.write_text(textwrap.dedent(source).lstrip())
    return path


@contextmanager
def imported_from(site: Path) -> Iterator[Path]:
    """Let Python import from a folder, and forget afterwards what came from it."""
    site.mkdir(exist_ok=True)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(site)):
                del sys.modules[name]
