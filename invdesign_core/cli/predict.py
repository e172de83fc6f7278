"""`invdesign predict`: what a surrogate answers for the designs of a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from invdesign_core.cli.options import (
    backend_option,
    code_option,
    import_option,
    inputs_option,
    json_option,
    outputs_option,
    quiet_option,
)
from invdesign_core.cli.output import discover, import_keras, results_only_on_stdout, stop_on_interrupt
from invdesign_core.errors import plural


@click.command()
@click.argument("run_or_model", metavar="RUN|MODEL.keras", type=click.Path(path_type=Path))
@click.argument("table", metavar="TABLE", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The .csv, .parquet or .xlsx file for the table with its predictions; by default they are printed as CSV.",
)
@inputs_option
@outputs_option
@backend_option
@code_option
@import_option
@json_option
@quiet_option
def predict(
    run_or_model: Path,
    table: Path,
    out: Path | None,
    inputs: str | None,
    outputs: str | None,
    backend: str | None,
    allow_code: bool,
    imports: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Add the predicted outputs to a table of designs.

    TABLE has a column for each design variable, named NAME or, as in the tables that `invdesign solve`
    writes, design.NAME. All its columns are kept; prediction.NAME and, for an ensemble, spread.NAME are
    added.

    \b
    Examples:
      invdesign predict runs/20260101-120000 mine.csv
      invdesign predict runs/20260101-120000 designs.xlsx --out predicted.xlsx
      invdesign predict mine.keras mine.csv --inputs flow,heat --outputs yield --json
    """
    from invdesign_core.cli.console import Watcher
    from invdesign_core.cli.option_values import check_exists, listed_names
    from invdesign_core.context import Context

    check_exists(run_or_model)
    registry = discover()
    ctx = Context()
    with results_only_on_stdout() as stdout, Watcher(quiet) as watcher, stop_on_interrupt(ctx.stop):
        import_keras(backend)
        from invdesign_core.workflow.predict import predict_table

        found = predict_table(
            run_or_model,
            table,
            out,
            inputs=listed_names(inputs, table),
            outputs=listed_names(outputs, table),
            registry=registry,
            backend_name=backend,
            allow_code=allow_code,
            imports=imports,
            ctx=replace(ctx, emit=watcher),
        )
        if as_json:
            stdout.write(found.report.model_dump_json(indent=1) + "\n")
        elif out is None:
            stdout.write(found.table.to_csv(index=False, lineterminator="\n"))
        else:
            stdout.write(f"wrote {plural(found.report.rows, 'row')} with predictions to {out}\n")
