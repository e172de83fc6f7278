"""Inputs on which a command once fell over: each ends in words, in time, and changes no file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").glob("*.json"))


@pytest.fixture(scope="module")
def fuzz() -> Any:
    """The harness that found them."""
    spec = importlib.util.spec_from_file_location("fuzz", HERE / "benchmarks" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(fuzz: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("corpus")
    fuzz.prepare(folder)
    return folder


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_once_failed_ends_in_words(file: Path, fuzz: Any, folder: Path) -> None:
    assert fuzz.judged(fuzz.Case.from_json(file.read_text()), folder, limit=120) is None


def test_the_harness_notices_a_bug(fuzz: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback, an odd exit code and a file that was changed are failures."""
    import invdesign_core.cli.validate as module

    case = fuzz.Case("options", ("validate", "e.toml"))
    assert fuzz.judged(case, folder, limit=120) is None

    def broken(*args: Any, **given: Any) -> None:
        raise RuntimeError("no")

    def changing(*args: Any, **given: Any) -> None:
        (folder / "t.csv").write_text((folder / "t.csv").read_text() + "\n")

    for fault, says in ((broken, "exit code 70"), (changing, "a file was changed")):
        with monkeypatch.context() as patch:
            patch.setattr(module, "check", fault)
            patch.setattr(module, "validate", fault)
            assert says in (fuzz.judged(case, folder, limit=120) or "")
