"""A plugin that ends the program, or raises what no `except Exception` catches, is at fault like any other."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import click
import numpy as np
import pytest
from conftest import fn, invert
from pydantic import Field, field_validator
from test_plugin_faults import REGISTRY, SPACE, Forest, builder, fit, make, solve

from invdesign_core.cli.commands import cli
from invdesign_core.context import Context, Event, Note
from invdesign_core.errors import DataError, InvdesignError, PluginError, SolverError, StopSolving, plugin_errors
from invdesign_core.plugin import Dataset, Objective, Solver, SurrogateBuilder, Tuner, hookimpl
from invdesign_core.registry import build_options
from invdesign_core.surrogate.keras_file import evaluated
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.user_code import UserObject
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.validate import load, user_code_of


class Odd(BaseException):
    """No exception that plugins catch by accident."""


WAYS = [lambda: sys.exit(0), lambda: sys.exit("done"), lambda: (_ for _ in ()).throw(Odd("out of order"))]


@pytest.fixture(params=WAYS, ids=["exit 0", "exit with a text", "another BaseException"])
def ends(request: pytest.FixtureRequest) -> Any:
    """A method that does what no plugin may."""
    return lambda *_, **__: request.param()


def test_a_dataset_that_ends_the_program_is_named(ends):
    with pytest.raises(PluginError, match=r"dataset 'odd' failed: (SystemExit|Odd)"):
        load(make(Dataset, load=ends)(), Context())


@pytest.mark.parametrize("method", ["loss", "residuals"])
def test_an_objective_that_ends_the_program_is_named(ends, method):
    with pytest.raises(PluginError, match=r"objective 'odd' failed: (SystemExit|Odd)"):
        solve(objective=make(Objective, **{method: ends})())


def test_a_solver_that_ends_the_program_is_named(ends):
    with pytest.raises(SolverError, match=r"solver 'odd' failed: (SystemExit|Odd)"):
        solve(solver=make(Solver, solve=ends)(starts=4))


def test_a_true_model_that_ends_the_program_fails_for_its_designs_alone(ends):
    found = solve(truth=ends)
    assert found.status == "not met"
    assert found.designs["failed"].str.match(r"SystemExit|Odd").all()


def test_a_builder_that_ends_the_program_is_named(ends):
    with pytest.raises(PluginError, match=r"surrogate 'odd' failed.*: (SystemExit|Odd)"):
        fit(make(SurrogateBuilder, "odd", differentiable=False, build=ends)())
    with pytest.raises(PluginError, match=r"surrogate 'odd' failed: (SystemExit|Odd)"):
        user_code_of(make(SurrogateBuilder, "odd", user_code=ends)(), Context())


def test_a_tuner_that_ends_the_program_is_named(ends):
    with pytest.raises(PluginError, match=r"tuner 'odd' failed: (SystemExit|Odd)"):
        fit(builder(lambda self, hp, data: Forest(np.asarray)), make(Tuner, search=ends)())


class Pickled:
    """A regressor that is fine until it is asked."""

    at = ""

    def __init__(self, at):
        self.at = at

    def fit(self, X, y):
        self._maybe("fit")
        return self

    def predict(self, X):
        self._maybe("predict")
        return X

    def __getstate__(self):
        self._maybe("pickle")
        return self.__dict__

    def _maybe(self, what):
        if self.at == what:
            sys.exit(0)


@pytest.mark.parametrize("at", ["fit", "predict", "pickle"])
def test_a_regressor_that_ends_the_program_while_it_is_trained_is_named(at):
    with pytest.raises(PluginError, match=r"surrogate 'odd'.*(SystemExit|pickled)"):
        fit(builder(lambda self, hp, data: Pickled(at)))


def test_a_regressor_that_ends_the_program_later_is_named():
    model = fit(builder(lambda self, hp, data: Pickled("")))
    model.surrogate_.members[0].model.at = "predict"
    with pytest.raises(PluginError, match="the regressor failed: SystemExit"):
        model.predict(np.zeros((3, 2)))


def network(layer, loss="mse"):
    def build(self, hp, data):
        import keras

        net = keras.Sequential([keras.Input((2,)), layer(), keras.layers.Dense(2)])
        net.compile("sgd", loss)
        return net

    return make(SurrogateBuilder, "odd", build=build)()


def dies(after):
    """Return a layer class that ends the program after some calls."""
    import keras

    class Layer(keras.layers.Layer):
        calls = 0

        def call(self, x):
            Layer.calls += 1
            if Layer.calls > after:
                sys.exit(0)
            return x

    return Layer


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_layer_that_ends_the_program_is_its_builders_fault_whenever_it_does(after):
    X = np.random.default_rng(0).random((40, 2))
    with pytest.raises(PluginError, match=r"surrogate.*failed.*SystemExit"):
        InverseDesign(network(dies(after)), training={"epochs": 2, "batch_size": 32}).fit(X, X).invert({"y1": 1})


def test_a_loss_that_ends_the_program_is_its_builders_fault():
    import keras

    with pytest.raises(PluginError, match=r"surrogate 'odd'.*SystemExit"):
        fit(network(lambda: keras.layers.Dense(2), loss=lambda y, z: sys.exit(0)))


def test_what_the_watcher_of_a_run_raises_is_nobodys_fault():
    import keras

    def stop(event):
        if event.kind == "progress":
            raise TimeoutError("that is enough")

    model = InverseDesign(network(lambda: keras.layers.Dense(2)), training={"epochs": 2})
    model._context = lambda: Context(0, emit=stop)  # type: ignore[method-assign]
    X = np.random.default_rng(0).random((40, 2))
    with pytest.raises(TimeoutError, match="that is enough"):
        model.fit(X, X)


def test_a_fault_of_the_network_is_not_the_objectives():
    layer = dies(1)
    surrogate = Surrogate.of_model(fn(2, layer()), SPACE, ("y1", "y2"), y=np.eye(2))
    with pytest.raises(PluginError, match="the surrogate's network failed: SystemExit"):
        invert(
            surrogate,
            parse_targets({"y1": 1}, ("y1", "y2")),
            SPACE,
            REGISTRY.create("objective", "mse", {}),
            REGISTRY.create("solver", "lbfgsb", {"starts": 4}),
            Context(),
        )


def test_a_model_file_whose_code_ends_the_program_is_a_fault_of_the_file(tmp_path, ends):
    with pytest.raises(DataError, match=r"the model can't be evaluated: (SystemExit|Odd)"), evaluated(tmp_path / "m"):
        ends()


def test_an_option_whose_check_ends_the_program_is_named():
    class Picky(Dataset):
        name: ClassVar[str] = "picky"
        rows: int = Field(1, description="Rows.")

        @field_validator("rows")
        @classmethod
        def check(cls, value):
            return sys.exit(0)

    with pytest.raises(PluginError, match="picky failed: SystemExit"):
        build_options(Picky, {"rows": 3}, "[dataset] picky")


def test_an_observer_that_ends_the_program_is_left_out_of_it(ends):
    from invdesign_core.registry import Registry

    class Module:
        @staticmethod
        @hookimpl
        def invdesign_event(event: Event):
            ends()

    registry = Registry.discover()
    assert registry.manager is not None
    registry.manager.register(Module())
    registry.emit(Note("still here"))


def test_user_code_that_ends_the_program_is_named(tmp_path, ends):
    (tmp_path / "mine.py").write_text("import sys\ndef __getattr__(name):\n    sys.exit(0)\n")
    with pytest.raises(InvdesignError, match=r"'build' failed: SystemExit: 0 .*\(mine.py, line 3\)"):
        UserObject.find("mine:build", tmp_path, "[surrogate] builder")
    with (
        pytest.raises(PluginError, match=r"mine failed: (SystemExit|Odd)"),
        UserObject("m:f", None, tmp_path).running("mine"),
    ):
        ends()


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), StopSolving(), PluginError("its own words")])
def test_what_is_no_fault_passes_through(signal):
    with pytest.raises(type(signal)) as seen, plugin_errors("solver 'odd'"):
        raise signal
    assert seen.value is signal


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (SystemExit(0), PluginError, r"test_plugins_that_exit.py, line \d+: SystemExit: 0"),
        (Odd("out of order"), PluginError, "Odd: out of order"),
        (EOFError("No data left"), RuntimeError, "EOFError: No data left"),
        (BrokenPipeError(32, "Broken pipe"), RuntimeError, "BrokenPipeError"),
    ],
)
def test_the_last_net_takes_nothing_for_an_ordered_end(monkeypatch, raised, expected, message):
    def command():
        raise raised

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: click.Command(name, callback=command))
    with pytest.raises(expected, match=message):
        cli.main(["plugins"], standalone_mode=False)
