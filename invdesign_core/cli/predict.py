"""`invdesign predict`: what a surrogate answers for the designs of a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from invdesign_core.cli.option_values import check_exists, listed_names, reading_of
from invdesign_core.cli.output import print_csv, print_line, print_model
from invdesign_core.cli.session import discover, session
from invdesign_core.data.files.contents import ending_of
from invdesign_core.data.files.load import AUTOMATIC
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, InvdesignError, plural
from invdesign_core.registry import build_options
from invdesign_core.workflow.predict import predict_table


def predict(run_or_model: Path, table: Path, out: Path | None, as_json: bool, quiet: bool, **given: Any) -> None:
    """Add the predicted outputs to a table of designs."""
    check_exists(run_or_model)
    registry = discover()
    said = reading_of(given["overrides"])
    reading = build_options(Reading, said, "--set") if said else AUTOMATIC
    with session(given["backend"], quiet) as (stdout, _, ctx), piped(table) as file:
        found = predict_table(
            run_or_model,
            file,
            out,
            inputs=listed_names(given["inputs"], file, reading),
            outputs=listed_names(given["outputs"], file, reading),
            reading=said,
            registry=registry,
            backend_name=given["backend"],
            allow_code=given["allow_code"],
            imports=given["imports"],
            ctx=ctx,
        )
        if as_json:
            report = found.report.model_copy(update={"table": str(table)})
            print_model(report, stdout)
        elif out is None:
            print_csv(found.table, stdout)
        else:
            print_line(f"wrote {plural(found.report.rows, 'row')} with predictions to {out}", stdout)


@contextmanager
def piped(table: Path) -> Iterator[Path]:
    """Return a table's path, or that of a file with what comes from standard input, where the path is ``-``."""
    if str(table) != "-":
        yield table
        return
    data = sys.stdin.buffer.read()
    if not data.strip():
        raise DataError("standard input is empty", "expected column names and rows of values below them")
    with TemporaryDirectory() as folder:
        path = Path(folder, f"stdin{ending_of(data)}")
        path.write_bytes(data)
        try:
            yield path
        except InvdesignError as error:
            error.message = error.message.replace(str(path), "standard input")
            raise
