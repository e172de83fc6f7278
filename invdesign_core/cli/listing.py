"""`invdesign plugins` and `invdesign schema`: what is installed, who brings it, and every option with its default."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from invdesign_core.cli.init import toml
from invdesign_core.cli.option_values import arranged
from invdesign_core.cli.output import print_json
from invdesign_core.cli.session import discover
from invdesign_core.cli.tables import echo
from invdesign_core.cluster.settings import ComputeSettings
from invdesign_core.designs.report import Report
from invdesign_core.registry import Entry, Provider, Registry, schema_of, summary_of
from invdesign_core.surrogate.settings import Confidence, Training
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.workflow.defaults import DEFAULTS
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.others import PluginsSection


def list_plugins(as_json: bool, **given: Any) -> None:
    """List every plugin with the distribution that brings it, and those that could not be loaded."""
    registry = arranged(discover(), given)
    rows = [_row(entry) | {"warnings": registry.warnings(entry)} for entry in registry.entries]
    if as_json:
        broken = [_source(provider) | {"error": provider.error} for provider in registry.broken]
        print_json({"plugins": rows, "observers": [_source(p) for p in registry.observers], "broken": broken})
        return
    kind, name = (max((len(row[key]) for row in rows), default=0) for key in ("kind", "name"))
    for row in sorted(rows, key=lambda row: (row["kind"], row["name"])):
        source = f"{row['distribution']} {row['version']}"
        echo(f"{row['kind']:{kind}}  {row['name']:{name}}  {source:24}  {row['summary']}")
    for entry in registry.entries:
        for warning in registry.warnings(entry):
            echo(f"warning: {_who(entry.provider)}: {entry.kind} {entry.name}: {warning}")
    for provider in registry.observers:
        echo(f"observer of runs: {_who(provider)}")
    for provider in registry.broken:
        echo(f"not loaded: {_who(provider)}: {provider.error}")


def show_plugin(name: str, kind: str | None, markdown: bool, as_json: bool, **given: Any) -> None:
    """Show what a plugin does and every option that it has."""
    registry = arranged(discover(), given)
    entry = registry.find(name, kind)
    plugin, schema = entry.plugin, schema_of(entry.plugin)
    if markdown:
        sys.stdout.write(markdown_table(schema) + "\n")
        return
    options = [
        {
            "name": key,
            "default": _in_json(item),
            "description": item["description"],
            "served_by_core": key in plugin.served_by_core(),
        }
        for key, item in options_in(schema).items()
    ]
    details: dict[str, Any] = {**_row(entry), "doc": inspect.getdoc(plugin) or "", "options": options}
    details |= {key: sorted(getattr(plugin, key)) for key in ("needs", "handles") if hasattr(plugin, key)}
    if hasattr(plugin, "rank"):
        details["rank"] = plugin.rank
    if hasattr(plugin, "differentiable"):
        details["differentiable"] = plugin.differentiable
    if as_json:
        print_json({**details, "schema": schema})
        return
    echo(f"{entry.kind} {entry.name} ({entry.provider.distribution} {entry.provider.version})\n")
    echo(details["doc"] + "\n")
    for key in ("needs", "handles"):
        if details.get(key):
            echo(f"{key}: {', '.join(details[key])}")
    if "rank" in details:
        rank = details["rank"]
        echo("rank: none, `auto` never takes it" if rank is None else f"rank: {rank}, the order in which `auto` asks")
    for warning in registry.warnings(entry):
        echo(f"warning: {warning}")
    if not options:
        echo("it has no options")
    for title, by_core in (("options", False), (f"options of every {entry.kind}", True)):
        shown = [option for option in options if option["served_by_core"] == by_core]
        if shown:
            echo(f"{title}:")
        for option in shown:
            echo(f"  {option['name']} = {option['default']}")
            if option["description"]:
                echo(f"      {option['description']}")


def show_schema(result: bool, as_json: bool) -> None:
    """Show every key of the experiment file, or of a result."""
    registry = discover()
    found = Report.model_json_schema() if result else experiment_schema(registry)
    if as_json:
        print_json(found)
    elif result:
        _print_keys(found, found, "")
    else:
        _print_sections(found, registry)


def experiment_schema(registry: Registry) -> dict[str, Any]:
    """Return the JSON Schema of the experiment file for the installed plugins."""
    properties = Experiment.model_json_schema()["properties"]
    del properties["folder"]
    for kind in DEFAULTS:
        choices: list[dict[str, Any]] = []
        for label, plugin in registry.labels(kind).items():
            options = schema_of(plugin)
            own = {"use": {"const": label, "description": "Name of the plugin."}}
            options["properties"] = own | options.get("properties", {})
            options["description"] = summary_of(plugin)
            choices.append(options)
        names = {"enum": list(registry.labels(kind))}
        properties[kind] = {"description": Experiment.model_fields[kind].description, "anyOf": [*choices, names]}
    sections: tuple[tuple[str, type[BaseModel]], ...] = (
        ("training", Training),
        ("confidence", Confidence),
        ("design", Design),
        ("truth", TruthSettings),
        ("compute", ComputeSettings),
        ("plugins", PluginsSection),
    )
    for name, model in sections:
        properties[name] = model.model_json_schema() | {"description": Experiment.model_fields[name].description}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "invdesign experiment",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def options_in(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of a schema by name: `description`, and `default` unless the option is required."""
    found: dict[str, dict[str, Any]] = {}
    for name, item in schema.get("properties", {}).items():
        found[name] = {**item, "description": item.get("description") or ""}
        if name not in schema.get("required", []):  # a default that is made anew each time is an empty list or table
            kind = "object" if "$ref" in item else item.get("type", "")
            found[name].setdefault("default", {"array": [], "object": {}}.get(kind))
    return found


def markdown_table(schema: Mapping[str, Any], first: str = "option") -> str:
    """Return the table of options for the documentation, with defaults as an experiment file has them."""
    lines = [f"| {first} | default | meaning |", "| --- | --- | --- |"]
    for name, item in options_in(schema).items():
        default = "required" if "default" not in item else "none" if item["default"] is None else toml(item["default"])
        lines.append(f"| `{name}` | `{default}` | {item['description'].replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _in_json(option: Mapping[str, Any]) -> str:
    return json.dumps(option["default"], ensure_ascii=False) if "default" in option else "(required)"


def _print_sections(schema: Mapping[str, Any], registry: Registry) -> None:
    """Print every key with its default and its meaning, nearly as an experiment file."""
    for name, item in schema["properties"].items():
        if name in DEFAULTS:
            echo(f"\n[{name}]  {item['description']}")
            echo(f'  use = "{registry.label(name, DEFAULTS[name])}"')
            for choice in item["anyOf"]:
                if "properties" in choice:
                    echo(f'  # with use = "{choice["properties"].pop("use")["const"]}":')
                    _print_options(choice)
        elif name in ("training", "confidence", "design", "truth", "targets", "plugins"):
            echo(f"\n[{name}]  {item.get('description', '')}")
            _print_options(item)
        else:
            echo(f"{name} = {json.dumps(item.get('default'))}  # {item['description']}")


def _print_options(schema: Mapping[str, Any]) -> None:
    for key, item in options_in(schema).items():
        echo(f"  {key} = {_in_json(item)}  # {item['description']}")


def _print_keys(item: Mapping[str, Any], root: Mapping[str, Any], indent: str) -> None:
    """Print the keys of an object and, indented, those of the objects in it."""
    for key, value in item.get("properties", {}).items():
        echo(f"{indent}{key}  {value.get('description', '')}")
        for reference in _references(value):
            _print_keys(root["$defs"][reference.rsplit("/", 1)[1]], root, indent + "  ")


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for inner in value.values() for ref in _references(inner)]
    return [ref for inner in value for ref in _references(inner)] if isinstance(value, list) else []


def _row(entry: Entry) -> dict[str, Any]:
    source = {"distribution": entry.provider.distribution, "version": entry.provider.version}
    return {"kind": entry.kind, "name": entry.name, **source, "summary": entry.summary}


def _source(provider: Provider) -> dict[str, Any]:
    return {key: getattr(provider, key) for key in ("distribution", "version", "entry_point")}


def _who(provider: Provider) -> str:
    return f"{provider.distribution} {provider.version} ({provider.entry_point})"
