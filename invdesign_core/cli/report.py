"""`invdesign report`: the report of a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

from invdesign_core.cli.option_values import check_exists
from invdesign_core.cli.output import print_line
from invdesign_core.cli.session import discover, session
from invdesign_core.data.own_columns import read_designs, read_targets
from invdesign_core.errors import ConfigError
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.pages import write_report
from invdesign_core.workflow.run_folder import saved_space
from invdesign_core.workflow.solve import report_table


def report(
    run: Path, targets: Path | None, designs: Path | None, out: Path | None, allow_code: bool, backend: str | None
) -> None:
    """Write the report of a run, of a later solve in it, or of a table of targets that was solved."""
    check_exists(run)
    check_page(out, "--out")
    if (targets is None) != (designs is None) or (targets is not None and out is None):
        raise ConfigError(
            "--targets, --designs and --out go together",
            "for example --targets wanted.csv --designs designs.csv --out table.html",
        )
    if targets is not None and designs is not None and out is not None:
        _of_table(run, targets, designs, out, allow_code, backend)
        file = out
    else:
        with session(backend, True):
            file = write_report(run, out, allow_code=allow_code, backend_name=backend)
    print_line(f"the report is in {file}")


def _of_table(run: Path, targets: Path, designs: Path, out: Path, allow_code: bool, backend: str | None) -> None:
    for path in (targets, designs):
        check_exists(path)
    registry = discover()
    with session(backend, True) as (_, _, ctx):
        space = saved_space(run)
        frame = read_targets(targets, space)
        prepared = prepare(
            run, registry=registry, ctx=ctx, frame=frame, allow_code=allow_code, backend_name=backend, truth=False
        )
        report_table(prepared, frame, read_designs(designs, space), designs, out)


def check_page(out: Path | None, option: str) -> None:
    """Refuse a file that a browser would not open as a page."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{option} {out}: found the ending {out.suffix!r}, expected .html", f"write {out}.html")
