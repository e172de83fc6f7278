"""Simulators that are Python functions: a dataset's own, one of the user's modules, or one handed over in Python."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from invdesign_core.errors import ConfigError, InvdesignError
from invdesign_core.errors.faults import told
from invdesign_core.surrogate.user_code import UserObject
from invdesign_core.truth.simulated import CallError

if TYPE_CHECKING:
    import pandas as pd


_AS_IMPORTED: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()
"""The text of the file of each function when it was first found: what is kept must be of the code that runs."""


@dataclass(frozen=True)
class Function:
    """A function from a DataFrame of designs to one of outputs."""

    call: Callable[..., Any]
    words: str
    place: UserObject | None = None
    """Where it is, if it is code of the user's own."""

    parallel: int = 0
    """It is called in the thread that asks, since it may not expect another."""

    @classmethod
    def find(cls, place: str, folder: Path) -> Function:
        """Import a function of the user's; a ConfigError says what is wrong with it."""
        what = "[truth] option 'function'"
        found = UserObject.find(place, folder, what)
        if isinstance(found.value, type) or not callable(found.value):
            raise ConfigError(f"{what}: {place!r} is {found.value!r}, expected a function of a DataFrame of designs")
        with suppress(TypeError):  # what can't be remembered so is no plain function
            if _AS_IMPORTED.setdefault(found.value, found.code()) != found.code():
                raise ConfigError(
                    f"{what}: the file of {place!r} was changed since it was imported", "start Python anew"
                )
        return cls(found.value, f"the true model {place}", found)

    def parts(self) -> list[Any]:
        """Return what its answers depend on."""
        return ["function", self.words, b"" if self.place is None else self.place.code()]

    def __call__(self, designs: pd.DataFrame, stop: Event) -> Any:
        """Return its answer, or raise a CallError with the reason why there is none."""
        around = nullcontext() if self.place is None else self.place.running("it")
        try:
            with around:
                return self.call(designs.copy())  # it may work in what it is given
        except KeyboardInterrupt:
            raise CallError("interrupted", interrupted=True) from None
        except InvdesignError as error:
            raise CallError(error.message.removeprefix("it failed: ")) from error
        except BaseException as error:  # SystemExit too, which must not end us
            raise CallError(told(error, [self.call])) from error
