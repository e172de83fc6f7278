"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from invdesign_core.errors import ConfigError
from invdesign_core.registry import OWN
from invdesign_core.space.text import parse_number, parse_range
from invdesign_core.workflow.design import merge_design
from invdesign_core.workflow.experiment import DEFAULTS, Experiment, apply_overrides, parse_value, read_toml

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
time_limit_option = click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="Seconds that the search may take; it then ends with what was found. The same as --set solver.time_limit=…",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Say nothing but the result.")
code_option = click.option(
    "--allow-code",
    is_flag=True,
    help="Let code stored in model files run (Lambda layers, pickled regressors).",
)
import_option = click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="MODULE|FILE.py",
    help="Import your Python code before the model is loaded: layer classes and functions of your own. Repeatable.",
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


def design_options(command: F) -> F:
    """Add an option for each key of `[design]`; `design_values` reads them."""
    for option in reversed(
        [
            click.option(
                "--bounds",
                multiple=True,
                metavar="NAME=LOW..HIGH",
                help="Bounds of a variable; several ranges with commas: NAME=1..2,4..5. Repeatable.",
            ),
            click.option(
                "--fixed", multiple=True, metavar="NAME=VALUE", help="Hold a variable at one value. Repeatable."
            ),
            click.option(
                "--levels", multiple=True, metavar="NAME=A,B,…", help="The only values of a variable. Repeatable."
            ),
            click.option(
                "--step",
                multiple=True,
                metavar="NAME=STEP",
                help="Let a variable take multiples of a step only; 'NAME=STEP from START' counts from another number "
                "than 0. Repeatable.",
            ),
            click.option("--log", multiple=True, metavar="NAME", help="Search a variable on a log scale. Repeatable."),
            click.option(
                "--margin", type=click.FloatRange(0), help="Widen the data's bounds by this share of their range."
            ),
            click.option(
                "--constraint",
                "constraints",
                multiple=True,
                metavar="TEXT",
                help="What designs must satisfy, such as 'a + b <= 1'. Repeatable.",
            ),
            click.option(
                "--near",
                multiple=True,
                metavar="NAME=VALUE,…|FILE:ROW",
                help="A present design, or some of its values, that answers are to be near to: values, or a row of a "
                "table, counted from 1; a table with one row needs no number. Repeatable.",
            ),
            click.option(
                "--fewest-changes",
                is_flag=True,
                help="Change as few values of the present design (--near) as possible.",
            ),
            click.option(
                "--stay-near-data", is_flag=True, help="Stay as near to a measured design as these are to each other."
            ),
        ]
    ):
        command = option(command)
    return command


def with_time_limit(overrides: tuple[str, ...], seconds: float | None) -> tuple[str, ...]:
    """Return the items of `--set` with that of `--time-limit`."""
    return overrides if seconds is None else (*overrides, f"solver.time_limit={seconds!r}")


def experiment_of(
    path: Path | None,
    overrides: Sequence[str],
    plugins: dict[str, str | None],
    seed: int | None,
    backend: str | None,
    design: Mapping[str, Any] | None = None,
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
        values["dataset"] = {"use": f"{OWN}:table", "features": "features.parquet", "targets": "targets.parquet"}
    for kind, name in plugins.items():
        section = values.get(kind, {})
        section = {"use": section} if isinstance(section, str) else section
        if name is not None:
            same = section.get("use", DEFAULTS[kind]) == name
            values[kind] = {**section, "use": name} if same else {"use": name}  # another plugin has other options
    if seed is not None:
        values["seed"] = seed
    if backend is not None:
        values["backend"] = backend
    values = apply_overrides(values, overrides)
    if design:
        section = values.get("design", {})
        values["design"] = merge_design(section, design) if isinstance(section, Mapping) else section
    place = path.name if path is not None else "options"
    folder = path.resolve().parent if path is not None else Path.cwd()
    return Experiment.from_mapping(values, place, folder), source


def design_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `[design]` keys that the options of `design_options` name.

    Raises
    ------
    ConfigError
        If an item has another form than its option shows.
    """
    items: dict[str, Sequence[str]] = {key: options[key] for key in ("bounds", "fixed", "levels", "step")}
    found: dict[str, Any] = {key: dict(_assigned(item, key) for item in items[key]) for key in items if items[key]}
    if options["log"]:
        found["log"] = [name.strip().strip('"') for name in options["log"]]
    if options["margin"] is not None:
        found["margin"] = options["margin"]
    if options["constraints"]:
        found["constraints"] = list(options["constraints"])
    files = [item for item in options["near"] if _is_file(item)]
    if len(files) > 1:
        raise ConfigError(f"--near {files[1]}: found a second row, expected one present design", "name one FILE:ROW")
    if files:
        found["near_row"] = files[0]
    values = dict(pair for item in options["near"] if item not in files for pair in _present(item))
    if values:
        found["near"] = values
    found |= {key: True for key in ("fewest_changes", "stay_near_data") if options[key]}
    return found


def _is_file(item: str) -> bool:
    """Whether an item of `--near` names a table: what holds no ``=``, or is a table that is there."""
    from invdesign_core.data.files.load import READERS
    from invdesign_core.data.own_columns import split_row

    path = split_row(item)[0]
    return "=" not in item or (path.suffix.lower() in READERS and path.is_file())


def _present(item: str) -> list[tuple[str, Any]]:
    """Read ``NAME=VALUE,NAME=VALUE``; a name in double quotes may hold a comma."""
    parts = re.findall(r'(?:"[^"]*"|[^,"])+', item)
    pairs: list[tuple[str, Any]] = []
    for part in parts:
        name, sign, text = part.rpartition("=")
        if not sign:
            raise ConfigError(f"--near {item!r}: expected NAME=VALUE,… or FILE:ROW", "for example --near a=0.2,b=0.3")
        pairs.append((name.strip().strip('"'), parse_value(text)))
    return pairs


EXAMPLES = {
    "bounds": "--bounds x=0..1",
    "fixed": "--fixed T=300",
    "levels": "--levels x=1,2,4",
    "step": "--step x=0.1",
}
"""What an item of these options looks like."""


def _assigned(item: str, key: str) -> tuple[str, Any]:
    """Read one ``NAME=VALUE`` item; the name ends at the last ``=``, since tables and models are not read yet."""
    place = f"--{key} {item!r}"
    name, sign, text = item.rpartition("=")
    if not sign:
        raise ConfigError(f"{place}: expected NAME=VALUE", f"for example {EXAMPLES[key]}")
    name = name.strip().strip('"')
    if key == "fixed":
        return name, parse_value(text)
    if key == "step":
        by, counted, start = text.partition(" from ")
        if not counted:
            return name, parse_number(by, place)
        return name, {"by": parse_number(by, place), "from": parse_number(start, place)}
    if key == "bounds":
        ranges = [parse_range(part, place) for part in text.split(",")]
        return name, ranges if len(ranges) > 1 else ranges[0]
    whole = parse_value(text)
    return name, whole if isinstance(whole, list) else [parse_value(part) for part in text.split(",")]
