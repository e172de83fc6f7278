"""`invdesign schema`: every key of the experiment file, with the options of the installed plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from invdesign_core.cli.options import json_option
from invdesign_core.cli.output import discover
from invdesign_core.workflow.defaults import DEFAULTS

if TYPE_CHECKING:
    from invdesign_core.registry import Registry


@click.command()
@click.option("--result", is_flag=True, help="Show the result's JSON instead: what --json prints.")
@json_option
def schema(result: bool, as_json: bool) -> None:
    """Show every key of the experiment file, or its JSON Schema (--json), for editors and scripts.

    \b
    Examples:
      invdesign schema
      invdesign schema --json > experiment.schema.json
      invdesign schema --result --json
    """
    if result:
        from invdesign_core.designs.report import Report

        found = Report.model_json_schema()
    else:
        registry = discover()
        found = experiment_schema(registry)
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    if result:
        _print_keys(found, found, "")
        return
    for name, item in found["properties"].items():
        if name in DEFAULTS:
            click.echo(f"\n[{name}]  {item['description']}")
            click.echo(f'  use = "{registry.label(name, DEFAULTS[name])}"')
            for choice in item["anyOf"]:
                if "properties" in choice:
                    click.echo(f'  # with use = "{choice["properties"]["use"]["const"]}":')
                    _print_section({k: v for k, v in choice["properties"].items() if k != "use"})
        elif name in ("training", "design", "targets"):
            click.echo(f"\n[{name}]  {item.get('description', '')}")
            _print_section(item.get("properties", {}))
        else:
            click.echo(f"{name} = {json.dumps(item.get('default'))}  # {item['description']}")


def experiment_schema(registry: Registry) -> dict[str, Any]:
    """Return the JSON Schema of the experiment file for the installed plugins."""
    from invdesign_core.registry import schema_of, summary_of
    from invdesign_core.surrogate.settings import Training
    from invdesign_core.workflow.design import Design
    from invdesign_core.workflow.experiment import Experiment

    base = Experiment.model_json_schema()
    properties = {k: v for k, v in base["properties"].items() if k != "folder"}
    for kind in DEFAULTS:
        choices: list[dict[str, Any]] = []
        for label, plugin in registry.labels(kind).items():
            options = schema_of(plugin)
            own = {"use": {"const": label, "description": "Name of the plugin."}}
            options["properties"] = own | options.get("properties", {})
            options["description"] = summary_of(plugin)
            choices.append(options)
        names = {"enum": list(registry.labels(kind))}
        properties[kind] = {
            "description": Experiment.model_fields[kind].description,
            "anyOf": [*choices, names],
        }
    for name, model in (("training", Training), ("design", Design)):
        properties[name] = {
            **model.model_json_schema(),
            "description": Experiment.model_fields[name].description,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "invdesign experiment",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _print_section(properties: dict[str, Any]) -> None:
    for key, item in properties.items():
        default = json.dumps(item.get("default", _empty(item)), ensure_ascii=False)
        click.echo(f"  {key} = {default}  # {item.get('description', '')}")


def _empty(item: dict[str, Any]) -> Any:
    """Return what an option without a written default begins with: an empty list or table."""
    return {"array": [], "object": {}}.get(item.get("type", ""), "(required)")


def _print_keys(item: dict[str, Any], root: dict[str, Any], indent: str) -> None:
    """Print the keys of an object and, indented, those of the objects in it."""
    for key, value in item.get("properties", {}).items():
        click.echo(f"{indent}{key}  {value.get('description', '')}")
        for reference in _references(value):
            _print_keys(root["$defs"][reference.rsplit("/", 1)[1]], root, indent + "  ")


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for inner in value.values() for ref in _references(inner)]
    return [ref for inner in value for ref in _references(inner)] if isinstance(value, list) else []
