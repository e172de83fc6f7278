"""`invdesign report`: the report of a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from invdesign_core.cli.option_values import check_exists
from invdesign_core.cli.session import session
from invdesign_core.errors import ConfigError
from invdesign_core.workflow.pages import write_report


def report(run: Path, out: Path | None, allow_code: bool, backend: str | None) -> None:
    """Write the report of a run, or of a later solve in it."""
    check_exists(run)
    check_page(out, "--out")
    with session(backend, True):
        file = write_report(run, out, allow_code=allow_code, backend_name=backend)
    click.echo(f"the report is in {file}")


def check_page(out: Path | None, option: str) -> None:
    """Refuse a file that a browser would not open as a page."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{option} {out}: found the ending {out.suffix!r}, expected .html", f"write {out}.html")
