"""`invdesign init`: a first experiment file from the user's own table."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from invdesign_core.cli.options import quiet_option
from invdesign_core.cli.output import check_printed, discover, results_only_on_stdout
from invdesign_core.errors import RunStoreError


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--outputs", required=True, metavar="A,B,…", help="The measured columns that targets are set for.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; by default the table's name.toml.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the table dataset, such as skip_rows=1. Repeatable.",
)
@quiet_option
def init(table: Path, outputs: str, out: Path | None, overrides: tuple[str, ...], quiet: bool) -> None:
    """Read a table, and write an experiment file with what was found in it.

    The file lists each input's kind and range, notes about the table, and a target to fill in.

    \b
    Examples:
      invdesign init mine.csv --outputs H2,N2
      invdesign init mine.csv --outputs 'flow rate' --set decimal=, --out first.toml
    """
    from invdesign_core.atomic import write_text
    from invdesign_core.cli.console import Watcher
    from invdesign_core.cli.template import draft
    from invdesign_core.context import Context
    from invdesign_core.data.files.load import load_table
    from invdesign_core.data.files.options import Reading
    from invdesign_core.registry import build_options
    from invdesign_core.space.text import split_names
    from invdesign_core.workflow.experiment import apply_overrides
    from invdesign_core.workflow.validate import load

    path = out if out is not None else Path(f"{table.stem or 'experiment'}.toml")
    with results_only_on_stdout() as stdout:
        given = apply_overrides({}, [f"dataset.{item.removeprefix('dataset.')}" for item in overrides])
        given = given.get("dataset", {})
        reading = build_options(Reading, {k: v for k, v in given.items() if k in Reading.model_fields}, "--set")
        names = split_names(outputs, load_table(table, reading, strict=False).names)
        options: dict[str, Any] = {"path": _relative(table, path.parent), "outputs": names, **given}
        registry = discover()
        use = registry.label("dataset", "table")
        with Watcher(quiet) as watcher:
            data: Any = load(
                registry.create("dataset", use, {**options, "path": table.resolve()}),  # type: ignore[arg-type]
                replace(Context(), emit=watcher),
            )
        if path.exists():
            raise RunStoreError(f"{path}: the file already exists", "choose another --out, or delete it")
        write_text(path, draft(data, list(options.items()), use))
        wanted = shlex.quote(f"{names[0]}=VALUE")
        stdout.write(f"wrote {path}; add a target to it, or pass --target:\n")
        stdout.write(f"  invdesign validate {shlex.quote(str(path))}\n")
        stdout.write(f"  invdesign run {shlex.quote(str(path))} --target {wanted}\n")
        check_printed(stdout, f"{path} was written nevertheless")


def _relative(table: Path, folder: Path) -> str:
    """Return the table's path as the experiment file will mean it."""
    import os

    return Path(os.path.relpath(table.resolve(), folder.resolve())).as_posix()
