"""Discovery: which plugins are installed, which of them work, and why the others do not."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from invdesign_core.errors import (
    ConfigError,
    PluginError,
    damaged,
    described,
    identity,
    installed,
    near_match,
    near_or_all,
    own_version,
    plugin_errors,
    require,
    require_section,
    said,
)
from invdesign_core.plugin import KINDS, Objective, Plugin

if TYPE_CHECKING:
    from invdesign_core.plugin import Dataset, Event, Solver, SurrogateBuilder, Tuner

GROUP = "invdesign"
OWN = "invdesign"
"""The distribution whose plugins a run takes where nobody names one."""
DAMAGED = "its metadata are damaged: no METADATA file with its name; delete what is left of it, or reinstall it"
HOOKS = {f"invdesign_{kind}s": kind for kind in KINDS}

hookspec = pluggy.HookspecMarker("invdesign")


@hookspec
def invdesign_datasets() -> Sequence[type[Dataset]]:  # type: ignore[empty-body]
    """Return dataset classes."""


@hookspec
def invdesign_surrogates() -> Sequence[type[SurrogateBuilder]]:  # type: ignore[empty-body]
    """Return surrogate builder classes."""


@hookspec
def invdesign_tuners() -> Sequence[type[Tuner]]:  # type: ignore[empty-body]
    """Return tuner classes."""


@hookspec
def invdesign_objectives() -> Sequence[type[Objective]]:  # type: ignore[empty-body]
    """Return objective classes."""


@hookspec
def invdesign_solvers() -> Sequence[type[Solver]]:  # type: ignore[empty-body]
    """Return solver classes."""


@hookspec
def invdesign_event(event: Event) -> None:
    """Observe a run: called with each event, on the thread of the run."""


@dataclass(frozen=True, order=True)
class Provider:
    """One entry point of the ``invdesign`` group and the distribution that brings it, or why it can't be used."""

    distribution: str
    version: str
    entry_point: str
    error: str | None = None


@dataclass(frozen=True)
class Entry:
    """One plugin class and who brings it."""

    plugin: type[Plugin]
    provider: Provider

    @property
    def kind(self) -> str:
        """Return ``dataset``, ``surrogate``, ``tuner``, ``objective`` or ``solver``."""
        return self.plugin.kind

    @property
    def name(self) -> str:
        """What users call the plugin."""
        return self.plugin.name

    @property
    def summary(self) -> str:
        """The first sentence of the plugin's docstring."""
        return summary_of(self.plugin)

    @property
    def warnings(self) -> list[str]:
        """What its author should mend, though it works."""
        undescribed = [key for key, info in self.plugin.model_fields.items() if not info.description]
        return [f"option {key!r} has no description" for key in undescribed]


def summary_of(plugin: type[Plugin]) -> str:
    """Return the first line of a plugin's docstring."""
    return (inspect.getdoc(plugin) or "").split("\n", 1)[0]


def schema_of(plugin: type[Plugin]) -> dict[str, Any]:
    """Return the JSON Schema of a plugin's options; of types that JSON does not have, the descriptions alone."""
    try:
        return plugin.model_json_schema()
    except KeyboardInterrupt:
        raise
    except BaseException:  # pydantic's own errors, and whatever the plugin does in its options
        described_only = {key: {"description": info.description} for key, info in plugin.model_fields.items()}
        required = [key for key, info in plugin.model_fields.items() if info.is_required()]
        return {"type": "object", "properties": described_only, "required": required}


@dataclass(frozen=True, eq=False)
class Registry:
    """The plugins of one environment: those that work, those that don't, and who observes runs, through `manager`."""

    entries: Sequence[Entry] = ()
    broken: Sequence[Provider] = ()
    observers: Sequence[Provider] = ()
    manager: pluggy.PluginManager | None = None

    @classmethod
    def discover(cls) -> Registry:
        """Walk the installed entry points; one that fails costs nothing but its own line."""
        manager = pluggy.PluginManager("invdesign")
        manager.add_hookspecs(sys.modules[__name__])
        entries: list[Entry] = []
        observers: list[Provider] = []
        broken: list[Provider] = []
        try:
            points = list(metadata.entry_points(group=GROUP))
        except Exception:  # one is damaged, whichever it is: ask each for itself
            points = []
            for dist in installed():
                with suppress(Exception):
                    points += dist.entry_points.select(group=GROUP)
            broken += [Provider(d.name, d.version, d.file, f"the file is damaged: {d.fault}") for d in damaged()]
        named = [(Provider(*identity(point.dist), point.name), point) for point in points]
        for provider, point in sorted(named, key=lambda item: item[0]):
            try:
                if said(point.dist, "Name") is None:
                    raise PluginError(DAMAGED)
                found, observes = _load(point, provider, manager)
                entries += found
                observers += [provider] if observes else []
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too: a plugin must not end the program
                text = str(error) if isinstance(error, PluginError) else described(error)
                broken.append(replace(provider, error=text))
        return cls(entries, sorted(broken), observers, manager)

    def __deepcopy__(self, memo: Any) -> Registry:
        """Return the registry itself: it says what is installed, and nobody changes it."""
        return self

    def __reduce__(self) -> Any:
        """Pickle as a fresh discovery, where it came from one: the plugin manager holds modules."""
        return (
            (Registry, (self.entries, self.broken, self.observers)) if self.manager is None else (Registry.discover, ())
        )

    def labels(self, kind: str) -> dict[str, type[Plugin]]:
        """Return the plugins of one kind by the name that picks each: ``dist:name`` where two share a name."""
        entries = sorted((e for e in self.entries if e.kind == kind), key=lambda e: e.name)
        names = [entry.name for entry in entries]
        return {
            e.name if names.count(e.name) == 1 else f"{e.provider.distribution}:{e.name}": e.plugin for e in entries
        }

    def find(self, name: str, kind: str | None = None) -> Entry:
        """Return the one plugin of that name; ``dist:name`` settles it where two have it."""
        wanted_dist, _, bare = name.rpartition(":")
        pool = [entry for entry in self.entries if kind is None or entry.kind == kind]
        found = [entry for entry in pool if entry.name == bare]
        if wanted_dist:
            dist = canonicalize_name(wanted_dist)
            found = [entry for entry in found if canonicalize_name(entry.provider.distribution) == dist]
        what = f"{kind} plugin" if kind else "plugin"
        if not found:
            hint = near_or_all(bare, [entry.name for entry in pool])
            others = [entry.kind for entry in self.entries if entry.name == bare and not wanted_dist]
            if others:
                article = "an" if others[0] == "objective" else "a"
                hint = f"{bare!r} is the name of {article} {others[0]}; {hint}"
            elif self.broken:
                listed = "; ".join(f"{p.distribution} ({p.entry_point}): {p.error}" for p in self.broken)
                hint += f"\nNot loaded: {listed}"
            raise PluginError(f"there is no {what} {name!r}", hint)
        if len(found) > 1:
            choices = " or ".join(f"'{entry.provider.distribution}:{bare}'" for entry in found)
            kinds = {entry.kind for entry in found}
            raise PluginError(
                f"{'two' if len(found) == 2 else len(found)} plugins are named {bare!r}",
                f"choose one: {choices}" if len(kinds) == 1 else f"choose a kind: {', '.join(sorted(kinds))}",
            )
        return found[0]

    def label(self, kind: str, name: str) -> str:
        """Return what names a plugin of ours: its name alone, or with its distribution where others have the same."""
        return name if sum(e.kind == kind and e.name == name for e in self.entries) < 2 else f"{OWN}:{name}"

    def entry_of(self, plugin: Plugin) -> Entry:
        """Return who brings an object's class."""
        return next(entry for entry in self.entries if entry.plugin is type(plugin))

    def create(self, kind: str, name: str, options: Mapping[str, Any]) -> Plugin:
        """Return a plugin with its options set."""
        require(name, str, f"{kind}: use", "the name of a plugin")
        created: Plugin = build_options(self.find(name, kind).plugin, options, f"[{kind}] {name}")
        return created

    def emit(self, event: Event) -> None:
        """Tell the observers; whatever one raises, the run goes on."""
        for implementation in self.manager.hook.invdesign_event.get_hookimpls() if self.manager else ():
            try:
                implementation.function(*([event] if implementation.argnames else []))
            except KeyboardInterrupt:
                raise
            except BaseException:  # SystemExit too
                continue


def build_options(model: type[Any], options: Mapping[str, Any], place: str) -> Any:
    """Validate options against a pydantic model, turning its complaints into ours."""
    require_section(options, place)
    with plugin_errors(place) if issubclass(model, Plugin) else nullcontext():
        try:
            return model(**options)
        except ValidationError as error:
            raise refused(model, error, place) from None


def refused(model: type[Any], error: ValidationError, place: str) -> ConfigError:
    """Say in our words what pydantic complains about first."""
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    info = model.model_fields.get(where.split(".")[0])
    hint = f"{where}: {info.description}" if info is not None and info.description else None
    if fault["type"] == "extra_forbidden":
        hint = near_match(str(fault["loc"][-1]), model.model_fields)
        return ConfigError(f"{place}: there is no option {where!r}", hint)
    if fault["type"] == "missing":
        return ConfigError(f"{place}: the option {where!r} is missing", hint)
    complaint = fault["msg"].removeprefix("Value error, ")
    if not where:
        return ConfigError(f"{place}: {complaint}", hint)
    found = "" if fault["type"] == "value_error" else f"found {fault['input']!r}, "
    return ConfigError(f"{place}: option {where!r}: {found}{complaint[:1].lower()}{complaint[1:]}", hint)


def _load(point: metadata.EntryPoint, provider: Provider, manager: pluggy.PluginManager) -> tuple[list[Entry], bool]:
    """Import one entry point and call its hooks one by one; any fault is an exception."""
    _check_core_version(point)
    module = point.load()
    known = [*HOOKS, "invdesign_event"]
    for name in dir(module):
        marked = name.startswith("invdesign_") and hasattr(getattr(module, name), "invdesign_impl")
        if marked and name not in known:
            raise PluginError(f"unknown hook {name!r}: {near_match(name, known)}")
    scratch = pluggy.PluginManager("invdesign")
    scratch.add_hookspecs(sys.modules[__name__])
    scratch.register(module)
    entries: list[Entry] = []
    for hook, kind in HOOKS.items():
        for implementation in getattr(scratch.hook, hook).get_hookimpls():
            for plugin in implementation.function():
                entries.append(Entry(_checked(plugin, kind), provider))
    observes = bool(scratch.hook.invdesign_event.get_hookimpls())
    if not entries and not observes:
        raise PluginError("it implements no hook; mark its functions with @hookimpl")
    manager.register(module, name=f"{provider.distribution}:{point.name}")
    return entries, observes


def _checked(plugin: Any, kind: str) -> type[Plugin]:
    """Hold a class to the contract of its kind."""
    if not (isinstance(plugin, type) and issubclass(plugin, KINDS[kind])):
        raise PluginError(f"invdesign_{kind}s returned {plugin!r}, expected subclasses of {KINDS[kind].__name__}")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name or ":" in name:
        raise PluginError(f"{plugin.__name__} has no name (a ClassVar[str] without ':')")
    if issubclass(plugin, Objective) and plugin.loss is Objective.loss and plugin.residuals is Objective.residuals:
        raise PluginError(f"{plugin.__name__} implements neither loss nor residuals")
    return plugin


def _check_core_version(point: metadata.EntryPoint) -> None:
    """Refuse a distribution that asks for another version of the core than is installed."""
    for text in (point.dist.requires if point.dist else None) or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name) != OWN or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(own_version(), prereleases=True):
            raise PluginError(f"requires invdesign{requirement.specifier}, but {own_version()} is installed")
