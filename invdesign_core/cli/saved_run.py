"""A saved run as several commands begin with it: what is laid over its settings, and the table that is read beside."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from invdesign_core.cli.option_values import check_exists, design_values, overrides_of
from invdesign_core.cli.session import discover, session
from invdesign_core.data.files.load import AUTOMATIC
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.write import check_new
from invdesign_core.data.own_columns import read_targets
from invdesign_core.errors import ConfigError
from invdesign_core.registry import build_options
from invdesign_core.workflow.design import merge_design
from invdesign_core.workflow.experiment import apply_overrides
from invdesign_core.workflow.load import Prepared, prepare
from invdesign_core.workflow.run_folder import saved_space

if TYPE_CHECKING:
    import pandas as pd

PLUGINS = ("solver", "objective")
"""The plugins that may be others than those of the run."""
SECTIONS = (*PLUGINS, "design", "confidence", "units", "derive")
"""Sections of an experiment that may be laid over those of a run, whatever is done with it."""


@dataclass(frozen=True)
class Opened:
    """A run that is ready for a command, the stream for its result, and how the table beside it is read."""

    prepared: Prepared
    stdout: TextIO
    reading: Reading
    targets: pd.DataFrame | None


def sections_of(given: Mapping[str, Any], takes: Collection[str], why: str) -> tuple[dict[str, Any], Reading, bool]:
    """Return the sections to be laid over a run's, how a table is read, and whether that was said.

    `takes` are the sections that can be set, `why` tells in a message why others can't.
    """
    sections: dict[str, Any] = {kind: {"use": given[kind]} for kind in PLUGINS if given.get(kind) is not None}
    sections = apply_overrides(sections, overrides_of(given))
    for name, section in sections.items():
        if name not in takes:
            known = ["how a table is written (dataset)" if key == "dataset" else key for key in takes]
            raise ConfigError(
                f"--set {name}: {why}, so only {', '.join(known[:-1])} and {known[-1]} can be set",
                "use `invdesign run` to train again",
            )
        if isinstance(section, str) and name in (*PLUGINS, "compute"):
            section = sections[name] = {"use": section}
        elif not isinstance(section, dict):
            raise ConfigError(f"--set {name}: found {section!r}, expected one of its keys", f"write {name}.KEY=VALUE")
        if name in PLUGINS and not isinstance(sections[name].get("use", ""), str):
            raise ConfigError(f"--set {name}.use: found {sections[name]['use']!r}, expected the name of a plugin")
    said = sections.pop("dataset", {})
    return sections, build_options(Reading, said, "--set dataset") if said else AUTOMATIC, bool(said)


@contextmanager
def opened(
    run: Path,
    targets: tuple[str, ...],
    out: Path | None,
    quiet: bool,
    given: Mapping[str, Any],
    *,
    takes: Collection[str] = (),
    why: str,
    target_table: Path | None = None,
    truth: Any = False,
) -> Iterator[Opened]:
    """Prepare a run, and give a command what it works with; `takes` are sections besides `SECTIONS`."""
    check_exists(run)
    if out is not None:
        check_new(out)
    if targets and target_table is not None:
        raise ConfigError("--target and --targets contradict each other", "put all targets into the table")
    sections, reading, _ = sections_of(given, (*SECTIONS, *takes), why)
    design = merge_design(sections.pop("design", {}), design_values(given))
    registry = discover()
    with session(given["backend"], quiet, trains=True) as (stdout, _, ctx):
        frame = None if target_table is None else read_targets(target_table, saved_space(run), reading)
        prepared = prepare(
            run,
            registry=registry,
            ctx=ctx,
            overrides=sections,
            seed=given["seed"],
            backend_name=given["backend"],
            allow_code=given["allow_code"],
            truth=truth,
            frame=frame,
            targets=targets,
            **design,
        )
        yield Opened(prepared, stdout, reading, frame)
