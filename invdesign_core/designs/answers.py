"""Answers: what every start reached, and the distinct designs among them, best first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.atomic import write_text
from invdesign_core.designs.distinct import pick
from invdesign_core.designs.intervals import interval_columns, intervals
from invdesign_core.errors import ConfigError, require
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.space import Space
from invdesign_core.targets import DEFAULT_TOLERANCE, ROUNDOFF, Targets
from invdesign_core.truth.simulated import Tally, sum_of

if TYPE_CHECKING:
    import pandas as pd

SHORTLIST = 3
"""So many times the designs that are wanted are compared by the probability that they meet the target."""
Columns = dict[tuple[str, ...], Any]
"""The columns of a table by part and name, such as ("prediction", "H2") or ("loss",); lists are written as JSON."""


class Shown(Protocol):
    """What makes answers visible."""

    def html(self) -> str:
        """Return the report as HTML."""

    def notebook(self) -> str:
        """Return what a notebook shows."""

    def profiler(self, backend: str, design: int, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Any:
        """Return a figure of each output over each input."""

    def parallel(self, backend: str) -> Any:
        """Return a figure of the designs on parallel axes."""


@dataclass(frozen=True)
class Answers:
    """The result of an inversion.

    Attributes
    ----------
    targets : Targets
        What was asked for.
    starts : pandas.DataFrame
        One row a start: ``target``, ``start``, ``guess.NAME``, ``design.NAME``, ``prediction.NAME``, ``loss``,
        ``variance``, ``hit``, ``status``, ``message``, ``evaluations``, ``moved``.
    columns : dict
        The distinct designs, as `designs` has them.
    interrupted : bool
        Whether the search was cut short, by Ctrl-C or by a time limit.
    search : str
        How variables of which only some values exist were searched.
    rows : dict, optional
        Measured rows, as `measured` has them.
    out_of_time : bool
        Whether it was a time limit that cut the search short.
    tolerances : tuple, optional
        For each design how far each input may move alone, by name, and its free directions; None where it misses.
    scenarios : Scenarios, optional
        What conditions that vary may be: predictions are means over them. ``scenarios.frame`` is a DataFrame.
    simulated : Tally, optional
        How much work it was to ask the true model, where there is one.
    level : float, optional
        The level of the intervals; None where there are none.
    second : str, optional
        The plugin of the second model that tells them.
    units : mapping
        The units of inputs and outputs, by name, where they are known.
    shown : Shown, optional
        Makes the page that `report` writes, what a notebook shows, and figures.
    """

    targets: Targets
    starts: pd.DataFrame
    columns: Columns
    interrupted: bool
    search: str = "continuous"
    rows: Columns | None = None
    out_of_time: bool = False
    tolerances: tuple[tuple[dict[str, list[Any]], list[dict[str, float]]] | None, ...] = ()
    scenarios: Scenarios | None = None
    simulated: Tally | None = None
    level: float | None = None
    second: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    shown: Shown | None = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # What makes the page holds compiled programs, which can't be pickled.
        return {**self.__dict__, "shown": None}

    def report(self, file: str | Path) -> Path:
        """Write the report as one HTML file: the designs, curves around them to play with, and how good the model is.

        Parameters
        ----------
        file : path
            The file to write, such as ``"report.html"``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ConfigError
            If these are answers to a table of targets that were interrupted, or were read from a pickle.
        RunStoreError
            If the file can't be written.
        """
        require(file, (str, Path), "report", "the path of a file")
        write_text(Path(file), self._shown().html(), "choose another file")
        return Path(file)

    def plot_profiler(
        self,
        design: int = 1,
        *,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        backend: str = "plotly",
    ) -> Any:
        """Draw each output over each input, through one design.

        Shown are the interval of the design as a band around each curve, the range of the data in grey, and what is
        wanted in green.

        Parameters
        ----------
        design : int
            Its number, the best being 1; of a table the number of the target, from 1, whose best design is taken.
        inputs, outputs : sequence of str, optional
            Which ones; by default up to eight inputs that may vary, and up to six outputs, those asked for first.
        backend : str
            ``plotly`` or ``matplotlib``.

        Returns
        -------
        plotly.graph_objects.Figure or matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ConfigError
            If there is no such design, input or output, if the library is not installed, or if these
            answers have nothing to show, as `report` says.
        """
        require(design, (int, np.integer), "plot_profiler: design", "the number of a design, from 1")
        return self._shown().profiler(backend, int(design), inputs, outputs)

    def plot_parallel(self, *, backend: str = "plotly") -> Any:
        """Draw the designs on parallel axes, one for each input and output, and behind them the measured rows.

        Those of plotly can be brushed: drag along an axis.

        Parameters
        ----------
        backend : str
            ``plotly`` or ``matplotlib``.

        Returns
        -------
        plotly.graph_objects.Figure or matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ConfigError
            As `plot_profiler` does.
        """
        return self._shown().parallel(backend)

    def _repr_html_(self) -> str:
        """Show the designs and the profiler in a notebook; those of a pickle as a table."""
        if self.shown is None:
            html: str = self.designs._repr_html_()  # type: ignore[operator]
            return html
        return self.shown.notebook()

    def _shown(self) -> Shown:
        if self.shown is None:
            raise ConfigError(
                "there is nothing to make a report of: these answers were interrupted, or come from a pickle",
                "ask again, and write the report in the same process",
            )
        return self.shown

    @cached_property
    def designs(self) -> pd.DataFrame:
        """The distinct designs, best first.

        ``target``, ``rank``, ``design.NAME``, ``prediction.NAME``, ``spread.NAME`` of an ensemble, ``derived.NAME`` of
        what is computed from the inputs by a formula; where there is a
        true model ``truth.NAME``, ``difference.NAME``, the prediction minus the truth, and ``failed``, why there is no
        truth; ``loss``, ``variance``, ``met.NAME`` for each output with a value or limits to meet, ``miss.NAME``
        for each asked output, ``met``, which has no value where nothing but a maximum or minimum is asked for,
        ``starts``; where training rows are known ``nearest.row``, ``nearest.measured.NAME``, ``nearest.distance``,
        ``inside``, and of the target's best measured row ``measured.row``, ``measured.met`` and ``measured.answer``;
        ``error.NAME``, the surrogate's typical error, where it was tested; ``over_conditions.NAME``, the standard
        deviation of the prediction over the scenarios, where conditions vary; where a second model tells, ``low.NAME``
        and ``high.NAME``, between which the true mean lies, ``low_new.NAME`` and ``high_new.NAME`` for a single new
        measurement, the same with ``_joint`` for all asked outputs together, ``probability``, that a measurement meets
        the target, ``guarantee`` and ``no_guarantee``, whether all this is to hold and why not; for one target
        ``from.NAME`` and ``to.NAME`` of numbers, ``levels.NAME`` of other variables, and ``free_directions``.
        """
        return laid_out(self.columns)

    @cached_property
    def measured(self) -> pd.DataFrame | None:
        """Measured rows, best first; of a target without answers among them its best row alone.

        ``target``, ``rank``, ``row`` (its number in the table), ``design.NAME``, ``measured.NAME``, ``met.NAME`` and
        ``met`` as those of designs, ``answer``, whether the row meets the target or, beside a maximum or minimum, is
        better than the best design, and ``answers``, how many such rows there are.
        """
        return None if self.rows is None else laid_out(self.rows)

    @property
    def met(self) -> bool:
        """Whether every target has a design that misses nothing; a maximum or minimum alone can't be missed."""
        return len(np.unique(self.columns["target",][filled(self.columns["met",])])) == len(self.targets)

    @property
    def status(self) -> Literal["met", "not met", "optimised", "out of time", "interrupted"]:
        """What came of it: a maximum or minimum is optimised where all limits hold, and never met.

        A target that no design meets is met where a measured row does. A target that is met stays met where a time
        limit ended the search; a maximum or minimum might have become better.
        """
        if self.interrupted and not self.out_of_time:
            return "interrupted"
        if self.out_of_time and (self.targets.extremum.any() or not (self.met or self.met_by_rows)):
            return "out of time"
        if not (self.met or self.met_by_rows):
            return "not met"
        return "optimised" if self.targets.extremum.any() else "met"

    @property
    def met_by_rows(self) -> bool:
        """Whether each target has a measured row that is an answer."""
        return self.rows is not None and len(np.unique(self.rows["target",][self.rows["answer",]])) == len(self.targets)

    @property
    def met_by(self) -> Literal["truth", "prediction", "measured row"] | None:
        """What says that all targets are met, or the limits beside their extrema held; None where nothing is."""
        if not self.met:
            return "measured row" if self.met_by_rows else None
        return self.judged_by if self.targets.limited.any() else None

    @property
    def judged_by(self) -> Literal["truth", "prediction"]:
        """What decides whether a design meets a target."""
        return "truth" if any(key[0] == "truth" for key in self.columns) else "prediction"

    @classmethod
    def joined(cls, targets: Targets, parts: Iterable[tuple[int, Answers]]) -> Answers:
        """Put the answers to parts of a table of targets together; each comes with the number of its first target.

        Where parts are missing, the work was interrupted.
        """
        import pandas as pd

        found = list(parts)

        def together(name: str) -> Columns:
            several = [{**getattr(a, name), ("target",): getattr(a, name)["target",] + first} for first, a in found]
            return {k: pd.concat([pd.Series(s[k]) for s in several], ignore_index=True).array for k in several[0]}

        starts = [a.starts.assign(target=a.starts["target"] + first) for first, a in found]
        interrupted = sum(len(a.targets) for _, a in found) < len(targets) or any(a.interrupted for _, a in found)
        return cls(
            targets,
            pd.concat(starts, ignore_index=True),
            together("columns"),
            interrupted,
            found[0][1].search,
            None if found[0][1].rows is None else together("rows"),
            any(a.out_of_time for _, a in found),
            scenarios=found[0][1].scenarios,
            simulated=sum_of(a.simulated for _, a in found),
            level=found[0][1].level,
            second=found[0][1].second,
        )

    def reached(self, name: str, by: str) -> Any:
        """Return the column of an output as it is known by ``truth`` or ``prediction``, or that of what is exact."""
        return next(self.columns[part, name] for part in (by, "derived", "design") if (part, name) in self.columns)

    @property
    def without_guarantee(self) -> int | None:
        """How many designs have intervals that may not hold; None where there are none."""
        return None if self.level is None else int((~self.columns["guarantee",]).sum())

    def counts(self) -> dict[str, int | None]:
        """Return how many starts there were, converged, hit, stayed where they began, and were not finite.

        None can hit where nothing but extrema is asked for: that number is None.
        """
        status = self.starts["status"]
        return {
            "total": len(self.starts),
            "converged": int((status == "converged").sum()),
            "hit": int(self.starts["hit"].sum()) if self.targets.limited.any() else None,
            "unmoved": int((~self.starts["moved"]).sum()),
            "not_finite": int((status == "not finite").sum()),
        }


def answers(problem: InverseProblem, reached: SearchResult) -> Answers:
    """Judge what the starts reached by the prediction, and pick the distinct designs.

    Where any meets, only such are reported. They are ranked by loss plus the members' variance: an exact solver brings
    the loss of many designs to nothing, and the spread tells which of them to trust.
    """
    surrogate, space, targets, near = problem.surrogate, problem.space, problem.targets, problem.nearness
    written = space.decode(reached.x)
    judged = reached.prediction.mean
    met = targets.met(judged, reached.groups)
    misses = targets.miss(judged, reached.groups)
    hit: NDArray[np.bool_] = np.asarray(met.all(axis=1))
    limited = targets.limited[reached.groups]
    can_tell = with_gaps(hit, limited.any(axis=1) | ~hit)
    columns: Columns = {("design", name): written[name].array for name in space.names}
    named = surrogate.predicted
    asked_for = [(surrogate.outputs.index(name), name) for name in surrogate.derived]
    for part, values in (("prediction", reached.prediction.mean), ("spread", reached.prediction.std)):
        if values is not None:
            columns |= {(part, name): values[:, m] for m, name in named}
    columns |= {("derived", name): formula.value(reached.x) for name, formula in problem.wishes.formulas.items()}
    columns |= {("loss",): reached.loss, ("variance",): reached.variance}
    starts: Columns = {("target",): reached.groups, ("start",): numbered_within(reached.groups)}
    starts |= {("guess", name): reached.guess[:, j] for j, name in enumerate(_encoded_names(surrogate.space))}
    starts |= columns | {("hit",): can_tell}
    for name in ("status", "message", "evaluations", "moved"):
        starts[name,] = getattr(reached, name)
    every = problem.whole or targets  # every part of a table has the columns that the whole needs
    for m, name in (*named, *asked_for):
        if every.limited[:, m].any():
            columns["met", name] = with_gaps(met[:, m], limited[:, m])
        if every.asked[:, m].any():
            columns["miss", name] = misses[:, m]
    columns["met",] = can_tell
    low, high = surrogate.box
    width = np.where(high > low, high - low, 1.0)
    bounds = space.bounds[1] - space.bounds[0]
    unit = (reached.x - low) / np.where((bounds > 0) & (bounds < width), bounds, width)
    score = reached.loss + reached.variance
    # Tolerances are there for judging; limits beside an extremum are to hold, or to be violated least.
    excess = np.abs(targets.excess(reached.prediction.mean, reached.groups)).sum(axis=1)
    excess = np.where(excess <= ROUNDOFF, 0.0, excess)
    keys = np.stack([np.ceil(excess * 1e4), score])  # what differs by less is violated alike
    if reached.distances is not None:
        # Of designs that are as good as the best, the nearest to the present one comes first.
        fine = hit & (excess == 0)
        fine &= _as_good(reached.prediction.mean, np.where(fine, score, np.inf), reached.groups, targets)
        keys = np.stack([hit & ~fine, *np.where(fine, reached.distances, keys)])
    outside = None if near is None else near.sample.outside(reached.x)
    by_probability = problem.second is not None and reached.distances is None
    if by_probability:  # of the best designs alone, since it takes longer than a prediction
        shortlist = pick(reached.groups, unit, hit, keys, SHORTLIST * problem.wishes.designs, outside).rows
        few = reached.take(shortlist)
        first = np.where(hit, 2.0, 0.0)
        probability = intervals(problem, few.x, few.prediction, few.groups).probability
        first[shortlist] = np.where(hit[shortlist], _improbable(probability, few.groups, targets), 0.0)
        keys = np.stack([first, *keys])
    picked = pick(reached.groups, unit, hit, keys, problem.wishes.designs, outside)
    designs: Columns = {("target",): reached.groups[picked.rows], ("rank",): picked.ranks}
    designs |= {key: values[picked.rows] for key, values in columns.items()} | {("starts",): picked.starts}
    few = reached.take(picked.rows)
    designs |= interval_columns(problem, few.x, few.prediction, few.groups)
    over = surrogate.scenario_spread(reached.x[picked.rows])
    if over is not None:
        designs |= {("over_conditions", name): over[:, m] for m, name in named}
    if near is not None:
        row, distance = near.nearest(reached.x[picked.rows])
        if near.rows is not None:
            designs["nearest", "row"] = near.rows[row]
        if near.y is not None:
            designs |= {("nearest", "measured", name): near.y[row, m] for m, name in named}
        designs |= {("nearest", "distance"): distance, ("inside",): near.inside(reached.x[picked.rows])}
    if by_probability:  # basins were picked one by one, and points along wide ones after them
        improbable = _improbable(designs["probability",], few.groups, targets)
        designs = _most_probable_first(designs, np.where(hit[picked.rows], improbable, 0.0))
    found = Answers(targets, laid_out(starts), designs, reached.interrupted, reached.search)
    return found if (second := problem.second) is None else replace(found, level=second.level, second=second.plugin)


def _improbable(probability: FloatArray, groups: IndexArray, targets: Targets) -> FloatArray:
    """Return (b,) keys by which designs that meet their target are ranked: how improbable it is that they do.

    To two digits, which is as well as it is known. Beside an extremum it is not looked at.
    """
    extremum = targets.extremum[groups].any(axis=1)
    return np.where(extremum, 0.0, 1 - np.round(np.nan_to_num(probability), 2))


def _most_probable_first(designs: Columns, improbable: FloatArray) -> Columns:
    """Return designs in the order of (n,) keys for each target; among equals they stay as they were picked."""
    order = np.lexsort((designs["rank",], improbable, designs["target",]))
    ranked = {key: values[order] for key, values in designs.items()}
    return ranked | {("rank",): numbered_within(ranked["target",]) + 1}


def laid_out(columns: Columns) -> pd.DataFrame:
    """Return the table of some columns, as ``PART.NAME``."""
    import pandas as pd

    def cells(values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]

    return pd.DataFrame({".".join(key): cells(values) for key, values in columns.items()})


def part_of(columns: Columns, row: int, *part: str) -> dict[str, Any]:
    """Return the plain values of one row in the columns of a part, by name."""
    values = {key[-1]: column[row] for key, column in columns.items() if key[:-1] == part}
    return {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}


def filled(met: Any) -> NDArray[np.bool_]:
    """Return (n,) whether each is met; what has no value can't be missed."""
    return np.asarray(met if isinstance(met, np.ndarray) else met.to_numpy(np.bool_, na_value=True))


def with_gaps(fine: NDArray[np.bool_], told: NDArray[np.bool_]) -> Any:
    """Return (n,) truth values, and no value where there is nothing to tell."""
    import pandas as pd

    return fine if told.all() else pd.arrays.BooleanArray(fine.copy(), ~told)


def _as_good(y: FloatArray, score: FloatArray, groups: NDArray[np.intp], targets: Targets) -> NDArray[np.bool_]:
    """Return (b,) whether each maximum and minimum is within its tolerance of that of the target's best design."""
    order = np.lexsort((score, groups))
    best = np.zeros(len(targets), dtype=np.intp)
    first = order[np.r_[True, groups[order][1:] != groups[order][:-1]]]
    best[groups[first]] = first
    less = targets.direction[groups] * (y[best[groups]] - y)
    tolerance = np.where(targets.tolerance > 0, targets.tolerance, DEFAULT_TOLERANCE * targets.spread)
    return np.asarray((less <= tolerance[groups]).all(axis=1))


def _encoded_names(space: Space) -> list[str]:
    """Name the encoded columns; a category has one for each level."""
    return [
        f"{v.name}={level}" if v.kind == "categorical" else v.name
        for v in space.variables
        for level in (v.levels if v.kind == "categorical" else [None])
    ]


def numbered_within(groups: IndexArray) -> IndexArray:
    """Number the rows of each target from 0; the rows of one target stand together."""
    firsts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])[: len(groups)]
    return np.arange(len(groups)) - np.repeat(firsts, np.diff(np.r_[firsts, len(groups)]))
