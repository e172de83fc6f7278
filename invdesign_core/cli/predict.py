"""`invdesign predict`: what a surrogate answers for the designs of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invdesign_core.cli.option_values import check_exists, listed_names
from invdesign_core.cli.session import discover, session
from invdesign_core.errors import plural
from invdesign_core.workflow.predict import predict_table


def predict(run_or_model: Path, table: Path, out: Path | None, as_json: bool, quiet: bool, **given: Any) -> None:
    """Add the predicted outputs to a table of designs."""
    check_exists(run_or_model)
    registry = discover()
    with session(given["backend"], quiet) as (stdout, _, ctx):
        found = predict_table(
            run_or_model,
            table,
            out,
            inputs=listed_names(given["inputs"], table),
            outputs=listed_names(given["outputs"], table),
            registry=registry,
            backend_name=given["backend"],
            allow_code=given["allow_code"],
            imports=given["imports"],
            ctx=ctx,
        )
        if as_json:
            stdout.write(found.report.model_dump_json(indent=1) + "\n")
        elif out is None:
            stdout.write(found.table.to_csv(index=False, lineterminator="\n"))
        else:
            stdout.write(f"wrote {plural(found.report.rows, 'row')} with predictions to {out}\n")
