"""Read the values of the options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from invdesign_core.data.files.contents import READERS
from invdesign_core.data.files.load import AUTOMATIC, load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.data.own_columns import PREFIX, split_row
from invdesign_core.errors import ConfigError, DataError, near_match
from invdesign_core.registry import OWN, Registry
from invdesign_core.space.text import split_names
from invdesign_core.space.units import ends_as_written, number_as_written
from invdesign_core.workflow.defaults import CLASSIC, DEFAULTS
from invdesign_core.workflow.design import merge_design
from invdesign_core.workflow.experiment import Experiment, apply_overrides, parse_value
from invdesign_core.workflow.experiment_text import read_text, read_toml
from invdesign_core.workflow.others import PluginsSection


def check_exists(run_or_model: Path) -> None:
    """Refuse a run or model that does not exist, naming the one most like it."""
    if not run_or_model.exists():
        siblings = [p.name for p in run_or_model.parent.glob("*")]
        hint = near_match(run_or_model.name, siblings) if siblings else None
        raise DataError(f"{run_or_model}: there is no such run or model", hint)


def reading_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the options of the table dataset in items of `--set`, with or without the name of the section."""
    given = apply_overrides({}, [f"dataset.{item.removeprefix('dataset.')}" for item in overrides])
    return dict(given.get("dataset", {}))


def listed_names(text: str | None, table: Path | None, reading: Reading = AUTOMATIC) -> list[str] | None:
    """Return the names in ``A,B``; those in double quotes, and the names of a table's columns, may hold commas."""
    if text is None:
        return None
    if table is None or "," not in text:
        return split_names(text)
    columns = load_table(table, reading, columns=[]).names
    return split_names(text, [*columns, *(name.removeprefix(PREFIX) for name in columns)])


def overrides_of(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the items of `--set` with those of `--time-limit` and `--compute`."""
    limit, compute = given.get("time_limit"), given.get("compute")
    overrides: tuple[str, ...] = given["overrides"]
    overrides = overrides if limit is None else (*overrides, f"solver.time_limit={limit!r}")
    return overrides if compute is None else (*overrides, f"compute.use={compute}")


def experiment_of(path: Path | None, given: Mapping[str, Any]) -> tuple[Experiment, str | None]:
    """Return the experiment of a file, with the options of the command line over it, and the file's text.

    Without a file, ``features.parquet`` and ``targets.parquet`` of the current folder are taken where both are there.
    """
    values: dict[str, Any] = {}
    source = None
    if path is not None:
        values = read_toml(path)
        source = read_text(path)
    elif given["dataset"] is None and all(Path(f"{n}.parquet").exists() for n in ("features", "targets")):
        values["dataset"] = {"use": f"{OWN}:table", "features": "features.parquet", "targets": "targets.parquet"}
    for kind, default in DEFAULTS.items():
        name, section = given[kind], values.get(kind, {})
        section = {"use": section} if isinstance(section, str) else section
        if name is not None:
            if kind == "surrogate" and section:
                default = CLASSIC  # whose options they are where the file names none
            same = section.get("use", default) == name
            values[kind] = {**section, "use": name} if same else {"use": name}  # another plugin has other options
    values |= {key: given[key] for key in ("seed", "backend") if given.get(key) is not None}
    values = apply_overrides(values, overrides_of(given))
    others = others_of(given)
    if others and isinstance(values.get("plugins", {}), Mapping):
        before = values.get("plugins", {})
        values["plugins"] = {**before, **{key: [*before.get(key, []), *items] for key, items in others.items()}}
    design, section = design_values(given), values.get("design", {})
    if design:
        values["design"] = merge_design(section, design) if isinstance(section, Mapping) else section
    place = path.name if path is not None else "options"
    folder = path.resolve().parent if path is not None else Path.cwd()
    return Experiment.from_mapping(values, place, folder), source


def others_of(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the keys of `[plugins]` that `--plugin` and `--no-plugin` name; files are relative to this folder."""
    files, out = given.get("plugin_files") or (), given.get("no_plugins") or ()
    found = {"files": [str(Path(name).resolve()) for name in files], "exclude": list(out)}
    return {key: items for key, items in found.items() if items}


def arranged(registry: Registry, given: Mapping[str, Any]) -> Registry:
    """Return the plugins with those of `--plugin`, and without those of `--no-plugin`."""
    return PluginsSection(**others_of(given)).arrange(registry, Path.cwd())


def design_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `[design]` keys that the options of `commands.design_options` name."""
    found: dict[str, Any] = {
        key: dict(_assigned(item, key) for item in options[key])
        for key in ("bounds", "fixed", "conditions", "levels", "step")
        if options.get(key)
    }
    if options["log"]:
        found["log"] = [name.strip().strip('"') for name in options["log"]]
    if options["margin"] is not None:
        found["margin"] = options["margin"]
    if options["constraints"]:
        found["constraints"] = list(options["constraints"])
    files = [item for item in options["near"] if _is_file(item)]
    if len(files) > 1:
        raise ConfigError(f"--near {files[1]}: found a second row, expected one present design", "name one FILE:ROW")
    if files:
        found["near_row"] = files[0]
    values = dict(pair for item in options["near"] if item not in files for pair in _present(item))
    if values:
        found["near"] = values
    found |= {key: True for key in ("fewest_changes", "stay_near_data") if options[key]}
    return found


def _is_file(item: str) -> bool:
    """Whether an item of `--near` names a table: what holds no ``=``, or is a table that is there."""
    path = split_row(item)[0]
    return "=" not in item or (path.suffix.lower() in READERS and path.is_file())


def listed(text: str) -> list[str]:
    """Return what commas separate; what stands in double quotes may hold commas."""
    if text.count('"') % 2:  # a quote that stands for itself
        return text.split(",")
    return [part.strip() for part in re.findall(r'(?:"[^"]*"|[^,"])+', text)]


def _present(item: str) -> list[tuple[str, Any]]:
    """Read ``NAME=VALUE,NAME=VALUE``; a name in double quotes may hold a comma."""
    parts = listed(item)
    pairs: list[tuple[str, Any]] = []
    for part in parts:
        name, sign, text = part.rpartition("=")
        if not sign:
            raise ConfigError(f"--near {item!r}: expected NAME=VALUE,… or FILE:ROW", "for example --near a=0.2,b=0.3")
        pairs.append((name.strip().strip('"'), parse_value(text)))
    return pairs


EXAMPLES = {
    "bounds": "--bounds x=0..1",
    "fixed": "--fixed T=300",
    "conditions": "--condition T=data",
    "levels": "--levels x=1,2,4",
    "step": "--step x=0.1",
}
"""What an item of these options looks like."""


def _assigned(item: str, key: str) -> tuple[str, Any]:
    """Read one ``NAME=VALUE`` item; the name ends at the last ``=``, since tables and models are not read yet."""
    place = f"--{key.removesuffix('s') if key == 'conditions' else key} {item!r}"
    name, sign, text = item.rpartition("=") if "{" not in item else item.partition("=")
    if not sign:
        raise ConfigError(f"{place}: expected NAME=VALUE", f"for example {EXAMPLES[key]}")
    name = name.strip().strip('"')
    if key == "fixed":
        return name, parse_value(text)
    if key == "conditions":
        whole = parse_value(text)
        return name, whole if isinstance(whole, list | dict) else text.strip()
    if key == "step":
        by, counted, start = text.partition(" from ")
        if not counted:
            return name, number_as_written(by, place)
        return name, {"by": number_as_written(by, place), "from": number_as_written(start, place)}
    if key == "bounds":
        ranges = [ends_as_written(part, place) for part in text.split(",")]
        return name, ranges if len(ranges) > 1 else ranges[0]
    whole = parse_value(text)
    return name, whole if isinstance(whole, list) else [parse_value(part) for part in listed(text)]
