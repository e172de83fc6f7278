"""`invdesign completion`: the script by which a shell completes our commands, printed or installed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete
from platformdirs import user_data_path

from invdesign_core.cli.commands import cli
from invdesign_core.data.files.atomic import write_text
from invdesign_core.errors import ConfigError, RunStoreError, reason

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
PROGRAM, VARIABLE = "invdesign", "_INVDESIGN_COMPLETE"
MARK = "# completion of invdesign"
"""What ends the line in a start-up file by which it is found again."""


def completion(shell: str | None, install: bool) -> None:
    """Print the script for a shell, or install it."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        found = f"found {name!r} in $SHELL" if name else "there is no $SHELL"
        raise ConfigError(
            f"completion: {found}, expected bash, zsh or fish", "name the shell: invdesign completion bash"
        )
    script = SHELLS[name](cli, {}, PROGRAM, VARIABLE).source()
    if not install:
        click.echo(script)
        return
    click.echo(_fish(script) if name == "fish" else _by_start_up_file(name, script))
    click.echo("it works in shells that are started from now on")


def _fish(script: str) -> str:
    """Write the script where fish looks for it by itself."""
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return f"wrote {_written(settings / 'fish' / 'completions' / f'{PROGRAM}.fish', script)}"


def _by_start_up_file(shell: str, script: str) -> str:
    """Write the script, and a line that reads it into the shell's start-up file, once."""
    file = _written(user_data_path(PROGRAM, appauthor=False) / f"completion.{shell}", script)
    home = Path(os.environ.get("ZDOTDIR") or Path.home()) if shell == "zsh" else Path.home()
    start_up = home / f".{shell}rc"
    ready = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }; " if shell == "zsh" else ""
    place = shlex.quote(str(file))
    line = f"[ ! -f {place} ] || {{ {ready}. {place}; }}  {MARK}"
    try:
        before = start_up.read_text(encoding="utf-8") if start_up.exists() else ""
        if MARK in before:
            return f"wrote {file}, which {start_up} reads already"
        with start_up.open("a", encoding="utf-8") as lines:
            lines.write(("" if before.endswith("\n") or not before else "\n") + line + "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no text in UTF-8"
        raise RunStoreError(f"{start_up}: can't be changed: {why}", f"add this line to it yourself: {line}") from None
    return f"wrote {file}, and a line that reads it into {start_up}"


def _written(file: Path, script: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunStoreError(f"{file.parent}: can't be made: {reason(error)}") from None
    write_text(file, script, "print the script instead: leave out --install")
    return file
