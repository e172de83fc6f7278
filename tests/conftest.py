"""Fixtures that several test modules share."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# The same cases in every run, so that a test says the same of the same code; `--hypothesis-profile=explore` draws new.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("same")

os.environ.setdefault("KERAS_BACKEND", "jax")
for size in ("COLUMNS", "LINES"):  # readline puts them into the environment of a process that pytest starts
    os.environ.pop(size, None)

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("INVDESIGN_DATA", ROOT.parent / "shared" / "data"))
"""Real tables that live beside the project; tests that need them skip where they are absent."""


def pytest_configure(config: pytest.Config) -> None:
    """Let JAX keep what it compiles, for this process and those that it starts.

    Tests compile the same programs again and again. JAX writes a program in place, so that each worker has a folder
    of its own.
    """
    programs = tempfile.TemporaryDirectory(prefix="invdesign-programs-", ignore_cleanup_errors=True)
    config.add_cleanup(programs.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is left to the second step is slow too, so that `-m "not slow"` leaves it out."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def console() -> str:
    """The installed console script of this environment."""
    script = Path(sys.executable).with_name("invdesign")
    assert script.exists(), "install the project first"
    return str(script)


Command = Callable[..., Finished]


@pytest.fixture
def invdesign(tmp_path: Path, invdesign_process: Command) -> Command:
    """Run the command line in an empty folder, inside this process: most of a process's time goes into imports.

    What asks for TensorFlow gets a process of its own, since Keras runs on JAX in this one.
    """

    def run(*args: object, cwd: Path = tmp_path, env: Mapping[str, str] | None = None) -> Finished:
        if "tensorflow" in (*args, *(env or {}).values()):
            return invdesign_process(*args, cwd=cwd, env=env)
        return called([str(arg) for arg in args], cwd, env or {})

    return run


@pytest.fixture
def invdesign_process(console: str, tmp_path: Path) -> Command:
    """Run the installed command line in an empty folder, as a process of its own."""

    def run(*args: object, cwd: Path = tmp_path, env: Mapping[str, str] | None = None, timeout: int = 300) -> Finished:
        done = subprocess.run(
            [console, *map(str, args)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


def called(args: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Finished:
    """Call the console script's function, and leave this process as it was.

    Output is caught at the file descriptors, where the command itself tells its result from what others print.
    """
    from invdesign_core.cli.main import main

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with as_a_process(["invdesign", *args], cwd, env), sent_to(1, out.fileno()), sent_to(2, err.fileno()):
            try:
                main()
                code: Any = 0
            except SystemExit as end:
                code = end.code
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Finished(0 if code is None else int(code), *texts)


@contextlib.contextmanager
def as_a_process(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Give a call what a process starts with: arguments, folder, environment, and nothing imported from the folder."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd), warnings.catch_warnings():
        warnings.resetwarnings()
        for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", quiet)  # as Python itself starts
        patch.setattr(warnings, "showwarning", shown_on_stderr)
        patch.setattr(sys, "argv", list(argv))
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(os, "_exit", leave)
        if "keras" in sys.modules:
            from keras.src.saving import object_registration

            for registered in ("GLOBAL_CUSTOM_OBJECTS", "GLOBAL_CUSTOM_NAMES"):
                own = getattr(object_registration, registered)
                patch.setattr(object_registration, registered, Registered(own))
        imported = imported_from(cwd)
        variables = dict(os.environ)
        os.environ.update(env)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(variables)
            imported_from(cwd)
            sys.modules.update(imported)


class Registered(dict[Any, Any]):
    """What is registered with Keras in a process of its own: at first what the installed plugins, once imported, have.

    What they register meanwhile stays, since they are not imported again.
    """

    def __init__(self, before: dict[Any, Any]) -> None:
        super().__init__({key: item for key, item in before.items() if self.ours(key, item)})
        self.before = before

    def __setitem__(self, key: Any, item: Any) -> None:
        super().__setitem__(key, item)
        if self.ours(key, item):
            self.before[key] = item

    @staticmethod
    def ours(key: Any, item: Any) -> bool:
        return any(getattr(each, "__module__", "").startswith("invdesign_plugins") for each in (key, item))


def imported_from(folder: Path) -> dict[str, Any]:
    """Take the modules that lie in a folder out of Python's table of modules, and return them."""
    found = [
        name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(str(folder))
    ]
    return {name: sys.modules.pop(name) for name in found}


def shown_on_stderr(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> Any:
    """Show a warning as a process does, where pytest would keep it for its summary."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


@contextlib.contextmanager
def sent_to(descriptor: int, target: int) -> Iterator[None]:
    """Send a standard stream to another file, below Python and in it."""
    name = {1: "stdout", 2: "stderr"}[descriptor]
    stream = getattr(sys, name)
    stream.flush()
    kept = os.dup(descriptor)
    os.dup2(target, descriptor)
    ours = os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", closefd=False)
    setattr(sys, name, ours)
    try:
        yield
    finally:
        ours.flush()
        setattr(sys, name, stream)
        os.dup2(kept, descriptor)
        os.close(kept)


@pytest.fixture(autouse=True, scope="module")
def memory_given_back() -> Iterator[None]:
    """Forget what a module compiled, and let the system have the memory: workers would grow to gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc keeps freed memory to itself, and can be asked
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def reformer() -> Path:
    path = SHARED_DATA / "reformer.csv"
    if not path.exists():
        pytest.skip("the table reformer.csv is not here")
    return path


def lin(W: Sequence[Sequence[float]], b: Sequence[float] | None = None, act: str | None = None) -> Any:
    """Return the exact network y = act(x W + b)."""
    import keras

    weights = np.array(W, float)
    model = keras.Sequential([keras.Input((weights.shape[0],)), keras.layers.Dense(weights.shape[1], act)])
    model.set_weights([weights, np.zeros(weights.shape[1]) if b is None else np.array(b, float)])
    return model


def fn(d: int, f: Callable[[Any], Any]) -> Any:
    """Return the network y = f(x) of d inputs."""
    import keras

    inputs = keras.Input((d,))
    return keras.Model(inputs, f(inputs))


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run of the built-in example; tests that change it copy it."""
    from invdesign_core.workflow.experiment import Experiment
    from invdesign_core.workflow.run import run_experiment

    folder = tmp_path_factory.mktemp("saved") / "run"
    surrogate = {"widths": [8], "learning_rate": (0.02, 0.02)}
    run_experiment(Experiment(training={"epochs": 20}, surrogate=surrogate), ["decimal=2"], folder)
    return folder


def of_an_earlier_version(run: Path) -> Path:
    """Take away what tells of changes to a run, as versions wrote it that had no manifest."""
    from invdesign_core.surrogate.sealed import opened, seal

    def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> str:
        content = opened(path.read_bytes(), "", "")
        change(content)
        path.write_text(json.dumps(seal(content)))
        return str(seal(content)["sha256"])

    for name in ("manifest.json", "surrogate/settings.sha256"):
        (run / name).unlink(missing_ok=True)
    rewrite(run / "resolved.json", lambda content: content.pop("manifest.json"))
    rewrite(run / "surrogate" / "meta.json", lambda content: content["files"].pop("settings.sha256"))
    return run


def prepare_model(path, **options):
    """Prepare a model of the user's own; the objective and the solver are a name and options."""
    from invdesign_core.workflow.load import prepare

    kinds = {kind: options.pop(kind) for kind in ("objective", "solver") if kind in options}
    return prepare(path, overrides={kind: {"use": name, **more} for kind, (name, more) in kinds.items()}, **options)


def invert(surrogate, targets, space, objective, solver, ctx, known=None, truth=None, designs=5, near_to=None, **more):
    """Find designs for one target, without a run around it."""
    from invdesign_core.workflow import inverse

    problem = posed(surrogate, targets, space, objective, solver, known, truth, designs, near_to, **more)
    return inverse.invert(problem, ctx)


def invert_many(surrogate, frame, space, objective, solver, ctx, known=None, truth=None, designs=1):
    """Find designs for a table of targets, chunk by chunk."""
    from invdesign_core.workflow import inverse

    yield from inverse.invert_many(posed(surrogate, frame, space, objective, solver, known, truth, designs), ctx)


def posed(surrogate, targets, space, objective, solver, known, truth, designs, near_to=None, quality=None):
    """Put an inverse problem together; a plain (x, y) will do for the training rows."""
    from dataclasses import replace

    from invdesign_core.data.data import TrainingRows
    from invdesign_core.search.inverse_problem import Wishes
    from invdesign_core.search.proximity import NearTo
    from invdesign_core.targets import Targets
    from invdesign_core.truth.simulator import as_truth
    from invdesign_core.workflow.inverse import inverse_problem
    from invdesign_core.workflow.train import ForwardModel, untested

    rows = None if known is None else TrainingRows(*known)
    model = ForwardModel(surrogate, untested(surrogate), rows, as_truth(truth))
    frame = None if isinstance(targets, dict) else targets
    build, asked = (Targets.build, [targets]) if frame is None else (Targets.from_frame, frame)
    wanted, wishes = build(asked, surrogate.outputs, surrogate.spread), Wishes(designs, near_to or NearTo())
    problem = inverse_problem(model, space, wanted, objective, solver, wishes, frame)
    return problem if quality is None else replace(problem, errors=quality.errors)


def xlsx(path: Path, **sheets: Sequence[Sequence[Any]]) -> Path:
    """Write an Excel file with the rows of each sheet."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path
