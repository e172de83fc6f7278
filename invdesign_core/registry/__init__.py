"""Discovery: which plugins are installed, which of them work, and why the others do not."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from invdesign_core.errors import (
    ConfigError,
    PluginError,
    damaged,
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
from invdesign_core.errors.faults import told
from invdesign_core.plugin import KINDS, Plugin
from invdesign_core.registry.contract import hold_to
from invdesign_core.surrogate.user_code import import_named

if TYPE_CHECKING:
    from invdesign_core.plugin import Context, Dataset, Event, Objective, Solver, SurrogateBuilder, Tuner

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
def invdesign_event(event: Event, ctx: Context) -> None:
    """Observe a run: called with each event, on the thread of the run, and with the run's context."""


@dataclass(frozen=True, order=True)
class Provider:
    """One entry point of the ``invdesign`` group and the distribution that brings it, or why it can't be used."""

    distribution: str
    version: str
    entry_point: str
    error: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is invdesign itself."""
        return canonicalize_name(self.distribution) == OWN

    @property
    def label(self) -> str:
        """The distribution and its version, or the name of the file."""
        return self.distribution if self.distribution.endswith(".py") else f"{self.distribution} {self.version}"


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


@dataclass(frozen=True)
class Arrangement:
    """What an experiment or a command says of plugins beyond those installed."""

    files: tuple[Path, ...] = ()
    """Python files with plugins in them."""
    require: tuple[str, ...] = ()
    """Distributions that have to be installed, with versions: ``invdesign-thinfilm>=0.1``."""
    prefer: tuple[str, ...] = ()
    """Distributions or plugins by others that `auto` may choose before the defaults."""
    exclude: tuple[str, ...] = ()
    """Plugins, or distributions, that count as not installed."""


@dataclass(frozen=True, eq=False)
class Registry:
    """The plugins of one environment: those that work, those that don't, and who observes runs, through `manager`."""

    entries: Sequence[Entry] = ()
    broken: Sequence[Provider] = ()
    observers: Sequence[Provider] = ()
    manager: pluggy.PluginManager | None = None
    arrangement: Arrangement = field(default_factory=Arrangement)

    @classmethod
    def discover(cls) -> Registry:
        """Walk the installed entry points; one that fails costs nothing but its own line."""
        manager = _manager()
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
                text = str(error) if isinstance(error, PluginError) else _import_fault(error, point)
                broken.append(replace(provider, error=text))
        return cls(entries, sorted(broken), observers, manager)

    def __deepcopy__(self, memo: Any) -> Registry:
        """Return the registry itself: it says what is installed, and nobody changes it."""
        return self

    def __reduce__(self) -> Any:
        """Pickle as a fresh discovery, where it came from one: the plugin manager holds modules."""
        if self.manager is None:
            return Registry, (self.entries, self.broken, self.observers)
        return _rediscovered, (self.arrangement,)

    def arranged(self, wanted: Arrangement) -> Registry:
        """Return these plugins with those of files, without those excluded, and with what is preferred.

        Raises
        ------
        PluginError, ConfigError
            If a distribution is required that isn't installed, a file can't be used, or a name is nobody's.
        """
        if wanted == self.arrangement:
            return self
        _check_required(wanted.require)
        entries, observers, manager = list(self.entries), list(self.observers), _manager()
        for name, module in self.manager.list_name_plugin() if self.manager is not None else ():
            manager.register(module, name)
        for path in wanted.files:
            if any(entry.provider.entry_point == str(path) for entry in self.entries):
                continue
            provider, found, observes = _load_file(path, manager)
            entries += found
            observers += [provider] if observes else []
        for name in (name for name in wanted.exclude if name not in self.arrangement.exclude):
            left = [entry for entry in entries if not _is_meant(name, entry.provider, entry.name)]
            out = [provider for provider in observers if _is_meant(name, provider, provider.entry_point)]
            known = {entry.name for entry in entries} | {entry.provider.distribution for entry in entries}
            if len(left) == len(entries) and not out:
                known |= {p.entry_point for p in observers} | {p.distribution for p in observers}
                raise PluginError(f"[plugins] exclude: there is no plugin {name!r}", near_or_all(name, known))
            for provider in out:
                manager.unregister(name=_key(provider))
            entries, observers = left, [provider for provider in observers if provider not in out]
        for name in wanted.prefer:
            if not any(_is_meant(name, entry.provider, entry.name) for entry in entries):
                known = {entry.name for entry in entries} | {entry.provider.distribution for entry in entries}
                raise PluginError(f"[plugins] prefer: there is no plugin {name!r}", near_or_all(name, known))
        return Registry(entries, self.broken, observers, manager, wanted)

    def is_preferred(self, plugin: type[Plugin]) -> bool:
        """Whether `auto` may choose a plugin by its rank: it is invdesign's own, or the experiment prefers it."""
        entry = next((entry for entry in self.entries if entry.plugin is plugin), None)
        if entry is None or entry.provider.is_own:
            return True
        return any(_is_meant(name, entry.provider, entry.name) for name in self.arrangement.prefer)

    def warnings(self, entry: Entry) -> list[str]:
        """Return what the author of a plugin should mend, and what its users should know, though it works."""
        own = [other for other in self.entries if other.provider.is_own and other.kind == entry.kind]
        if entry.provider.is_own:
            return entry.warnings
        told, article = list(entry.warnings), "an" if entry.kind == "objective" else "a"
        if any(other.name == entry.name for other in own):
            told.append(
                f"invdesign has {article} {entry.kind} of that name: '{entry.provider.distribution}:{entry.name}' "
                f"or '{OWN}:{entry.name}'"
            )
        rank = getattr(entry.plugin, "rank", None)
        ranks = [other.plugin.rank for other in own if getattr(other.plugin, "rank", None) is not None]  # type: ignore[attr-defined]
        if rank is not None and ranks and rank < max(ranks):
            told.append(
                f"its rank {rank} is before that of default solvers ({min(ranks)} to {max(ranks)}): `auto` only heeds "
                f'it with [plugins] prefer = ["{entry.provider.distribution}"]'
            )
        return told

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
            elif name.endswith(".py"):
                hint = f"a file is given by --plugin {name}, and a plugin in it by the plugin's name"
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

    def emit(self, event: Event, ctx: Context | None = None) -> list[tuple[str, str]]:
        """Tell the observers, and return who failed and how; whatever one raises, the run goes on."""
        failed = []
        for implementation in self.manager.hook.invdesign_event.get_hookimpls() if self.manager else ():
            offered = {"event": event, "ctx": ctx}
            try:
                implementation.function(*(offered[name] for name in implementation.argnames))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too
                failed.append((implementation.plugin_name, told(error, [implementation.function])))
        return failed


def build_options(model: type[Any], options: Mapping[str, Any], place: str) -> Any:
    """Validate options against a pydantic model, turning its complaints into ours."""
    require_section(options, place)
    for name, value in options.items():
        info = model.model_fields.get(name)
        if isinstance(value, bool) and info is not None and info.annotation in (int, float):
            raise ConfigError(f"{place}: option {name!r}: found {value}, expected a number")
    with plugin_errors(place, code=[model]) if issubclass(model, Plugin) else nullcontext():
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
    entries, observes = _called(module, provider)
    if not entries and not observes:
        raise PluginError("it implements no hook; mark its functions with @hookimpl")
    manager.register(module, name=_key(provider))
    return entries, observes


def _called(module: Any, provider: Provider) -> tuple[list[Entry], bool]:
    """Return what the hooks of a module bring, and whether it observes runs."""
    known = [*HOOKS, "invdesign_event"]
    for name in dir(module):
        marked = name.startswith("invdesign_") and hasattr(getattr(module, name), "invdesign_impl")
        if marked and name not in known:
            raise PluginError(f"unknown hook {name!r}: {near_match(name, known)}")
    scratch = _manager()
    scratch.register(module)
    entries: list[Entry] = []
    for hook, kind in HOOKS.items():
        for implementation in getattr(scratch.hook, hook).get_hookimpls():
            for plugin in implementation.function():
                entries.append(_entry(plugin, kind, provider))
    return entries, bool(scratch.hook.invdesign_event.get_hookimpls())


def _entry(plugin: Any, kind: str, provider: Provider) -> Entry:
    """Hold a class to the contract of its kind, and let it say who brings it."""
    checked = hold_to(plugin, kind)
    if not provider.is_own:
        checked.brought_by = provider.label
    return Entry(checked, provider)


def _load_file(path: Path, manager: pluggy.PluginManager) -> tuple[Provider, list[Entry], bool]:
    """Import a Python file with plugins: those that its hooks return, or, without hooks, the classes defined in it."""
    if path.suffix != ".py":
        raise ConfigError(f"[plugins] files: found {str(path)!r}, expected a Python file", "its name ends in .py")
    module = import_named(path.name, path.parent, "[plugins] files")
    provider = Provider(path.name, hashlib.sha256(path.read_bytes()).hexdigest()[:12], str(path))
    try:
        entries, observes = _called(module, provider)
        entries = entries or [_entry(plugin, plugin.kind, provider) for plugin in _defined(module)]
    except PluginError as error:
        raise PluginError(f"{path.name}: {error.message}", error.hint) from None
    if not entries and not observes:
        raise PluginError(
            f"{path.name}: there is no plugin in it",
            "a plugin is a subclass of Dataset, Objective, Solver, … with a name",
        )
    manager.register(module, name=_key(provider))
    return provider, entries, observes


def _defined(module: ModuleType) -> list[type[Plugin]]:
    """Return the plugin classes that a module defines and names."""
    classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Plugin)]
    return [item for item in classes if item.__module__ == module.__name__ and "name" in vars(item)]


def _manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows the hooks."""
    manager = pluggy.PluginManager("invdesign")
    manager.add_hookspecs(sys.modules[__name__])
    return manager


def _rediscovered(arrangement: Arrangement) -> Registry:
    """Return the installed plugins as an experiment arranged them."""
    return Registry.discover().arranged(arrangement)


def _key(provider: Provider) -> str:
    """Return what a module of plugins is called among the observers."""
    return f"{provider.distribution} {provider.version} ({provider.entry_point})"


def _is_meant(name: str, provider: Provider, plugin: str) -> bool:
    """Whether a name is that of a plugin, of its distribution, or of both with a colon between."""
    distribution, _, bare = name.rpartition(":")
    if distribution:
        return bare == plugin and canonicalize_name(distribution) == canonicalize_name(provider.distribution)
    return bare == plugin or canonicalize_name(bare) == canonicalize_name(provider.distribution)


def _import_fault(error: BaseException, point: metadata.EntryPoint) -> str:
    """Return why an entry point failed, with the line of its package where it did."""
    module = sys.modules.get(point.module.partition(".")[0])
    return told(error, [] if module is None else [module])


def _check_required(texts: Iterable[str]) -> None:
    """Refuse a request for distributions of which one isn't installed in the version that is asked for."""
    for text in texts:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise ConfigError(
                f"[plugins] require: found {text!r}: {str(error).splitlines()[0]}",
                'for example "invdesign-thinfilm>=0.1"',
            ) from None
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            raise PluginError(f"{wanted.name} is required and not installed", f"pip install '{text}'") from None
        if not wanted.specifier.contains(version, prereleases=True):
            raise PluginError(
                f"{wanted.name}{wanted.specifier} is required, and {version} is installed", f"pip install '{text}'"
            )


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
