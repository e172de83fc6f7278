"""Options that several commands share. Help loads nothing but this and click; `option_values` reads their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from invdesign_core.workflow.defaults import DEFAULTS

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
target_option = click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Target for an output: NAME=2, 'NAME<=1', 'NAME>=1', NAME=1..2, NAME=max, NAME=min or NAME=free, optionally "
    "followed by 'tolerance 0.1' or 'weight 2'; a single output needs no name. Repeatable.",
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
    help="Maximum duration of the search; it then returns the best designs so far. Same as --set solver.time_limit=…",
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print only the result.")
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
inputs_option = click.option(
    "--inputs",
    metavar="A,B,…",
    help="For a model: names of its inputs, in order. A name in double quotes may contain a comma.",
)
outputs_option = click.option("--outputs", metavar="A,B,…", help="For a model: names of its outputs, in order.")


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
                "--fixed", multiple=True, metavar="NAME=VALUE", help="Fix a variable at one value. Repeatable."
            ),
            click.option(
                "--levels", multiple=True, metavar="NAME=A,B,…", help="The only values of a variable. Repeatable."
            ),
            click.option(
                "--step",
                multiple=True,
                metavar="NAME=STEP",
                help="Allow only multiples of a step; 'NAME=STEP from START' counts from a number other than 0. "
                "Repeatable.",
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
                help="A reference design, or some of its values, that answers stay close to: values, or a row of a "
                "table, counted from 1; a table with one row needs no number. Repeatable.",
            ),
            click.option(
                "--fewest-changes",
                is_flag=True,
                help="Change as few values of the reference design (--near) as possible.",
            ),
            click.option(
                "--stay-near-data",
                is_flag=True,
                help="Only accept designs as close to a measured one as measured designs are to each other.",
            ),
        ]
    ):
        command = option(command)
    return command


def with_time_limit(overrides: tuple[str, ...], seconds: float | None) -> tuple[str, ...]:
    """Return the items of `--set` with that of `--time-limit`."""
    return overrides if seconds is None else (*overrides, f"solver.time_limit={seconds!r}")
