"""Plugins by others: the section `[plugins]`, and what a user is told of those that a run takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from invdesign_core.data.data import Data
from invdesign_core.errors import ConfigError, PluginError, plugin_errors
from invdesign_core.plugin import Context, Plugin, Solver
from invdesign_core.registry import Arrangement, Provider, Registry, build_options
from invdesign_core.registry.contract import hold_to


class PluginsSection(BaseModel):
    """Which plugins there are, beyond those installed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: list[str] = Field(
        default_factory=list,
        description="Python files with plugins in them, which need no package around them; relative to the folder of "
        "the experiment file.",
    )
    require: list[str] = Field(
        default_factory=list,
        description="Distributions that have to be installed, such as `invdesign-thinfilm>=0.1`.",
    )
    prefer: list[str] = Field(
        default_factory=list,
        description="Distributions or plugins by others that `auto` may choose before the default plugins.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Plugins, observers or distributions that count as not installed."
    )

    @classmethod
    def of(cls, sections: Mapping[str, Any]) -> PluginsSection:
        """Return the section among others, empty where there is none."""
        built: PluginsSection = build_options(cls, sections.get("plugins") or {}, "[plugins]")
        return built

    def with_(self, other: PluginsSection) -> PluginsSection:
        """Return this section with what another one says besides."""
        both = {key: [*getattr(self, key), *getattr(other, key)] for key in type(self).model_fields}
        return PluginsSection(**{key: list(dict.fromkeys(items)) for key, items in both.items()})

    def arrange(self, registry: Registry, folder: Path) -> Registry:
        """Return the plugins as this section has them."""
        files = tuple(Path(folder, name).resolve() for name in self.files)
        wanted = Arrangement(files, tuple(self.require), tuple(self.prefer), tuple(self.exclude))
        return registry if wanted == Arrangement() else registry.arranged(wanted)


def check_plugins(plugins: Iterable[Plugin], data: Data, ctx: Context) -> None:
    """Ask plugins whether they can work with the data."""
    for plugin in plugins:
        if type(plugin).check is Plugin.check:
            continue
        with plugin_errors(plugin.label, code=[plugin]):
            try:
                plugin.check(data, ctx)
            except ValueError as error:
                raise ConfigError(f"[{plugin.kind}] {plugin.label}: {error}") from error


def check_object(plugin: Any, kind: str) -> Any:
    """Return a plugin that was handed over in Python, if its class keeps the contract of its kind."""
    hold_to(type(plugin), kind)
    return plugin


def made_by(registry: Registry, plugins: Iterable[Plugin]) -> dict[str, Provider]:
    """Return who brings the plugin of each kind, where that isn't invdesign itself."""
    found = {}
    for plugin in plugins:
        for entry in registry.entries:
            if entry.plugin is type(plugin) and not entry.provider.is_own:
                found[plugin.kind] = entry.provider
    return found


def announce(registry: Registry, plugins: Iterable[Plugin], auto: bool, ctx: Context) -> None:
    """Say whose plugins a run takes, and which solver would have been chosen by its rank if it were preferred."""
    plugins = list(plugins)
    theirs = [plugin.label for plugin in plugins if plugin.kind in made_by(registry, [plugin])]
    if theirs:
        ctx.note(f"plugins by others: {', '.join(theirs)}")
    chosen: Any = next((plugin for plugin in plugins if isinstance(plugin, Solver)), None)
    if not auto or chosen is None or chosen.rank is None:
        return
    for entry in registry.entries:
        rank = getattr(entry.plugin, "rank", None) if entry.kind == "solver" else None
        if rank is not None and rank < chosen.rank and not registry.is_preferred(entry.plugin):
            ctx.note(
                f"solver {entry.name!r} ({entry.provider.label}) has the rank {rank}, before {chosen.name!r} "
                f'({chosen.rank}); `auto` takes it only with [plugins] prefer = ["{entry.provider.distribution}"]'
            )


def gone(kind: str, recorded: Mapping[str, Any], registry: Registry) -> PluginError | None:
    """Return what to say where the distribution that a run recorded for a plugin brings it no more."""
    name, maker, version = (str(recorded[key]) for key in ("name", "distribution", "version"))
    for entry in registry.entries:
        if (entry.kind, entry.name, entry.provider.distribution) == (kind, name, maker):
            return None
    if maker.endswith(".py"):
        return PluginError(
            f"the run was made with {kind} {name!r} of the file {maker}, which is not loaded",
            f"add --plugin {maker}, or --allow-code for all files that the run names, if you trust them",
        )
    return PluginError(
        f"the run was made with {kind} {name!r} of {maker} {version}, which is not installed",
        f"pip install '{maker}=={version}'",
    )


def changes(kind: str, recorded: Mapping[str, Any], registry: Registry) -> str | None:
    """Return how the distribution of a plugin differs from that which a run recorded, or None."""
    for entry in registry.entries:
        same = (entry.kind, entry.name, entry.provider.distribution)
        if same == (kind, recorded["name"], recorded["distribution"]) and entry.provider.version != recorded["version"]:
            now = entry.provider
            if now.distribution.endswith(".py"):
                return f"the file {now.distribution} with {kind} {entry.name!r} has been changed since the run"
            return (
                f"{kind} {entry.name!r}: the run was made with {now.distribution} {recorded['version']}, and "
                f"{now.version} is installed"
            )
    return None
