"""`invdesign plugins check` and `invdesign plugins new`: what somebody needs who writes a plugin."""

from __future__ import annotations

import re
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from invdesign_core.cli.option_values import arranged
from invdesign_core.cli.output import print_json, print_line
from invdesign_core.cli.session import discover, session
from invdesign_core.cli.tables import echo
from invdesign_core.data.files.atomic import write_text
from invdesign_core.errors import ConfigError, ExitCode, RunStoreError, near_match, own_version
from invdesign_core.plugin import KINDS
from invdesign_core.registry import build_options
from invdesign_core.workflow.experiment import apply_overrides

CLASSES = {
    "dataset": "Dataset",
    "surrogate": "SurrogateBuilder",
    "tuner": "Tuner",
    "objective": "Objective",
    "solver": "Solver",
}
"""The base class of each kind."""
SUITES = {kind: f"{kind.title()}Tests" for kind in KINDS}
"""The class of checks of each kind."""
OBSERVER = "an observer is a function: invdesign_event(event, ctx), marked with hookimpl, in a file named by --plugin"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check(name: str, kind: str | None, overrides: tuple[str, ...], as_json: bool, **given: Any) -> int:
    """Hold a plugin to the contract of its kind."""
    entry = arranged(discover(), given).find(name, kind)
    items = [item if item.startswith(f"{entry.kind}.") else f"{entry.kind}.{item}" for item in overrides]
    options = apply_overrides({}, items).get(entry.kind, {})
    plugin = build_options(entry.plugin, options, f"[{entry.kind}] {name}")
    with session(None, True, trains=True) as (stdout, _, _):
        from invdesign_core.testing import check_plugin

        records = check_plugin(plugin)
        if as_json:
            found: dict[str, Any] = {
                "plugin": entry.name,
                "kind": entry.kind,
                "distribution": entry.provider.distribution,
            }
            found |= {"version": entry.provider.version, "declared": records.declared, "ok": records.ok}
            print_json(found | {"checks": [asdict(record) for record in records]}, stdout)
        else:
            for record in records:
                echo(f"{record.outcome:12}  {record.promise}", stdout)
                if record.message:
                    echo(f"{'':12}  {record.message}", stdout)
            echo(f"{plugin.label}: {str(records).splitlines()[-1]}", stdout)
    return int(ExitCode.OK if records.ok else ExitCode.PLUGIN)


def new(kind: str, name: str, folder: Path | None, quiet: bool) -> None:
    """Write a distribution with a plugin that works, to be changed."""
    if kind not in (*KINDS, "all"):
        hint = OBSERVER if kind.startswith("observer") else near_match(kind, [*KINDS, "all"])
        raise ConfigError(f"there is no kind {kind!r}", hint)
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"found the name {name!r}, expected lower-case words with - between them", "such as my-solver"
        )
    distribution = name if name.startswith("invdesign-") else f"invdesign-{name}"
    bare = name.removeprefix("invdesign-")
    target = folder or Path(distribution)
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise RunStoreError(f"{target}: the folder is not empty", "choose another --out")
    files = scaffold(list(KINDS) if kind == "all" else [kind], bare, distribution)
    for path, text in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(target / path, text)
    if not quiet:
        first = bare if kind != "all" else f"{bare}-solver"
        print_line(f"wrote {len(files)} files into {target}")
        print_line(f"install it:  pip install -e {target}")
        print_line(f"look at it:  invdesign plugins show {first}")
        print_line(f"check it:    invdesign plugins check {first}")


def scaffold(kinds: list[str], bare: str, distribution: str) -> dict[str, str]:
    """Return the text of each file of a distribution with one plugin of each kind, by its path."""
    package = distribution.replace("-", "_")
    plugins = []
    for kind in kinds:
        name = bare if len(kinds) == 1 else f"{bare}-{kind}"
        plugins.append((kind, name, "".join(word.title() for word in name.split("-")), name.replace("-", "_")))
    words = {
        "distribution": distribution,
        "package": package,
        "version": own_version().partition("+")[0],
        "table": "\n".join(f"| {kind} | `{name}` | `{module}.py` |" for kind, name, _, module in plugins),
        "first": plugins[-1][1],
        "hooks": "\n\n\n".join(_hook(kind, package, cls, module) for kind, _, cls, module in plugins),
        "bases": ", ".join(sorted({CLASSES[kind] for kind, *_ in plugins})),
        "suites": ", ".join(sorted(SUITES[kind] for kind, *_ in plugins)),
        "imports": "\n".join(sorted(f"from {package}.{module} import {cls}" for _, _, cls, module in plugins)),
        "tests": "\n\n\n".join(f"class Test{cls}({SUITES[kind]}):\n    plugin = {cls}" for kind, _, cls, _ in plugins),
    }
    files = {
        "pyproject.toml": _filled("pyproject.toml", **words),
        "README.md": _filled("README.md", **words),
        f"{package}/__init__.py": _filled("package.py", **words),
        f"tests/test_{package}.py": _filled("test.py", **words),
    }
    for kind, name, cls, module in plugins:
        files[f"{package}/{module}.py"] = _filled(f"{kind}.py", name=name, cls=cls)
    return files


def _hook(kind: str, package: str, cls: str, module: str) -> str:
    return _filled("hook.py", kind=kind, base=CLASSES[kind], package=package, cls=cls, module=module).rstrip()


def _filled(template: str, **words: str) -> str:
    """Return a template with its @words@ filled in."""
    text = (resources.files("invdesign_core.cli") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: words[found[1]], text)
