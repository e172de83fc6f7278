"""`invdesign plugins`: what is installed, who brings it, what it can be told."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from invdesign_core.cli.options import json_option
from invdesign_core.cli.output import discover

if TYPE_CHECKING:
    from invdesign_core.registry import Entry, Provider


@click.group()
def plugins() -> None:
    """List the installed plugins, or show one.

    \b
    Examples:
      invdesign plugins list
      invdesign plugins show lbfgsb
    """


@plugins.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """List every plugin with the distribution that brings it, and those that could not be loaded."""
    registry = discover()
    rows = [_row(entry) | {"warnings": entry.warnings} for entry in registry.entries]
    broken = [_source(provider) | {"error": provider.error} for provider in registry.broken]
    if as_json:
        found = {"plugins": rows, "observers": [_source(p) for p in registry.observers], "broken": broken}
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    widths = (
        {key: max(len(str(row[key])) for row in [*rows, dict.fromkeys(rows[0], "")]) for key in rows[0]} if rows else {}
    )
    for row in sorted(rows, key=lambda row: list(row.values())[:2]):
        cells = [str(row[key]).ljust(widths[key]) for key in ("kind", "name")]
        source = f"{row['distribution']} {row['version']}"
        click.echo(f"{'  '.join(cells)}  {source.ljust(24)}  {row['summary']}")
    for entry in registry.entries:
        for warning in entry.warnings:
            who = f"{entry.provider.distribution} {entry.provider.version} ({entry.provider.entry_point})"
            click.echo(f"warning: {who}: {entry.kind} {entry.name}: {warning}")
    for provider in registry.observers:
        click.echo(f"observer of runs: {provider.distribution} {provider.version} ({provider.entry_point})")
    for item in broken:
        click.echo(f"not loaded: {item['distribution']} {item['version']} ({item['entry_point']}): {item['error']}")


@plugins.command("show")
@click.argument("name")
@click.option("--kind", help="The kind, where two kinds have a plugin of that name.")
@json_option
def show_plugin(name: str, kind: str | None, as_json: bool) -> None:
    """Show what a plugin does and every option that it has.

    \b
    Example:
      invdesign plugins show lbfgsb
    """
    from invdesign_core.registry import schema_of

    entry = discover().find(name, kind)
    plugin = entry.plugin
    schema = schema_of(plugin)
    details: dict[str, Any] = {
        **_row(entry),
        "doc": inspect.getdoc(plugin) or "",
        "options": _options(schema, plugin.served_by_core()),
    }
    for key in ("needs", "handles"):
        if hasattr(plugin, key):
            details[key] = sorted(getattr(plugin, key))
    if hasattr(plugin, "differentiable"):
        details["differentiable"] = plugin.differentiable
    if as_json:
        click.echo(json.dumps({**details, "schema": schema}, indent=1, ensure_ascii=False))
        return
    click.echo(f"{entry.kind} {entry.name} ({entry.provider.distribution} {entry.provider.version})\n")
    click.echo(details["doc"] + "\n")
    for key in ("needs", "handles"):
        if details.get(key):
            click.echo(f"{key}: {', '.join(details[key])}")
    if not details["options"]:
        click.echo("it has no options")
    for title, by_core in (("options", False), (f"options of every {entry.kind}", True)):
        options = [option for option in details["options"] if option["served_by_core"] == by_core]
        if options:
            click.echo(f"{title}:")
        for option in options:
            click.echo(f"  {option['name']} = {option['default']}")
            if option["description"]:
                click.echo(f"      {option['description']}")


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": entry.provider.distribution,
        "version": entry.provider.version,
        "summary": entry.summary,
    }


def _source(provider: Provider) -> dict[str, Any]:
    return {
        "distribution": provider.distribution,
        "version": provider.version,
        "entry_point": provider.entry_point,
    }


def _options(schema: dict[str, Any], served_by_core: frozenset[str]) -> list[dict[str, Any]]:
    required = set(schema.get("required", []))
    return [
        {
            "name": name,
            "default": "(required)" if name in required else json.dumps(item.get("default"), ensure_ascii=False),
            "description": item.get("description") or "",
            "served_by_core": name in served_by_core,
        }
        for name, item in schema.get("properties", {}).items()
    ]
