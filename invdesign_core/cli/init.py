"""`invdesign init`: a first experiment file for a user's own table: what was found in it, and a target to fill in."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from invdesign_core.cli.console import Watcher
from invdesign_core.cli.option_values import reading_of
from invdesign_core.cli.output import check_printed, print_line, results_only_on_stdout
from invdesign_core.cli.session import discover
from invdesign_core.context import Context
from invdesign_core.data.bookkeeping import described_rows, reasons, sentence
from invdesign_core.data.data import Data
from invdesign_core.data.equations import equations_among, toml_text
from invdesign_core.data.files.atomic import write_text
from invdesign_core.data.files.load import load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.several import find_files
from invdesign_core.data.quality import data_notes, data_warnings
from invdesign_core.errors import InvdesignError, RunStoreError, plural
from invdesign_core.errors.visible import visible_toml
from invdesign_core.registry import build_options
from invdesign_core.space.digits import near, typed
from invdesign_core.space.space import Space
from invdesign_core.space.text import split_names
from invdesign_core.space.units import Units
from invdesign_core.space.variables import Variable
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.validate import load

NO_VALUES = "holds dates or other values that can't be used"
FEW_VALUES, EACH = 8, 5
"""So few different numbers, each so often on average, may be all that exist."""
FOUND = ("inputs", "kinds")
"""Options of the dataset that the file states as they were found, so that no option is repeated."""


def init(table: Path, outputs: str, out: Path | None, overrides: tuple[str, ...], quiet: bool) -> None:
    """Read a table, and write an experiment file with what was found in it."""
    several = any(mark in str(table) for mark in "*?[") and not table.exists()
    first = find_files(Path.cwd(), [table])[0] if several else table
    stem = re.sub(r"[*?[\]]+", "", table.stem).strip("_- ") if several else table.stem
    path = out if out is not None else Path(f"{stem or 'experiment'}.toml")
    with results_only_on_stdout() as stdout:
        given = reading_of(overrides)
        reading = build_options(Reading, {k: v for k, v in given.items() if k in Reading.model_fields}, "--set")
        found = load_table(first, reading, columns=[], strict=False)
        names = split_names(outputs, found.names)
        # as the file will mean it
        there: Any = Path(os.path.relpath(Path.cwd() / table, path.parent.resolve())).as_posix()
        there = [there] if several else there
        options: dict[str, Any] = {"path": there, "outputs": names, **given}
        said = [*options.get("leave_out", ()), *names, *([] if "inputs" not in given else found.refused)]
        aside = {name: NO_VALUES for name in found.refused if name not in said}
        registry = discover()
        use = registry.label("dataset", "table")

        def data_without(columns: Iterable[str], ctx: Context) -> Data:
            if columns:
                options["leave_out"] = [*given.get("leave_out", ()), *columns]
            return load(registry.create("dataset", use, {**options, "path": Path.cwd() / table}), ctx)  # type: ignore[arg-type]

        with Watcher(quiet) as watcher:
            ctx = replace(Context(), emit=watcher)
            data = data_without(aside, ctx)
            more = {name: what for name, what in described_rows(data).items() if not data.space[name].condition}
            if "inputs" not in given and 0 < len(more) < len(data.space.names):
                aside |= more
                data = data_without(aside, replace(ctx, emit=lambda event: None))
            if aside:
                ctx.warn(sentence(aside))
        if path.exists():
            raise RunStoreError(f"{path}: the file already exists", "choose another --out, or delete it")
        write_text(path, draft(data, list(options.items()), use, reasons(aside)))
        wanted = shlex.quote(f"{data.outputs[0]}=VALUE")
        print_line(f"wrote {path}; add a target to it, or pass --target:", stdout)
        print_line(f"  invdesign validate {shlex.quote(str(path))}", stdout)
        print_line(f"  invdesign run {shlex.quote(str(path))} --target {wanted}", stdout)
        check_printed(stdout, f"{path} was written nevertheless")


def draft(data: Data, options: Sequence[tuple[str, object]], use: str = "table", aside: str = "") -> str:
    """Return a commented experiment file, with the options that the dataset named `use` needs to read the table.

    `aside` says why some of the columns are left out.
    """
    space, rules = _constrained(data)
    lines = [
        f"# Inverse design with {data.name}: {plural(len(data.frame), 'row')}.",
        "# Lines that begin with # are comments; remove the # to activate a line.",
        "",
        "seed = 0",
        "",
        "[dataset]",
        f"use = {toml(use)}",
        *_options(options, aside),
        "# Columns that can be set in a design; remove results.",
        f"inputs = {toml(list(data.space.names))}",
        "",
        "# The kind of each input, as read from its column; correct what is wrong.",
        "[dataset.kinds]",
        *(f"{toml_key(v.name)} = {toml(v.kind)}{_few(data, v)}" for v in data.space.variables),
        "",
        "[design]",
        *_rules(rules),
        "# The search range of each input: the range in the table. Predictions far outside it are unreliable.",
    ]
    bounded = [v for v in data.space.variables if v.kind in ("continuous", "integer") and not v.condition]
    lines += ["[design.bounds]"] if bounded else []
    lines += [f"{toml_key(v.name)} = [{_number(v.lower)}, {_number(v.upper)}]" for v in bounded]
    for v in data.space.variables:
        if v.kind not in ("continuous", "integer"):
            lines.append(f"# {v.name} takes {', '.join(map(str, v.levels[:8]))}{' …' if len(v.levels) > 8 else ''}")
    lines += [
        *_wishes(data),
        "",
        '# Units of columns. Targets, bounds and constraints may then be in others, such as "350 K".',
        "[units]",
        *_units(data),
        "",
        "[solver]",
        "starts = 64",
        "",
        '# The targets of the outputs. Set one or more: a number, "<=1", ">=1", "1..2", "max" or "min".',
        "[targets]",
    ]
    for m, name in enumerate(data.outputs):
        measured = data.y[np.isfinite(data.y[:, m]), m]
        middle, low, high = (
            near(float(value), 1e-3 * float(np.ptp(measured)))
            for value in (np.median(measured), measured.min(), measured.max())
        )
        lines.append(f"# {toml_key(name)} = {middle}  # measured: {low} to {high}")
    odd = [*data_warnings(data, space), *data_notes(data)]
    if odd:
        lines += ["", "# Notes about this table:", *(f"# - {text}" for text in odd)]
    return "".join(visible_toml(line) + "\n" for line in lines)


def _few(data: Data, variable: Variable) -> str:
    """Return a comment behind the kind of numbers of which a table has few, or nothing."""
    if variable.kind not in ("continuous", "integer"):
        return ""
    values = np.unique(data.frame[variable.name])
    gaps = variable.kind == "continuous" or values[-1] - values[0] >= len(values)
    if not gaps or not 1 < len(values) <= FEW_VALUES or len(values) * EACH > len(data.frame):
        return ""
    return f'  # "levels" if none exist but {", ".join(map(typed, values))}'


def _units(data: Data) -> list[str]:
    """Return commented lines with the units that the table says, or with one to fill in."""
    known = Units.of_columns(data.space.variables, data.outputs, data.units).of
    lines = [f"# {toml_key(name)} = {toml(unit)}" for name, unit in known.items()]
    return lines or [f'# {toml_key(data.outputs[0])} = "…"  # such as "degC", "L/min", "kg/m^3" or "%"']


def _options(options: Sequence[tuple[str, object]], aside: str) -> list[str]:
    """Return the lines of the dataset's options; `aside` says what is left out because of what its values are."""
    lines = []
    for key, value in options:
        if key == "leave_out" and aside:
            lines += [f"# Probably no design variables: {aside}.", "# To use one of them, move it to inputs."]
        if value is not None and key not in FOUND:
            lines.append(f"{toml_key(key)} = {toml(value)}")
    return lines


def _rules(found: list[str]) -> list[str]:
    """Return keys of `[design]` itself, which stand before its tables: what all rows satisfy, and commented wishes."""
    why = "# Every row of the table satisfies these; without them most designs in the search range can't exist."
    return [
        "# Further equations and limits that designs must satisfy belong into the list:"
        if found
        else '# Equations and limits that designs must satisfy stand here, such as: constraints = ["a + b <= 1"]',
        *([why, "constraints = [", *(f"    {toml_text(text)}," for text in found), "]"] if found else []),
        "# Only accept designs as close to a row of the table as its rows are to each other:",
        "# stay_near_data = true",
        "# Change as few values of the reference design in [design.near] as possible:",
        "# fewest_changes = true",
        "",
    ]


def _constrained(data: Data) -> tuple[Space, list[str]]:
    """Return the design variables with those of the table's equations that designs can satisfy, and these as text."""
    space = data.space
    found: list[str] = []
    for equation in equations_among(data.x, data.space):
        try:
            space = Design(constraints=[*found, equation.constraint]).apply(data.space, data.outputs)
        except InvdesignError:  # such as whole numbers that can't satisfy what was rounded
            continue
        found.append(equation.constraint)
    return space, found


def _wishes(data: Data) -> list[str]:
    """Return commented tables of `[design]` for what a table can't say of a design, with the table's own names."""
    told = [v.name for v in data.space.variables if v.condition]
    why = (
        "# The values at which to search, of what is measured and not chosen:"
        if told
        else "# Fix an input at one value:"
    )
    lines = ["", why, "# [design.fixed]"]
    lines += [f"# {toml_key(name)} = {_cell(data, name)}" for name in told or data.space.names[:1]]
    if told:
        lines += ["", "# Or designs that meet the target on average over the measured values:", "# [design.conditions]"]
        lines += [f'# {toml_key(name)} = "data"' for name in told]
    moving = [v for v in data.space.variables if v.kind in ("continuous", "integer") and v.upper > v.lower]
    if moving:  # a power of ten that cuts the range into 10 to 100 steps; a whole one for whole numbers
        v = moving[0]
        step = "1" if v.kind == "integer" else typed(10.0 ** np.floor(np.log10((v.upper - v.lower) / 10)))
        lines += ["", "# The resolution of an instrument:", "# [design.step]", f"# {toml_key(v.name)} = {step}"]
    return [
        *lines,
        "",
        "# Reference design: answers stay close to it.",
        "# [design.near]",
        *(f"# {toml_key(name)} = {_cell(data, name)}" for name in data.space.names),
    ]


def toml(value: object) -> str:
    """Write a value as TOML on one line; TOML has no null, so keys without a value are left out."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: inner for key, inner in value.items() if inner is not None})
        return table.as_string()
    return tomlkit.item(value).as_string()


def toml_key(name: str) -> str:
    """Write a name as a TOML key: bare where it may be, else in quotes."""
    return tomlkit.key(name).as_string()


def _number(value: float) -> str:
    return repr(float(value)) if value != int(value) or abs(value) > 1e15 else str(int(value))


def _cell(data: Data, name: str) -> str:
    """Write the first value of a column as TOML."""
    value = data.frame[name].iloc[0]
    return toml(value.item() if hasattr(value, "item") else value)
