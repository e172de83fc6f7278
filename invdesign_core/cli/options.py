"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from invdesign_core.experiment import DEFAULTS, Experiment, apply_overrides, read_toml
from invdesign_core.words import parse_range

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
target_option = click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Wanted output: NAME=2, 'NAME<=1', 'NAME>=1', NAME=1..2, NAME=max, NAME=min or NAME=free, and after it "
    "'tolerance 0.1' or 'weight 2'; a single output needs no name. Repeatable.",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Set any key of the experiment file, such as solver.starts=16. Repeatable.",
)
backend_option = click.option(
    "--backend", type=click.Choice(["jax", "tensorflow"]), help="What Keras runs on; by default jax."
)
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Fixes data, training, starts and result.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing but the result.")
code_option = click.option(
    "--allow-code",
    is_flag=True,
    help="Let code stored in model files run (Lambda layers, pickled regressors).",
)


def plugin_options(kinds: Sequence[str]) -> Callable[[F], F]:
    """Add an option for the plugin of each kind."""

    def add(command: F) -> F:
        for kind in reversed(kinds):
            command = click.option(
                f"--{kind}", metavar="NAME", help=f"The {kind} plugin; by default {DEFAULTS[kind]}."
            )(command)
        return command

    return add


def experiment_of(
    path: Path | None,
    overrides: Sequence[str],
    plugins: dict[str, str | None],
    seed: int | None,
    backend: str | None,
) -> tuple[Experiment, str | None]:
    """Return the experiment of a file and the options over it, and the file's text.

    Without a file the tables ``features.parquet`` and ``targets.parquet`` of the current folder are
    taken, where both are there.

    Raises
    ------
    ConfigError
        If the file or an option can't be used.
    """
    values: dict[str, Any] = {}
    source = None
    if path is not None:
        values = read_toml(path)
        source = path.read_text(encoding="utf-8-sig")
    elif plugins.get("dataset") is None and all(Path(f"{n}.parquet").exists() for n in ("features", "targets")):
        values["dataset"] = {"use": "table", "features": "features.parquet", "targets": "targets.parquet"}
    for kind, name in plugins.items():
        section = values.get(kind, {})
        section = {"use": section} if isinstance(section, str) else section
        if name is not None and section.get("use", DEFAULTS[kind]) != name:
            values[kind] = {"use": name}  # another plugin has other options
    if seed is not None:
        values["seed"] = seed
    if backend is not None:
        values["backend"] = backend
    values = apply_overrides(values, overrides)
    place = path.name if path is not None else "options"
    folder = path.resolve().parent if path is not None else Path.cwd()
    return Experiment.from_mapping(values, place, folder), source


def names_in(items: Sequence[str]) -> list[str]:
    """Return the names before the last ``=`` of each item, for tables and models not read yet."""
    return [item.rpartition("=")[0].strip().strip('"') for item in items]


def parse_bounds(items: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Read ``NAME=LOW..HIGH`` items.

    Raises
    ------
    ConfigError
        If an item has another form.
    """
    return {
        name: parse_range(item.rpartition("=")[2], f"--bounds {item!r}")
        for name, item in zip(names_in(items), items, strict=True)
    }


def parse_fixed(items: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` items.

    Raises
    ------
    ConfigError
        If an item has another form.
    """
    from invdesign_core.errors import ConfigError
    from invdesign_core.experiment import parse_value

    for item in items:
        if "=" not in item:
            raise ConfigError(f"--fixed {item!r}: expected NAME=VALUE", "for example --fixed T=300")
    return {name: parse_value(item.rpartition("=")[2]) for name, item in zip(names_in(items), items, strict=True)}
