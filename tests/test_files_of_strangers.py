"""A run folder or model file of somebody else's runs no code and fills no memory, and the docs say what is trusted."""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, lin, xlsx
from test_damage import two_inputs
from test_target_tables import REGISTRY

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.files.load import read_table
from invdesign_core.data.files.unpacked import RATIO, SMALL
from invdesign_core.errors import DataError, RunStoreError
from invdesign_core.surrogate.keras_file import load_model
from invdesign_core.surrogate.sealed import file_digest, opened, seal
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.runs import list_runs


class Evil:
    """What leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def run(saved_run, tmp_path):
    return Path(shutil.copytree(saved_run, tmp_path / "run"))


def rewritten(path, change):
    """Change a file with a checksum in it as a stranger would, who makes the checksum fit."""
    content = opened(path.read_bytes(), "", "")
    change(content)
    path.write_text(json.dumps(seal(content)))
    return seal(content)["sha256"]


def name_a_plugin_file(run):
    """Let the settings of a run name a file with plugins, and all checksums fit."""
    observer = "from invdesign_core.plugin import hookimpl\n\n@hookimpl\ndef invdesign_event(event):\n    pass\n"
    (run / "theirs.py").write_text(f"open({str(run / 'ran.txt')!r}, 'w').close()\n{observer}")

    def settings(content):
        content["experiment"]["plugins"] = {"files": ["theirs.py"]}
        content["folder"] = str(run)

    key = rewritten(run / "resolved.json", settings)
    (run / "surrogate" / "settings.sha256").write_text(key)
    files = {"settings.sha256": file_digest(run / "surrogate" / "settings.sha256")}
    rewritten(run / "surrogate" / "meta.json", lambda content: content["files"].update(files))
    shutil.rmtree(run / "second", ignore_errors=True)
    (run / "manifest.json").unlink()
    rewritten(run / "resolved.json", lambda content: None)


def test_plugins_in_files_that_a_run_names_are_not_imported(run, tmp_path):
    name_a_plugin_file(run)
    (run / "run.json").unlink()  # else its manifest is missed
    told = []
    list_runs(tmp_path)
    from invdesign_core.context import Context

    prepare(run, registry=REGISTRY, ctx=Context(emit=told.append))
    assert not (run / "ran.txt").exists()
    assert any("not loaded (theirs.py)" in str(event.data) for event in told)
    prepare(run, registry=REGISTRY, allow_code=True)
    assert (run / "ran.txt").exists()  # so the file would have been found


def test_a_pickled_regressor_is_not_read_unless_that_is_allowed(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    known = TrainingRows(np.zeros((3, 2)), np.zeros((3, 2)), np.arange(3))
    RunFolder(folder).write_surrogate(two_inputs(), known)
    evil = folder / "surrogate" / "member-0.pkl"
    evil.write_bytes(pickle.dumps(Evil(tmp_path / "ran.txt")))
    files = {evil.name: file_digest(evil)}
    rewritten(folder / "surrogate" / "meta.json", lambda content: content.update(members=[evil.name], files=files))
    with pytest.raises(DataError, match="unpickling runs code"):
        RunFolder(folder).read_surrogate()
    assert not (tmp_path / "ran.txt").exists()
    with pytest.raises(Exception, match=r".*"):
        Surrogate.load(folder / "surrogate", allow_code=True)
    assert (tmp_path / "ran.txt").exists()


def with_known(run, write, **arrays):
    """Exchange the rows that a run learnt from, and make its checksums fit."""
    known = run / "surrogate" / "known.npz"
    write(known, **arrays)
    files = {known.name: file_digest(known)}
    rewritten(run / "surrogate" / "meta.json", lambda content: content["files"].update(files))
    (run / "manifest.json").unlink()
    (run / "run.json").unlink()


def test_arrays_of_a_run_hold_no_objects(run, tmp_path):
    with_known(run, np.savez, x=np.array([Evil(tmp_path / "ran.txt")], dtype=object), y=np.zeros((1, 1)))
    with pytest.raises(RunStoreError, match=r"known\.npz: found no arrays"):
        RunFolder.open(run).read_surrogate()
    assert not (tmp_path / "ran.txt").exists()


# What is far larger inside


NOTHING = bytes(SMALL + 2**20)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "sum.keras"
    lin([[1, 1], [1, -1]]).save(path)
    return path


def packed(path, model, **parts):
    """Write the model again, with other parts, compressed."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, parts.pop(name) if name in parts else source.read(name))
        for name, content in parts.items():
            target.writestr(name, content)
    return path


def inflated(weights):
    """Return weights of which one is said to be so large, and holds nothing."""
    import h5py

    content = io.BytesIO(weights)
    with h5py.File(content, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        del file[names[0]]
        file.create_dataset(names[0], (5000, 5000), "f4", chunks=(5000, 500), compression="gzip")
    return content.getvalue()


def wide(config):
    return config.replace(b'"units": 2', b'"units": 2000000000')


@pytest.mark.parametrize("part", ["assets/more", "config.json", "model.weights.h5", "units"])
def test_a_model_file_that_is_far_larger_inside_is_refused_before_it_is_unpacked(part, model, tmp_path):
    with zipfile.ZipFile(model) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    changed = {
        "assets/more": lambda: {"assets/more": NOTHING},
        "config.json": lambda: {"config.json": parts["config.json"] + b" " * len(NOTHING)},
        "model.weights.h5": lambda: {"model.weights.h5": inflated(parts["model.weights.h5"])},
        "units": lambda: {"config.json": wide(parts["config.json"])},
    }[part]()
    path = packed(tmp_path / "bomb.keras", model, **changed)
    assert path.stat().st_size * RATIO < SMALL
    with pytest.raises(DataError, match=r"would unpack to|its layers have") as error:
        load_model(path)
    assert error.value.hint
    assert load_model(packed(tmp_path / "fine.keras", model)) is not None  # compressed as such is no fault


def test_a_parquet_file_of_far_more_rows_than_its_size_suggests_is_refused_before_they_are_read(tmp_path):
    path, one = tmp_path / "bomb.parquet", pa.table({"a": np.ones(10_000_000)})
    with pq.ParquetWriter(path, one.schema, compression="zstd") as file:
        for _ in range(8):
            file.write_table(one, row_group_size=len(one))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"bomb\.parquet: .* would unpack to 640 MB"):
        read_table(path)


def test_arrays_and_spreadsheets_that_are_far_larger_inside_are_refused(run, tmp_path):
    with_known(run, np.savez_compressed, x=np.zeros((SMALL // 8 + 2**17, 1)), y=np.zeros((1, 1)))
    with pytest.raises(RunStoreError, match=r"known\.npz: .* would unpack to"):
        RunFolder.open(run).read_surrogate()
    book = xlsx(tmp_path / "book.xlsx", sheet=[["a", "b"], [1, 2]])
    with zipfile.ZipFile(book, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr("xl/media/picture.bmp", NOTHING)
    with pytest.raises(DataError, match=r"book\.xlsx: .* would unpack to"):
        read_table(book)


# What the docs promise


def test_every_line_of_the_page_on_security_names_a_test_that_there_is():
    text = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.endswith(("- |", "proven by |"))]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(test_\w+)\.(test_\w+)`", row.rsplit("|", 2)[1])
        assert named, row
        for module, name in named:
            source = (ROOT / "tests" / f"{module}.py").read_text()
            assert f"def {name}(" in source, (module, name)
