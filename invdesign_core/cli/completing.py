"""What a shell offers to complete a word: plugins, run folders, and columns; nothing where that can't be found out."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import click
from click.shell_completion import CompletionItem, split_arg_string

from invdesign_core.errors.visible import visible

Offers = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def offering(find: Callable[[click.Context, click.Parameter, str], Iterable[str]]) -> Offers:
    """Return what completes a word by the texts that a function finds; a fault is no text for a prompt."""

    @wraps(find)
    def offer(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = [text for text in find(ctx, parameter, incomplete) if visible(text, lines=False) == text]
            return [CompletionItem(text) for text in found if text.startswith(incomplete)]
        except Exception:
            return []

    return offer


def of_kind(kind: str) -> Offers:
    """Return what completes the name of a plugin of a kind."""
    return offering(lambda ctx, parameter, incomplete: _plugins(kind))


@offering
def plugin_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterable[str]:
    """Complete the name of any plugin."""
    return _plugins(None)


def run_folders(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a run folder below `runs` or the folder that is typed, the newest first; else any file."""
    typed = Path(incomplete)
    folder = Path("runs") if "/" not in incomplete else typed if incomplete.endswith("/") else typed.parent
    try:
        found = [path for path in folder.iterdir() if (path / "resolved.json").is_file()]
    except OSError:
        found = []
    begun = [str(path) for path in sorted(found, key=lambda path: path.name, reverse=True)]
    offers = [CompletionItem(text) for text in begun if text.startswith(incomplete) and visible(text) == text]
    return offers or [CompletionItem(incomplete, type="file")]


@offering
def output_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterable[str]:
    """Complete the name of an output of the run, or of the experiment file, that is typed before."""
    return _names("outputs")


@offering
def input_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Iterable[str]:
    """Complete the name of a design variable of the run, or of the experiment file, that is typed before."""
    return _names("inputs")


def _plugins(kind: str | None) -> Iterable[str]:
    from invdesign_core.cli.session import discover

    return sorted({entry.name for entry in discover().entries if kind in (None, entry.kind)})


def _names(which: str) -> list[str]:
    """Return the names of columns in the settings of the run, or in the experiment file, that the command line names.

    click tells no arguments while the value of an option is completed, so that the words are looked through.
    """
    for path in map(Path, split_arg_string(os.environ.get("COMP_WORDS", ""))[2:]):
        if path.suffix == ".toml" and path.is_file():
            return list(tomllib.loads(path.read_text(encoding="utf-8"))["dataset"][which])
        if (path / "resolved.json").is_file():
            settings = json.loads((path / "resolved.json").read_text(encoding="utf-8"))
            return list(settings["trials depend on"][f"the {which}"])
    return []
