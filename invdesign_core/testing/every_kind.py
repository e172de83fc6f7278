"""What every plugin promises: its class, its options and its import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from functools import cache
from typing import Any

import tomlkit
from pydantic import ValidationError

from invdesign_core.registry.contract import hold_to
from invdesign_core.testing.declared import check, does_not_apply, hold
from invdesign_core.workflow.experiment import apply_overrides

HEAVY = ("keras", "keras_tuner", "jax", "tensorflow", "pandas", "sklearn", "scipy", "matplotlib", "torch")
"""What takes long to import, and is needed by methods alone."""


@check()
def keeps_the_contract_of_its_class(plugin: Any) -> None:
    """The class has the methods of its kind, and they take what they are handed."""
    hold_to(type(plugin), plugin.kind)


@check()
def is_described(plugin: Any) -> None:
    """The class has a docstring, and every option a description."""
    own = type(plugin).__dict__.get("__doc__")
    hold(own and own.strip(), "the class has no docstring: its first line is shown by `invdesign plugins list`")
    undescribed = [key for key, info in type(plugin).model_fields.items() if not info.description]
    hold(not undescribed, f"no description: {', '.join(undescribed)}")


@check()
def options_survive_python(plugin: Any) -> None:
    """Options come back the same from a mapping."""
    again = type(plugin)(**plugin.model_dump())
    hold(again == plugin, f"{plugin!r} became {again!r}")


@check()
def options_survive_toml(plugin: Any) -> None:
    """Options come back the same from an experiment file."""
    values = _given(plugin)
    text = tomlkit.dumps({plugin.kind: values})
    again = type(plugin)(**tomllib.loads(text)[plugin.kind])
    hold(again == plugin, f"{plugin!r} became {again!r} by way of\n{text}")


@check()
def options_survive_the_command_line(plugin: Any) -> None:
    """Options come back the same from --set."""
    items = [f"{plugin.kind}.{key}={_in_toml(value)}" for key, value in _given(plugin).items()]
    again = type(plugin)(**apply_overrides({}, items).get(plugin.kind, {}))
    hold(again == plugin, f"{plugin!r} became {again!r} by way of {items}")


@check()
def refuses_unknown_options(plugin: Any) -> None:
    """An option that there is not is refused."""
    try:
        type(plugin)(**plugin.model_dump(), an_option_that_nobody_has=1)
    except ValidationError:
        return
    hold(False, 'it takes any option: keep extra="forbid" in model_config')


@check()
def has_no_state(plugin: Any) -> None:
    """Options can't be changed after they were set."""
    for key in type(plugin).model_fields:
        try:
            setattr(plugin, key, getattr(plugin, key))
        except ValidationError:
            continue
        hold(False, f"{key} can be set: keep frozen=True in model_config")


@check()
def imports_little(plugin: Any) -> None:
    """Its module imports nothing heavy, so that plugins are listed quickly."""
    module = type(plugin).__module__
    if module == "__main__" or getattr(sys.modules.get(module), "__file__", None) is None:
        does_not_apply("its module has no file")
    heavy = _imported_by(module)
    hold(not heavy, f"importing {module} imports {', '.join(heavy)}: import them inside the methods")


def _given(plugin: Any) -> dict[str, Any]:
    """Return the options as TOML holds them: it has no word for None, which is the default of such options."""
    dumped: dict[str, Any] = plugin.model_dump(mode="json")
    return {key: value for key, value in dumped.items() if value is not None}


def _in_toml(value: Any) -> str:
    """Write a value as TOML has it, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_in_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_in_toml, value)) + "]"
    return str(tomlkit.item(value).as_string())


@cache
def _imported_by(module: str) -> tuple[str, ...]:
    """Return what of the heavy packages a fresh process imports together with a module."""
    code = f"import sys\nimport {module}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    hold(done.returncode == 0, f"importing {module} alone fails: {done.stderr.strip().splitlines()[-1:]}")
    found: list[str] = json.loads(done.stdout.strip().splitlines()[-1].replace("'", '"'))
    return tuple(found)
