"""The command group, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

import click

from invdesign_core import __version__
from invdesign_core.cli import output
from invdesign_core.distributions import stopped_by
from invdesign_core.errors import ExitCode, InvdesignError, PluginError, RunStoreError, described, reason

COMMANDS = {
    "init": "invdesign_core.cli.init:init",
    "run": "invdesign_core.cli.run:run",
    "solve": "invdesign_core.cli.solve:solve",
    "predict": "invdesign_core.cli.predict:predict",
    "plugins": "invdesign_core.cli.plugins:plugins",
    "validate": "invdesign_core.cli.validate:validate",
    "schema": "invdesign_core.cli.schema:schema",
}


class Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a user's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and keep from click what it would take for something else than it is."""
        try:
            return super().invoke(ctx)
        except (EOFError, BrokenPipeError) as error:  # for click Ctrl-C at a prompt, and a reader who went away
            raise RuntimeError(described(error)) from error
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # no command ends the program, nor raises what nobody would catch
            frames = traceback.extract_tb(error.__traceback__)
            raise PluginError(
                f"{frames[-1].filename}, line {frames[-1].lineno}: {described(error)}", "this is a fault of the plugin"
            ) from error


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="invdesign")
def cli() -> None:
    """Which inputs give the output I want?

    Train a surrogate on a table of designs and measured responses, and invert it.

    \b
    Examples:
      invdesign run                                the built-in example: which digits write 2?
      invdesign init mine.csv --outputs H2         an experiment file for your own table
      invdesign run mine.toml --target 'H2=0.33'   your own table, as the file says
      invdesign solve runs/… --target 'H2=0.30'    another target, without training again
      invdesign predict runs/… mine.csv            what the surrogate answers for designs of yours
    """


def main() -> None:
    """Run the command line, and leave with one of the documented exit codes."""
    output.open_standard_streams()
    try:
        code = cli.main(standalone_mode=False)
        output.check_printed(sys.stdout)
    except click.exceptions.Abort:
        code = _interrupted()
    except KeyboardInterrupt:
        code = _interrupted()
    except click.ClickException as error:
        error.show()
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


REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE)
"""What an operating system says that has no room, or does not allow something."""


def _unforeseen(error: Exception) -> ExitCode:
    """Say what went wrong where nothing was prepared for it: a fault of the machine, of another package, or of ours."""
    if isinstance(error, OSError) and error.errno in REFUSALS:
        where = "" if error.filename is None else f"{error.filename}: "
        return _tell(RunStoreError(f"{where}{reason(error)}", "so says the operating system: make room or allow it"))
    damaged = stopped_by(error)
    if damaged is not None:
        return _tell(damaged)
    traceback.print_exception(error)
    _say("Bug", "red", "this is a fault of invdesign, not yours; please report the lines above")
    return ExitCode.BUG


def _tell(error: InvdesignError) -> ExitCode:
    _say("Error", "red", error.message)
    if error.hint:
        _say("Hint", "yellow", error.hint)
    return error.exit_code


def _interrupted() -> Any:
    click.echo("interrupted", err=True)
    return ExitCode.INTERRUPTED


def _say(word: str, colour: str, text: str) -> None:
    click.echo(click.style(f"{word}: ", fg=colour, bold=True) + text, err=True)
