"""Conditions that vary: inputs that are measured and not chosen, what is known of them, and scenarios drawn from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.errors import ConfigError, near_or_all
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.digits import typed
from invdesign_core.space.overrides import VariableOverrides, restricted
from invdesign_core.space.sizes import check_near_data
from invdesign_core.space.space import Space
from invdesign_core.space.text import parse_number
from invdesign_core.space.variables import Variable, plain

if TYPE_CHECKING:
    import pandas as pd

SCENARIOS = 64
"""Scenarios that are drawn where there are more possible ones; of fewer, all are taken."""
DRAWS = 256
"""Samples of measured rows of which the one is taken whose means and deviations are nearest to those of all rows."""
DATA = "data"
"""The word for the values that were measured."""
EXAMPLES = 'write "data", a list of values such as [18, 22, 25], or { mean = 22, sd = 3 }'
ONE_OF = "one of "
_NORMAL = re.compile(r"mean\s+(?P<mean>\S.*?),?\s+sd\s+(?P<sd>\S.*)")


@dataclass(frozen=True)
class Distribution:
    """What is known of a condition: `values` that are equally likely, a `mean` and an `sd`, or neither: the data."""

    values: tuple[Any, ...] = ()
    mean: float | None = None
    sd: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether its values are those of the rows."""
        return not self.values and self.mean is None

    def __str__(self) -> str:
        """As the command line takes it, and as tables of designs have it: no number, so that none is read there."""
        if self.mean is not None:
            return f"mean {typed(self.mean)}, sd {typed(self.sd)}"
        return f"{ONE_OF}{', '.join(map(typed, self.values))}" if self.values else DATA


def distribution_of(value: Any, variable: Variable, place: str = "") -> Distribution:
    """Read what the user says of a condition: ``data``, values, ``mean 22, sd 3``, or a table with `mean` and `sd`."""
    name, place, value = variable.name, place or f"conditions: {variable.name!r}", as_the_file_has_it(plain(value))
    if isinstance(value, Mapping):
        return _normal(value, variable, place)
    if value == DATA:
        return Distribution()
    if not isinstance(value, list):
        raise ConfigError(
            f"{place}: found {value!r}, expected a distribution",
            f"a single value is given by --fixed '{name}={value}', or [design] fixed; {EXAMPLES}",
        )
    if not value:
        raise ConfigError(f"{place}: found an empty list, expected values", EXAMPLES)
    return Distribution(tuple(_existing(item, variable, place) for item in value))


def as_the_file_has_it(text: Any) -> Any:
    """Return what a text stands for, as the file would have it; anything else as it is."""
    if not isinstance(text, str):
        return text
    if text.strip() == DATA:
        return DATA
    if normal := _NORMAL.fullmatch(text.strip()):
        return {"mean": normal["mean"], "sd": normal["sd"]}
    parts = [part.strip().strip('"') for part in text.strip().removeprefix(ONE_OF).split(",")]
    return parts if len(parts) > 1 or text.strip().startswith(ONE_OF) else parts[0]


def _normal(table: Mapping[str, Any], variable: Variable, place: str) -> Distribution:
    """Read a mean and a standard deviation."""
    for key in table:
        if key not in ("mean", "sd"):
            raise ConfigError(f"{place}: there is no key {key!r}", near_or_all(str(key), ("mean", "sd")))
    if set(table) != {"mean", "sd"}:
        lacking = "mean" if "mean" not in table else "sd"
        raise ConfigError(f"{place}: {lacking!r} is missing", "for example { mean = 22, sd = 3 }")
    mean, sd = (parse_number(str(table[key]), f"{place}, {key}") for key in ("mean", "sd"))
    if not sd > 0:
        raise ConfigError(f"{place}, sd: found {typed(sd)}, expected a number above 0", "a single value goes in fixed")
    if variable.kind not in ("continuous", "integer"):
        raise ConfigError(
            f"{place}: a {variable.kind} variable has no mean", f"name its values, or write {DATA!r} for the measured"
        )
    check_near_data([mean, mean - sd, mean + sd], variable.lower, variable.upper, False, place)
    return Distribution(mean=mean, sd=sd)


def _existing(value: Any, variable: Variable, place: str) -> Any:
    """Return a value that a variable may have, where it is written as text too."""
    if variable.kind in ("categorical", "binary"):
        written = {str(level): level for level in reversed(variable.levels)}
        if value in variable.levels:
            return variable.levels[variable.levels.index(value)]
        if str(value) not in written:
            raise ConfigError(f"{place}: {value!r} is not one of its levels", near_or_all(str(value), written))
        return written[str(value)]
    number = parse_number(value, place) if isinstance(value, str) else value
    number = int(number) if isinstance(number, float) and number.is_integer() else number
    try:
        return restricted(replace(variable, ranges=(), scale="linear"), VariableOverrides(fixed=number)).fixed
    except ConfigError as error:
        said = error.message.removeprefix(f"fixed value of {variable.name!r}: ")
        raise ConfigError(f"{place}: {said}", error.hint) from None


def any_value(variable: Variable, said: Distribution) -> Any:
    """Return a value that exists, for a condition that varies: no prediction looks at it."""
    if variable.kind in ("categorical", "levels", "binary"):
        return variable.levels[0]
    if np.isfinite(variable.lower):
        return int(variable.lower) if float(variable.lower).is_integer() else variable.lower
    return said.values[0] if said.values else round(said.mean or 0.0)


@dataclass(frozen=True)
class Scenarios:
    """What conditions may be, as a sample of equally likely scenarios.

    Attributes
    ----------
    said : mapping
        The distribution of each condition, by name.
    columns : (c,) array
        The encoded columns of these variables.
    values : (s, c) array
        What these columns are in each scenario.
    frame : pandas.DataFrame
        The s scenarios as a user would write them, with a column for each condition.
    """

    said: Mapping[str, Distribution]
    columns: IndexArray
    values: FloatArray
    frame: pd.DataFrame

    def __len__(self) -> int:
        """Return the number s of scenarios."""
        return len(self.values)

    @property
    def words(self) -> str:
        """The conditions and their distributions."""
        return ", ".join(f"{name!r} ({said})" for name, said in self.said.items())

    def of(self, x: FloatArray) -> FloatArray:
        """Return (n · s, e) encoded designs in every scenario, those of one design together."""
        points = np.repeat(x, len(self), axis=0)
        points[:, self.columns] = np.tile(self.values, (len(x), 1))
        return points


def draw(said: Mapping[str, Distribution], space: Space, x: FloatArray | None, rng: np.random.Generator) -> Scenarios:
    """Draw scenarios; measured values of several conditions come from one row each, so that they go together.

    `x` are the (n, e) encoded rows that were measured. All combinations are taken where they are few; else a sample in
    which each distribution is spread evenly.
    """
    measured = [name for name, one in said.items() if one.measured]
    if measured and (x is None or not len(x)):
        raise ConfigError(
            f"conditions: {measured[0]!r} is to have its measured values, and no rows are known",
            "name its values, or { mean = 22, sd = 3 }; a model needs a table with its inputs and outputs for that",
        )
    places = dict(zip(space.names, space.slices, strict=True))
    parts: list[tuple[list[int], FloatArray]] = []
    if measured and x is not None:
        own = [j for name in measured for j in range(places[name].start, places[name].stop)]
        parts.append((own, x[:, own]))
    for name, one in said.items():
        if not one.measured:
            values = _quantiles(one, space[name]) if one.mean is not None else space[name].encode(one.values)
            parts.append((list(range(places[name].start, places[name].stop)), values))
    normal = any(one.mean is not None for one in said.values())
    if prod(len(values) for _, values in parts) <= (0 if normal and len(parts) > 1 else SCENARIOS):
        rows = np.array(list(product(*(range(len(values)) for _, values in parts))), dtype=np.intp)
        chosen = [values[rows[:, i]] for i, (_, values) in enumerate(parts)]
    else:
        chosen = [_spread(values, rng) for _, values in parts]
        chosen = [chosen[0], *(rng.permutation(values) for values in chosen[1:])]
    columns = np.array([j for own, _ in parts for j in own], dtype=np.intp)
    values = np.hstack(chosen)
    return Scenarios(dict(said), columns, values, _written(said, space, columns, values))


def _quantiles(normal: Distribution, variable: Variable) -> FloatArray:
    """Return (s, 1) values of a normal distribution at even shares, of exactly its mean and deviation but for rounding.

    They have few digits; those of a variable that counts are whole.
    """
    from scipy.special import ndtri

    unit = ndtri((np.arange(SCENARIOS) + 0.5) / SCENARIOS)
    assert normal.mean is not None
    values = normal.mean + normal.sd * unit / np.sqrt(np.mean(unit**2))
    digits = 0 if variable.kind == "integer" else 4 - int(np.floor(np.log10(normal.sd)))
    return np.asarray(np.round(values, digits)[:, None])


def _spread(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return (`SCENARIOS`, c) of (n, c) equally likely rows, from even shares of them in order."""
    n = len(values)
    ordered = values[np.lexsort(values.T[::-1])]
    if n <= SCENARIOS:
        return ordered[((np.arange(SCENARIOS) + 0.5) * n / SCENARIOS).astype(np.intp)]
    shares = (np.arange(SCENARIOS) + rng.random((DRAWS, SCENARIOS))) * n / SCENARIOS
    drawn = ordered[np.minimum(shares.astype(np.intp), n - 1)]
    unit = np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
    off = (drawn.mean(axis=1) - values.mean(axis=0)) ** 2 + (drawn.std(axis=1) - values.std(axis=0)) ** 2
    return np.asarray(drawn[np.argmin((off / unit**2).sum(axis=1))])


def _written(said: Sequence[str] | Mapping[str, Any], space: Space, columns: IndexArray, values: FloatArray) -> Any:
    """Return scenarios as a table in the user's units."""
    import pandas as pd

    found = {}
    for name, place in zip(space.names, space.slices, strict=True):
        if name in said:
            found[name] = space[name].decode(values[:, np.isin(columns, np.arange(place.start, place.stop))])
    return pd.DataFrame({name: found[name] for name in said})


def beyond(scenarios: Scenarios, data: Space, room: float) -> list[str]:
    """Say of which conditions scenarios lie outside what was measured, by more than a share `room` of its range."""
    said = []
    for name in scenarios.said:
        variable = data[name]
        if variable.kind in ("categorical", "binary") or not np.isfinite([variable.lower, variable.upper]).all():
            continue
        values, (low, high) = scenarios.frame[name].to_numpy(dtype=np.float64), (variable.lower, variable.upper)
        outside = int(((values < low - room * (high - low)) | (values > high + room * (high - low))).sum())
        if outside:
            said.append(
                f"condition {name!r}: {outside} of {len(scenarios)} scenarios lie outside the data ({variable.span}), "
                "where the surrogate extrapolates"
            )
    return said
