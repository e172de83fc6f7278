"""`invdesign validate`: everything that can be checked without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from invdesign_core.cli.console import Watcher
from invdesign_core.cli.option_values import experiment_of
from invdesign_core.cli.output import print_json, results_only_on_stdout
from invdesign_core.cli.session import discover
from invdesign_core.cli.tables import echo
from invdesign_core.context import Context, Event
from invdesign_core.errors import plural
from invdesign_core.space.units import behind, with_unit
from invdesign_core.surrogate import backend as keras_backend
from invdesign_core.workflow.validate import check


def validate(
    experiment: Path | None, targets: tuple[str, ...], no_data: bool, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Check an experiment without training: keys, plugins and their options, data, design, targets."""
    chosen, _ = experiment_of(experiment, given)
    registry = chosen.plugins.arrange(discover(), chosen.folder)
    stages = chosen.stages(registry)
    found: dict[str, Any] = {"valid": True, "plugins": {kind: plugin.name for kind, plugin in stages}}
    with results_only_on_stdout() as stdout:
        if not no_data:
            notes: list[str] = []
            with Watcher(quiet) as watcher:

                def emit(event: Event) -> None:
                    if event.kind in ("note", "warning"):
                        notes.append(str(event.data["text"]))
                    watcher(event)

                keras_backend.select(chosen.backend)
                ctx = Context(chosen.seed, emit=emit, folder=chosen.folder)
                checked = check(chosen, registry, ctx, targets, build=True, stages=stages)
            found["plugins"]["solver"] = checked.stages.solver.name  # `auto` chooses it for the targets
            low, high = checked.space.bounds
            varying = {} if checked.scenarios is None else checked.scenarios.said
            found["rows"] = len(checked.data.frame)
            found["variables"] = [
                {"name": v.name, "kind": v.kind, "lower": float(low[s][0]), "upper": float(high[s][-1])}
                | ({"levels": [str(level) for level in v.levels]} if v.kind in ("categorical", "levels") else {})
                | {"values": str(varying[v.name]) if v.name in varying else v.span}
                | ({"condition": True} if v.condition or v.name in varying else {})
                for v, s in zip(checked.space.variables, checked.space.slices, strict=True)
            ]
            found["constraints"] = list(checked.space.constraints.texts)
            found["outputs"] = list(checked.data.outputs)
            found["derived"] = {name: formula.text for name, formula in checked.derived.items()}
            found["units"] = dict(checked.said.units.of)
            found["targets"] = {name: str(target) for name, target in checked.targets.items()}
            if checked.truth is not None:
                found["truth"] = chosen.truth.words
            if checked.race is not None:
                found["race"] = asdict(checked.race)
            found["notes"] = notes
        race = found.get("race")
        if as_json:
            print_json(found, stdout)
            return
        echo("valid: " + ", ".join(f"{kind} {name}" for kind, name in found["plugins"].items()), stdout)
        if no_data:
            if targets or chosen.targets:
                echo("the targets were not checked, as the data were not loaded", stdout)
            return
        echo(f"{plural(found['rows'], 'row')}", stdout)
        if race is not None:
            running = [name for name, reason in race["candidates"].items() if reason is None]
            times = f", drawn {race['repeats']} times" if race["repeats"] > 1 else ""
            echo(f"race of {', '.join(running)} by {race['folds']} folds{times}", stdout)
        units = found["units"]
        wanted = {name: f", target {target}{_behind(name, target, units)}" for name, target in found["targets"].items()}
        for v in found["variables"]:
            role = "condition" if v.get("condition") else "input "
            name = with_unit(v["name"], units)
            echo(f"  {role} {name}: {v['kind']}, {v['values']}{wanted.get(v['name'], '')}", stdout)
        if "truth" in found:
            echo(f"designs are judged by the {found['truth']}", stdout)
        for text in found["constraints"]:
            echo(f"  constraint {text}", stdout)
        for name, text in found["derived"].items():
            echo(f"  derived {with_unit(name, units)} = {text}{wanted.get(name, '')}", stdout)
        for name in found["outputs"]:
            echo(f"  output {with_unit(name, units)}{wanted.get(name, '').replace(',', ':', 1)}", stdout)


def _behind(name: str, target: str, units: Mapping[str, str]) -> str:
    """Return the unit of a target with a number; not of a label, nor of a maximum or minimum alone."""
    return behind(name, units) if target[-1:].isdigit() else ""
