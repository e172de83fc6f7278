"""The one place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback

import click

from invdesign_core.cli import output
from invdesign_core.cli.commands import cli
from invdesign_core.errors import (
    ConfigError,
    ExitCode,
    InvdesignError,
    RunStoreError,
    out_of_memory,
    reason,
    stopped_by,
)

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE)
"""What an operating system says that has no room, or does not allow something."""

NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EILSEQ)
"""What it says of a name that no file can have."""


def main() -> None:
    """Run the command line, and leave with one of the documented exit codes."""
    output.open_standard_streams()
    try:
        code = cli.main(standalone_mode=False)
        output.check_printed(sys.stdout)
    except (click.exceptions.Abort, KeyboardInterrupt):
        output.print_line("interrupted", sys.stderr)
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        output.print_line(told.getvalue().rstrip("\n"), sys.stderr)
        code = ExitCode.CONFIG
    except InvdesignError as error:
        code = _tell(error)
    except Exception as error:
        code = _unforeseen(error)
    if code == ExitCode.INTERRUPTED:
        # JAX may still be computing on threads of its own, and taking the interpreter down would pull the memory
        # from under them. All files are written and closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))
    sys.exit(int(code or 0))


def _unforeseen(error: Exception) -> ExitCode:
    """Say what went wrong where nothing was prepared for it: a fault of the machine, of another package, or of ours."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        where = "" if error.filename is None else f"{error.filename}: "
        return _tell(
            RunStoreError(
                f"{where}{reason(error)}",
                "this comes from the operating system: free some disk space, or change the permissions",
            )
        )
    if isinstance(error, OSError) and error.errno in NAMES:
        return _tell(ConfigError(f"{error.filename}: {reason(error)}", "name another file"))
    small = out_of_memory(error)
    if small is not None:
        return _tell(small)
    damaged = stopped_by(error)
    if damaged is not None:
        return _tell(damaged)
    output.print_line("".join(traceback.format_exception(error)), sys.stderr)
    output.print_marked("Bug", "red", "this is a fault of invdesign, not yours; please report the lines above")
    return ExitCode.BUG


def _tell(error: InvdesignError) -> ExitCode:
    if os.environ.get("INVDESIGN_TRACEBACK", "0") not in ("", "0"):
        output.print_line("".join(traceback.format_exception(error)), sys.stderr)
    output.print_error(error)
    return error.exit_code
