"""One side of a benchmark, run in a process of its own; prints one JSON object.

Each function is a side: ours, or the alternative at its own best settings within what the row says.
First calls, which compile, are timed apart.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDES: dict[str, Callable[[], dict[str, Any]]] = {}


def side(function: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    SIDES[function.__name__] = function
    return function


def timed(function: Callable[[], Any], repeats: int = 5) -> tuple[float, float]:
    """Return the seconds of the first call, and the median of those after it."""
    began = time.perf_counter()
    function()
    first = time.perf_counter() - began
    later = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        later.append(time.perf_counter() - began)
    return first, float(np.median(later))


# The classic notebook


def digits(rows: int = 1000) -> tuple[Any, Any]:
    x = np.random.default_rng(0).random((rows, 2)).astype("float32")
    return x, (2 * np.round(x[:, :1]) + np.round(x[:, 1:])).astype("float32")


def mlp(widths: tuple[int, ...], inputs: int, outputs: int, rate: float = 1e-3, activation: str = "selu") -> Any:
    import keras

    layers = [keras.layers.Dense(w, activation, kernel_initializer="lecun_normal") for w in widths]
    net = keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(outputs)])
    net.compile(keras.optimizers.Nadam(rate), "mae")
    return net


RATES = [1e-4, *np.linspace(1e-4, 1e-2, 10)]


@side
def search_fit() -> dict[str, Any]:
    """Eleven trials, one after another, by `model.fit` with early stopping: what the stock tuner does."""
    import keras

    x, y = digits()
    epochs, began = 0, time.perf_counter()
    for rate in RATES:
        net = mlp((64, 32, 16), 2, 1, rate)
        stop = keras.callbacks.EarlyStopping("val_loss", patience=20, restore_best_weights=True)
        history = net.fit(
            x[:810],
            y[:810],
            batch_size=16,
            epochs=2000,
            validation_data=(x[810:900], y[810:900]),
            callbacks=[stop],
            verbose=0,
        )
        epochs += len(history.epoch)
    return {"seconds": time.perf_counter() - began, "epochs": epochs}


@side
def classic() -> dict[str, Any]:
    """The notebook as a script: its search, its final training, and its ten starts, in one process."""
    import keras
    from scipy.optimize import minimize

    began = time.perf_counter()
    search_fit()
    x, y = digits()
    net = mlp((64, 32, 16), 2, 1, 1e-3)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=20, restore_best_weights=True)
    held = (x[810:900], y[810:900])
    net.fit(x[:810], y[:810], batch_size=16, epochs=2000, validation_data=held, callbacks=[stop], verbose=0)
    for start in np.random.default_rng(2).random((10, 2)):

        def loss(x: Any) -> float:
            return float((np.asarray(net(x[None].astype("float32")))[0, 0] - 2.0) ** 2)

        minimize(loss, start, jac="3-point", bounds=[(0, 1)] * 2, method="L-BFGS-B")
    return {"seconds": time.perf_counter() - began}


@side
def search_ours() -> dict[str, Any]:
    """The same eleven trials side by side."""
    x, y = digits()
    return after_a_first(lambda: train_ours([mlp((64, 32, 16), 2, 1, r) for r in RATES], x, y, 2000, patience=20))


@side
def search64_ours() -> dict[str, Any]:
    """Sixty-four trials side by side."""
    x, y = digits()
    return train_ours([mlp((64, 32, 16), 2, 1, r) for r in np.geomspace(1e-4, 1e-2, 64)], x, y, 40)


@side
def one_ours() -> dict[str, Any]:
    """One training, after one that set JAX up: `fit` has run an epoch before it is timed, too."""
    x, y = digits()
    return after_a_first(lambda: train_ours([mlp((64, 32, 16), 2, 1)], x, y, 100))


@side
def one_fit() -> dict[str, Any]:
    """One training by `model.fit`."""
    x, y = digits()
    return train_fit(mlp((64, 32, 16), 2, 1), (x[:810], y[:810]), (x[810:900], y[810:900]), 16, 30)


def after_a_first(training: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Train twice with JAX's cache of compiled programs, as the command line keeps it; the first call is told apart."""
    import jax

    jax.config.update("jax_compilation_cache_dir", os.path.join(os.environ["BENCH"], "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    first = training()["compile"]
    return {**training(), "compile": first}


def train_ours(nets: list[Any], x: Any, y: Any, epochs: int, patience: int | None = None) -> dict[str, Any]:
    from invdesign_core.context import Context
    from invdesign_core.surrogate.loop import train
    from invdesign_core.surrogate.settings import Training

    ctx = Context()
    settings = Training(
        batch_size=16, schedule="constant", patience=patience or 1, early_stopping=patience is not None, epochs=epochs
    )
    began = time.perf_counter()
    parts = [(np.arange(810), np.arange(810, 900))] * len(nets)
    outcomes = train(nets, list(range(len(nets))), (x, y), parts, settings, ctx, "tune")
    seconds = time.perf_counter() - began
    compiling = ctx.clock.seconds["compile"]
    return {"seconds": seconds - compiling, "compile": compiling, "epochs": sum(o.epochs for o in outcomes)}


def train_fit(net: Any, train: Any, held: Any, batch: int, epochs: int) -> dict[str, Any]:
    began = time.perf_counter()
    net.fit(*train, batch_size=batch, epochs=1, validation_data=held, verbose=0)
    compiling = time.perf_counter() - began
    began = time.perf_counter()
    net.fit(*train, batch_size=batch, epochs=epochs, validation_data=held, verbose=0)
    return {"seconds": time.perf_counter() - began, "compile": compiling, "epochs": epochs}


# A large network


def wide() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10000, 14)).astype("float32"), rng.normal(size=(10000, 10)).astype("float32")
    return mlp((500, 500, 500, 500), 14, 10), x, y


@side
def large_fit() -> dict[str, Any]:
    """14 → 4 × 500 → 10, batch 1024, by `model.fit`."""
    net, x, y = wide()
    return train_fit(net, (x, y), (x[:1000], y[:1000]), 1024, 8)


@side
def large_ours() -> dict[str, Any]:
    """The same in one program an epoch."""
    from invdesign_core.context import Context
    from invdesign_core.surrogate.loop import train
    from invdesign_core.surrogate.settings import Training

    net, x, y = wide()
    ctx, settings = Context(), Training(epochs=9, batch_size=1024, schedule="constant", early_stopping=False)
    began = time.perf_counter()
    train([net], [0], (x, y), [(np.arange(len(x)), np.arange(1000))], settings, ctx, "tune")
    compiling = ctx.clock.seconds["compile"]
    return {"seconds": time.perf_counter() - began - compiling, "compile": compiling, "epochs": 8}


@side
def floor() -> dict[str, Any]:
    """The machine's rate of float32 matrix products."""
    a = np.random.default_rng(0).normal(size=(1024, 1024)).astype("float32")
    _, seconds = timed(lambda: a @ a, 20)
    return {"flops": 2 * 1024**3 / seconds}


# Solving


def fitted(kind: str) -> tuple[Any, Any]:
    """Return a trained network and the formula behind it, trained once and kept in the folder named by $BENCH."""
    import keras

    path = Path(os.environ["BENCH"]) / f"{kind}.keras"
    if not path.exists():  # how long a search takes differs much from network to network; it imports TensorFlow
        keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    if kind == "digits":
        x, y = digits()
        net = mlp((64, 32, 16), 2, 1)
    else:
        x = (rng.normal(size=(8000, 4)) * [0.25, 0.5, 0.5, 0.5]).clip([-0.6, -1.2, -1.2, -1.2], [0.6, 1.2, 1.2, 1.2])
        y, net = arm(x), mlp((128, 128, 128), 4, 2)
    if not path.exists():
        train_ours([net], x[:900], y[:900], 150) if kind == "digits" else net.fit(
            x, y, batch_size=64, epochs=30, verbose=0
        )
        net.save(path)
    return keras.saving.load_model(path, compile=False), (x, y)


@side
def networks() -> dict[str, Any]:
    """Train the networks to invert, so that no side's memory holds that."""
    fitted("digits")
    fitted("arm")
    return {}


def arm(x: Any) -> Any:
    lengths = np.array([0.5, 0.5, 1.0])
    angles = np.stack([x[:, 1], x[:, 2] - x[:, 1], x[:, 3] - x[:, 2] - x[:, 1]], axis=1)
    return np.stack([(lengths * np.cos(angles)).sum(1), x[:, 0] + (lengths * np.sin(angles)).sum(1)], axis=1)


def problem(kind: str, targets: int, starts: int, members: int = 1) -> tuple[Any, Any, Any]:
    """Return a function that makes fresh problems, the start points and the forward map."""
    from invdesign_core.context import Context
    from invdesign_core.registry import Registry
    from invdesign_core.search.loss_functions import LossFunctions
    from invdesign_core.search.problem import Bounded, Problem
    from invdesign_core.space.space import Space
    from invdesign_core.space.variables import Variable
    from invdesign_core.surrogate.surrogate import Surrogate
    from invdesign_core.targets import Targets

    net, (x, y) = fitted(kind)
    e, m = x.shape[1], y.shape[1]
    space = Space(tuple(Variable(f"x{i}", lower=float(x[:, i].min()), upper=float(x[:, i].max())) for i in range(e)))
    surrogate = Surrogate.of_model(net, space, tuple(f"y{i}" for i in range(m)), y=np.asarray(y, dtype=float))
    if members > 1:
        from dataclasses import replace

        import keras

        copies = [keras.models.clone_model(net) for _ in range(members)]
        rng = np.random.default_rng(1)
        for copy in copies:
            copy.set_weights([w * (1 + 1e-3 * rng.normal(size=w.shape)) for w in net.get_weights()])
        surrogate = replace(surrogate, members=tuple(copies))
    forward = LossFunctions(surrogate, Registry.discover().create("objective", "mse", {}))
    wanted = np.asarray(y[:: max(len(y) // targets, 1)][:targets] if targets > 1 else [[2.0]], dtype=float)
    wanted = np.resize(wanted, (targets, m))
    weight = np.ones_like(wanted)
    nothing = np.zeros(wanted.shape, dtype=np.int8)
    asked = Targets(surrogate.outputs, wanted, wanted, weight, 0.02 * weight, nothing, surrogate.spread)
    goal = asked.goal(surrogate.shift, surrogate.scale)
    b = targets * starts
    u0 = np.random.default_rng(2).random((b, e))

    def fresh() -> Any:
        groups = np.repeat(np.arange(targets), starts)
        rows = Bounded(groups, np.zeros((b, e)), np.ones((b, e)))
        return Problem(forward, goal.take(groups), rows, space.discrete, Context())

    return fresh, u0, (forward, goal, net, wanted, space)


def ours(kind: str, targets: int, starts: int, solver: str, members: int = 1, repeats: int = 5) -> dict[str, Any]:
    from invdesign_core.context import Context
    from invdesign_core.registry import Registry

    fresh, u0, (forward, goal, *_) = problem(kind, targets, starts, members)
    plugin = Registry.discover().create("solver", solver, {})
    result = {}

    def run() -> None:
        result["u"] = plugin.solve(fresh(), u0, Context()).u

    first, seconds = timed(run, repeats)
    loss = forward.value(result["u"], goal.take(np.repeat(np.arange(targets), starts)))
    return {"seconds": seconds, "compile": first - seconds, "rows": len(u0), "hit": float((loss < 1e-4).mean())}


def scipy_exact(kind: str, targets: int, starts: int, members: int = 1) -> dict[str, Any]:
    """SciPy's L-BFGS-B, one start after another, with exact gradients of a compiled function of one row."""
    import jax
    import jax.numpy as jnp
    from scipy.optimize import Bounds, minimize

    _, u0, (forward, goal, *_) = problem(kind, targets, starts, members)
    groups = np.repeat(np.arange(targets), starts)
    low, width = forward.surrogate.box[0], forward.surrogate.box[1] - forward.surrogate.box[0]

    @jax.jit
    def both(u: Any, target: Any) -> Any:
        def loss(u: Any) -> Any:
            z = forward.surrogate.trace((low + u * width).astype(jnp.float32)[None]).mean[0]
            return jnp.mean((z - target) ** 2)

        return jax.value_and_grad(loss)(u)

    def run(rows: Any) -> list[float]:
        losses = []
        for row in rows:
            target = goal.lower[groups[row]].astype("float32")

            def fun(u: Any, target: Any = target) -> Any:
                value, gradient = both(u.astype("float32"), target)
                return float(value), np.asarray(gradient, dtype=float)

            options = {"ftol": 1e-12, "gtol": 1e-6, "maxiter": 200}
            bounds = Bounds(np.zeros(u0.shape[1]), np.ones(u0.shape[1]))
            losses.append(minimize(fun, u0[row], jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun)
        return losses

    run(range(3))
    began = time.perf_counter()
    losses = run(range(len(u0)))
    return {"seconds": time.perf_counter() - began, "rows": len(u0), "hit": float((np.array(losses) < 1e-4).mean())}


@side
def notebook_starts() -> dict[str, Any]:
    """The notebook's loop: 3-point differences, one network call for each evaluation."""
    from scipy.optimize import minimize

    net, _ = fitted("digits")
    starts = np.random.default_rng(2).random((100, 2))

    def loss(x: Any) -> float:
        return float((np.asarray(net(x[None].astype("float32")))[0, 0] - 2.0) ** 2)

    began = time.perf_counter()
    for start in starts:
        minimize(loss, start, jac="3-point", bounds=[(0, 1)] * 2, method="L-BFGS-B")
    return {"seconds": time.perf_counter() - began, "rows": 100}


for _name, _arguments in {
    "starts100_least_squares": ("digits", 1, 100, "least-squares"),
    "starts1000_least_squares": ("digits", 1, 1000, "least-squares"),
    "starts1000_lbfgsb": ("digits", 1, 1000, "lbfgsb"),
    "arm_least_squares": ("arm", 200, 50, "least-squares"),
    "arm_lbfgsb": ("arm", 200, 50, "lbfgsb"),
    "arm5_least_squares": ("arm", 200, 50, "least-squares", 5),
}.items():
    SIDES[_name] = lambda a=_arguments: ours(*a)
SIDES["starts1000_scipy"] = lambda: scipy_exact("digits", 1, 1000)
SIDES["arm_scipy"] = lambda: scipy_exact("arm", 200, 50)
SIDES["arm5_scipy"] = lambda: scipy_exact("arm", 200, 50, 5)
SIDES["arm8_scipy"] = lambda: scipy_exact("arm", 200, 8)


@side
def table_ours() -> dict[str, Any]:
    """100,000 targets × 8 starts through `solve_table`, files and all."""
    import pandas as pd

    from invdesign_core.workflow.load import prepare
    from invdesign_core.workflow.solve import solve_table

    _, (x, _y) = fitted("arm")
    rng = np.random.default_rng(3)
    wanted = pd.DataFrame(arm(x[rng.integers(0, len(x), 100000)]), columns=["y1", "y2"])
    bounds = {f"x{i + 1}": (float(x[:, i].min()), float(x[:, i].max())) for i in range(4)}
    path, out = Path(os.environ["BENCH"]) / "arm.keras", Path(os.environ["BENCH"]) / "designs.parquet"
    out.unlink(missing_ok=True)
    solver = {"use": "least-squares", "starts": 8}
    ready = prepare(path, bounds=bounds, overrides={"solver": solver}, designs=1)
    began = time.perf_counter()
    report = solve_table(ready, wanted, out)
    seconds = time.perf_counter() - began - report.seconds["compile"]
    return {"seconds": seconds, "compile": report.seconds["compile"], "rows": 800000, "met": report.met}


if __name__ == "__main__":
    result = SIDES[sys.argv[1]]()
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))
