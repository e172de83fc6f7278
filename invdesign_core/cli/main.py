"""The command group, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from invdesign_core.cli import output
from invdesign_core.errors import ExitCode, InvdesignError, PluginError, RunStoreError, described, reason, stopped_by

COMMANDS = {
    "init": "Write a commented experiment file for a table of your own.",
    "run": "Train a surrogate on a table and find the designs that hit a target.",
    "solve": "Invert a saved run, or a Keras model of your own.",
    "predict": "Predict the outputs of the designs in a table.",
    "plugins": "List the installed plugins, or show one.",
    "validate": "Check an experiment file, its plugins, data and targets, without training.",
    "schema": "Show every key of the experiment file.",
}
"""What each command does, in the order in which they are usually needed; each has a module of its name."""


class Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are usually needed."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = getattr(import_module(f"invdesign_core.cli.{cmd_name}"), cmd_name)
        command.short_help = COMMANDS[cmd_name]
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
            import traceback

            frames = traceback.extract_tb(error.__traceback__)
            raise PluginError(
                f"{frames[-1].filename}, line {frames[-1].lineno}: {described(error)}", "this is a fault of the plugin"
            ) from error


def _print_version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from invdesign_core import __version__

        click.echo(f"invdesign, version {__version__}")
        ctx.exit()


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
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
        return _tell(
            RunStoreError(
                f"{where}{reason(error)}",
                "this comes from the operating system: free some disk space, or change the permissions",
            )
        )
    damaged = stopped_by(error)
    if damaged is not None:
        return _tell(damaged)
    import traceback

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
