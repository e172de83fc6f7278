"""What a plugin class has to have: the methods of its kind, which take what the core hands them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from invdesign_core.errors import PluginError
from invdesign_core.errors.faults import kind_of
from invdesign_core.plugin import KINDS, Objective, Plugin, Race, Solver, SurrogateBuilder

NEEDED: dict[str, dict[str, tuple[str, ...]]] = {
    "dataset": {"load": ("ctx",)},
    "surrogate": {},  # `build` takes any of its arguments
    "tuner": {"search": ("space", "evaluate", "ctx")},
    "objective": {},  # one of two
    "solver": {"solve": ("problem", "u0", "ctx")},
}
"""The methods that a plugin of each kind has to have, and what they are handed, in this order."""
OPTIONAL = {
    "check": ("data", "ctx"),
    "recipe": ("rows",),
    "user_code": ("ctx",),
    "loss": ("z", "goal"),
    "residuals": ("z", "goal"),
}
"""The methods that it may have."""
BUILD = ("hp", "data", "ctx")
"""What `build` may take, by name or in this order."""
RESERVED = {"solver": "auto"}
"""Names that mean something else where a plugin's name is expected."""


def hold_to(plugin: Any, kind: str) -> type[Plugin]:
    """Return a class that keeps the contract of its kind, so far as can be told without calling it.

    Raises
    ------
    PluginError
        Naming the class, what it lacks and what is expected.
    """
    base = KINDS[kind]
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise PluginError(f"invdesign_{kind}s returned {kind_of(plugin)}, expected subclasses of {base.__name__}")
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name or ":" in name:
        raise PluginError(f"{plugin.__name__} has no name (a ClassVar[str] without ':')")
    if RESERVED.get(kind) == name:
        raise PluginError(f"{plugin.__name__}: the name {name!r} lets invdesign choose a {kind}; choose another")
    if issubclass(plugin, Objective) and plugin.loss is Objective.loss and plugin.residuals is Objective.residuals:
        raise PluginError(f"{plugin.__name__} implements neither loss nor residuals")
    for method, handed in NEEDED[kind].items():
        if getattr(plugin, method) is getattr(base, method):
            raise PluginError(f"{plugin.__name__} has no method {method}({', '.join(handed)})")
        _takes(plugin, method, handed)
    for method, handed in OPTIONAL.items():
        if getattr(plugin, method, None) is not getattr(base, method, None):
            _takes(plugin, method, handed)
    if issubclass(plugin, SurrogateBuilder) and not issubclass(plugin, Race):
        _builds(plugin)
    if issubclass(plugin, Solver):
        _declares(plugin)
    return plugin


def _signature(plugin: type[Plugin], method: str) -> inspect.Signature | None:
    """Return what a method takes besides `self`; None where Python can't tell."""
    found = inspect.getattr_static(plugin, method)
    if isinstance(found, property) or not callable(getattr(plugin, method)):
        raise PluginError(f"{plugin.__name__}.{method} is {kind_of(found)}, expected a method")
    function: Callable[..., Any] = getattr(found, "__func__", found)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built in
        return None
    bound = isinstance(found, staticmethod)
    parameters = list(signature.parameters.values())
    variadic = bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    if not bound and not parameters:
        raise PluginError(f"{plugin.__name__}.{method}() does not take self")
    return signature.replace(parameters=parameters if bound or variadic else parameters[1:])


def _takes(plugin: type[Plugin], method: str, handed: tuple[str, ...]) -> None:
    """Refuse a method that can't be called with what it is handed."""
    signature = _signature(plugin, method)
    if signature is None:
        return
    try:
        signature.bind(*handed)
    except TypeError as error:
        raise PluginError(
            f"{plugin.__name__}.{method}{signature} can't be called as {method}({', '.join(handed)}): {error}"
        ) from None


def _builds(plugin: type[SurrogateBuilder]) -> None:
    """Refuse a builder without `build`, or with one that needs more than there is."""
    if plugin.build is SurrogateBuilder.build:
        raise PluginError(f"{plugin.__name__} has no method build({', '.join(BUILD)})")
    signature = _signature(plugin, "build")
    if signature is None:
        return
    needed = [p for p in signature.parameters.values() if p.default is p.empty]
    needed = [p for p in needed if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_name = all(p.name in BUILD and p.kind is not p.POSITIONAL_ONLY for p in needed)
    by_place = len(needed) <= len(BUILD) and all(p.kind is not p.KEYWORD_ONLY for p in needed)
    if not (by_name or by_place):
        raise PluginError(f"{plugin.__name__}.build{signature} needs more than there is: {', '.join(BUILD)}")


def _declares(plugin: type[Solver]) -> None:
    """Refuse a solver whose declarations are no names that the core knows."""
    for name, known in (("needs", {"gradient", "residuals"}), ("handles", {"linear", "discrete"})):
        said = getattr(plugin, name)
        if isinstance(said, str) or not set(said) <= known:
            raise PluginError(f"{plugin.__name__}.{name} is {said!r}, expected a set of {' and '.join(sorted(known))}")
    if not (plugin.rank is None or isinstance(plugin.rank, int | float)):
        raise PluginError(f"{plugin.__name__}.rank is {kind_of(plugin.rank)}, expected a number or None")
