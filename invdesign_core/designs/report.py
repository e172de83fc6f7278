"""What a run reports: the schema of `run.json` and of `--json`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from invdesign_core.designs.answers import Answers, part_of
from invdesign_core.targets import Targets
from invdesign_core.truth.simulated import Tally

if TYPE_CHECKING:
    import pandas as pd


def _or_none(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


PARTS = (
    *("design", "prediction", "derived", "spread", "error", "over_conditions", "low", "high", "low_new", "high_new"),
    *("met", "miss", "truth", "difference", "nearest", "measured"),
)
"""What stands before the names of inputs and outputs in the columns of a table of designs."""
Number = Annotated[float | None, BeforeValidator(_or_none)]
"""A number; null where it is not finite."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NearestReport(_Part):
    """The training row nearest to a design."""

    row: int | None = Field(description="Its number in the table, the first being 1; null where it was not kept.")
    distance: float = Field(description="Distance to it, each input scaled by its training range.")
    inside: bool = Field(
        description="Whether that is near: no farther than 99 % of the rows are from their nearest other one, and no "
        "farther than 0.25."
    )
    measured: dict[str, Number] | None = Field(
        description="What was measured there, for every output; null where it was not kept."
    )


class MeasuredReport(_Part):
    """A measured row that is an answer itself."""

    row: int | None = Field(description="Its number in the table, the first being 1; null where it was not kept.")
    inputs: dict[str, Any] = Field(description="Its design.")
    outputs: dict[str, Number] = Field(description="What was measured, for every output; null where it was not.")
    derived: dict[str, Number] = Field(
        default_factory=dict, description="What follows from its inputs by a formula, as `derived` of a design."
    )
    met: dict[str, bool] = Field(description="As `met` of a design.")

    def value(self, name: str) -> Any:
        """Return what is known of an output, a derived quantity or an input."""
        return {**self.inputs, **self.derived, **self.outputs}[name]


class DesignReport(_Part):
    """One design."""

    inputs: dict[str, Any] = Field(description="The design, rounded to the digits it needs.")
    prediction: dict[str, Number] = Field(description="The surrogate's answer at exactly these inputs.")
    derived: dict[str, Number] | None = Field(
        None,
        description="What follows from these inputs by a formula, computed exactly; null where no formula is given.",
    )
    spread: dict[str, Number] | None = Field(
        description="Standard deviation of the prediction: over the members, or by a model that knows its own; null "
        "where there is none."
    )
    error: dict[str, Number] | None = Field(
        description="The surrogate's typical error, for every output, in its units: the root mean squared error on the "
        "test rows, on the rows left out by the cross-validation, or on the table's rows for a model file; null where "
        "there are none."
    )
    over_conditions: dict[str, Number] | None = Field(
        None,
        description="Standard deviation of the prediction, which is a mean, over what conditions that vary may be; "
        "null where none does.",
    )
    interval: dict[str, tuple[Number, Number]] | None = Field(
        None,
        description="Between which values the true mean of each output lies, at the report's `level`; null where there "
        "is no second model to tell.",
    )
    interval_new: dict[str, tuple[Number, Number]] | None = Field(
        None, description="Between which values a single new measurement of each output lies; null as `interval` is."
    )
    probability: Number = Field(
        None,
        description="The probability that a measurement of the design meets the target; null where nothing can be met, "
        "or no second model tells.",
    )
    no_guarantee: str | None = Field(
        None, description="Why intervals and probability may not hold for this design; null where they are to hold."
    )
    loss: Number = Field(description="The objective at exactly these inputs, in standardised units.")
    variance: Number = Field(
        description="Mean variance of the prediction over the asked outputs; 0 where there is no spread."
    )
    met: dict[str, bool] = Field(
        description="For each output with a value or limits to meet whether it is within its tolerance; a maximum or "
        "minimum without limits is not listed."
    )
    miss: dict[str, Number] = Field(
        description="How far outside the wanted interval: negative below, 0 inside; null where no value is known, as "
        "where the true model failed."
    )
    truth: dict[str, Number] | None = Field(
        description="The true outputs, by the simulator or by a dataset that knows them; null where there is neither."
    )
    difference: dict[str, Number] | None = Field(
        None, description="The prediction minus the true output, for every output; null where there is no truth."
    )
    failed: str | None = Field(None, description="Why a true output is missing; null where none is.")
    starts: int = Field(description="How many starts led here.")
    nearest: NearestReport | None = Field(description="The nearest training row; null where none are known.")
    tolerance_range: dict[str, list[Any]] | None = Field(
        description="How far each input may move alone before the prediction misses or a constraint is broken: lowest "
        "and highest value, or the levels of a category; null where the design misses, or nothing but an "
        "extremum is asked for."
    )
    free_directions: list[dict[str, float]] | None = Field(
        description="Directions along which the prediction stays: steps of the inputs, by name; null where the design "
        "misses, or nothing but an extremum is asked for."
    )

    def value(self, name: str) -> Any:
        """Return what is known of an output, by the true model where there is one, a derived quantity or an input."""
        outputs = self.truth or self.prediction
        return outputs[name] if name in outputs else (self.derived or {}).get(name, self.inputs.get(name))


class StartsReport(_Part):
    """What became of the starts."""

    total: int = Field(description="Number of starts.")
    converged: int = Field(description="Starts that the solver calls converged, less those that did not move and miss.")
    hit: int | None = Field(
        description="Starts whose design meets the target by the prediction, or holds all limits beside a maximum or "
        "minimum; null where nothing else is asked for."
    )
    unmoved: int = Field(description="Starts that ended where they began.")
    not_finite: int = Field(description="Starts whose design has no finite prediction.")


class TruthReport(_Part):
    """What it took to judge the designs by a true model."""

    by: str = Field(description="The simulator, or the dataset's true model, in words.")
    designs: int = Field(description="Designs that were put through it.")
    simulated: int = Field(
        description="Rows that were computed for them: one for each design, or for each in each scenario where "
        "conditions vary."
    )
    known: int = Field(description="Rows that were known from before.")
    calls: int = Field(description="Calls of the function or the program.")
    failed: int = Field(description="Designs that lack a true value of an output with a target.")


class OutputMetrics(_Part):
    """How well one output is predicted on rows never seen, or by a model file on the rows of its table."""

    r2: Number = Field(description="Coefficient of determination; null where the output is constant there.")
    mae: Number = Field(description="Mean absolute error, in the output's units.")
    rmse: Number = Field(description="Root mean squared error, in the output's units.")
    rows: int | None = Field(None, description="Rows in which the output was measured; null in older runs.")
    r2_range: tuple[float, float] | None = Field(
        None,
        description="Between which values R² lies with a confidence of 90 %, where fewer than 20 rows tell of it; null "
        "where they are more.",
    )


class FoldMetrics(_Part):
    """How well a candidate of a race predicts one output for rows that it did not learn from."""

    rmse: Number = Field(description="Root mean squared error over all rows left out, in the output's units.")
    spread: Number = Field(description="Standard deviation of that error over the folds.")
    mae: Number = Field(description="Mean absolute error, in the output's units.")
    r2: Number = Field(description="Coefficient of determination; null where the output is constant.")


class CandidateReport(_Part):
    """One candidate of a race."""

    name: str = Field(
        description="The surrogate; `mean` predicts the mean of the rows that it learnt from, and `blend` is a "
        "weighted mean of others."
    )
    role: Literal["chosen", "beaten", "yardstick", "out"] = Field(
        description="`chosen`; `beaten`; `yardstick`, which could not be chosen; or `out`: it failed, or can't be used."
    )
    error: Number = Field(
        description="What candidates are compared by: the root of the mean squared error over the deciding outputs, "
        "each in units of its standard deviation; null where it is out."
    )
    outputs: dict[str, FoldMetrics] = Field(description="Errors of each output on rows left out.")
    best: dict[str, Any] = Field(description="Its hyper-parameters, chosen by the error on rows left out.")
    members: int = Field(description="Models whose mean was compared, for each fold.")
    message: str | None = Field(description="Why it is out; else null.")
    seconds: float = Field(description="Seconds that it took.")


class CurveReport(_Part):
    """How the error of the chosen surrogate falls with the number of rows."""

    rows: list[int] = Field(description="Training rows, on average over the folds.")
    error: list[Number] = Field(description="The error with so many, as `error` of a candidate; of one member alone.")
    less: Number = Field(
        description="The share by which twice as many rows would lower the error; null where it can't be said."
    )
    uncertainty: Number = Field(description="Standard error of `less`, from the folds; null where it isn't known.")
    text: str = Field(description="The same in words.")


class RaceReport(_Part):
    """The race that chose the surrogate."""

    folds: int = Field(description="Folds of the cross-validation.")
    repeats: int = Field(description="How many times the rows were dealt out to folds.")
    rows: int = Field(description="Rows that took part.")
    outputs: list[str] = Field(description="The outputs that decided: those asked for, or all.")
    chosen: str = Field(description="The surrogate that was chosen; `blend` is a weighted mean of several.")
    weights: dict[str, dict[str, float]] | None = Field(
        None,
        description="Of a blend: how much each surrogate counts, for each output; they add up to 1. Else null.",
    )
    candidates: list[CandidateReport] = Field(description="All candidates, the one with the smallest error first.")
    curve: CurveReport | None = Field(description="The learning curve; null where it was not drawn.")
    text: list[str] = Field(description="What came of it, in words.")


class SurrogateReport(_Part):
    """The surrogate."""

    plugin: str | None = Field(description="The builder; null for a model file.")
    members: int = Field(description="Networks in the ensemble.")
    trials: int = Field(description="Trials of the search; 0 for a loaded surrogate.")
    failed: int = Field(description="Trials that failed.")
    best: dict[str, Any] = Field(description="Hyper-parameters of the best trial.")
    objective: str | None = Field(description="What the tuner compared the trials by.")
    score: Number = Field(description="The objective of the winner.")
    retrained: bool = Field(description="Whether the winner was trained again and became better.")
    trained_again: int = Field(
        0, description="Members that had not learnt what the others had, and were trained again from other weights."
    )
    left_out: int = Field(0, description="Members that failed in that, too, and are left out.")
    rows: dict[str, int] = Field(
        description="Rows for `train`, `validation` and `test`, and `left out` in turn by a cross-validation; of the "
        "`table` that was given with a model file."
    )
    test: dict[str, OutputMetrics] = Field(
        description="Metrics for each output on the test rows; where none were held out and candidates raced, on the "
        "rows left out by the cross-validation; of a model file on all rows of its table."
    )
    race: RaceReport | None = Field(None, description="The race that chose the surrogate; null where it was named.")


class TargetReport(_Part):
    """What was asked of one output."""

    goal: Literal["max", "min"] | None = Field(description="Whether it is to be as large or as small as it can be.")
    lower: Number = Field(description="Lowest wanted value; null where that side is open.")
    upper: Number = Field(description="Highest wanted value; null where that side is open.")
    weight: float = Field(description="Weight of its misses.")
    tolerance: float = Field(description="The miss that still counts as met.")
    range: Number = Field(description="The output's range over the training rows.")


class AddedReport(_Part):
    """What a plugin or an observer adds to a report."""

    source: str = Field(description="The plugin, or the name that it gave.")
    text: str = Field(description="A section of text; empty where there are only numbers.")
    metrics: dict[str, Number] = Field(description="Numbers by name.")


class Report(_Part):
    """The result of `invdesign run` and `invdesign solve`."""

    run: str | None = Field(description="The run folder; null where nothing was saved.")
    status: Literal["met", "not met", "optimised", "no target", "out of time", "interrupted"] = Field(
        description="What came of it: `optimised` where a maximum or minimum was asked for and all limits hold; "
        "`out of time` where a time limit ended the search before the target was met, or the maximum or minimum found."
    )
    met_by: Literal["truth", "prediction", "measured row"] | None = Field(
        description="What says that the target is met, or all limits held: the true model, the prediction, or, where "
        "no proposed design does it, a measured row; null where it is not, or nothing can be met."
    )
    verdict: str = Field(description="The outcome in words: the last line on the screen.")
    target: dict[str, TargetReport] = Field(description="What was asked for.")
    distinct: int = Field(description="Number of distinct designs.")
    designs: list[DesignReport] = Field(description="Distinct designs, best first.")
    level: float | None = Field(
        None, description="The level of the designs' intervals; null where there are none: no second model tells them."
    )
    without_guarantee: int | None = Field(
        None, description="Number of designs whose intervals may not hold; null where there are none."
    )
    measured: list[MeasuredReport] = Field(
        description="Measured rows that meet the target themselves, or beat the best design where a maximum or minimum "
        "is asked for; best first, at most as many as designs are asked for."
    )
    measured_count: int = Field(description="Number of such rows in the table.")
    measured_best: MeasuredReport | None = Field(
        description="The best measured row, whether it meets the target or not; null where none lies inside the "
        "bounds and constraints."
    )
    conditions: dict[str, str] | None = Field(
        None, description="The distributions of conditions that vary, by name; null where none does."
    )
    scenarios: int | None = Field(
        None, description="Number of scenarios that predictions are means over; null where no condition varies."
    )
    starts: StartsReport | None = Field(description="Summary of the starts; null without a target.")
    truth: TruthReport | None = Field(
        None, description="What it took to judge the designs by a true model; null where there is none."
    )
    search: str | None = Field(
        description="How variables of which only some values exist were searched: `enumeration`, "
        "`per-combination`, `rounding`, `solver`, `relaxation`, or `continuous` where there are none; null without a "
        "target."
    )
    units: dict[str, str] = Field(
        default_factory=dict, description="The units of inputs and outputs, by name, where they are known."
    )
    surrogate: SurrogateReport = Field(description="How good the surrogate is.")
    plugins: dict[str, str] = Field(description="The plugin of each kind.")
    distributions: dict[str, str] = Field(
        default_factory=dict, description="The distribution and version of each of them that isn't invdesign's own."
    )
    added: list[AddedReport] = Field(
        default_factory=list, description="What plugins and observers added to the report."
    )
    seed: int = Field(description="The run's seed.")
    backend: str = Field(description="What Keras ran on.")
    notes: list[str] = Field(description="What is worth knowing about this result.")
    seconds: dict[str, float] = Field(
        description="Seconds in `import`, `load`, `race`, `tune`, `train`, `compile`, `solve`, `simulate`, and in "
        "`total`."
    )


class TableReport(_Part):
    """The result of `invdesign solve` with a table of targets; the designs themselves are in its file."""

    out: str = Field(description="The file with the designs of each target, best first.")
    run: str = Field(description="The run folder or model that was inverted.")
    status: Literal["met", "not met", "optimised"] = Field(
        description="`met` or, where any asks for a maximum or minimum, `optimised` if every target has a design or a "
        "measured row that meets it or holds all limits."
    )
    verdict: str = Field(description="The outcome in words: the line on the screen.")
    targets: int = Field(description="Number of targets.")
    met: int = Field(description="Targets without a maximum or minimum that have a design which meets them.")
    optimised: int = Field(description="Targets with a maximum or minimum that have a design which holds all limits.")
    measured: int = Field(
        description="Targets for which no design, but a measured row is an answer: `measured.answer` in the file."
    )
    beaten: int = Field(description="Of those optimised, the targets for which a measured row beats the best design.")
    without_guarantee: int | None = Field(
        None,
        description="Designs in the file whose intervals may not hold (`guarantee` is false); null where there are no "
        "intervals.",
    )
    units: dict[str, str] = Field(
        default_factory=dict, description="The units of inputs and outputs, by name, where they are known."
    )
    starts: StartsReport = Field(description="Summary of the starts of this call.")
    truth: TruthReport | None = Field(
        None, description="What it took to judge the designs of this call by a true model; null where there is none."
    )
    plugins: dict[str, str] = Field(description="The plugin of each kind.")
    seed: int = Field(description="The seed.")
    backend: str = Field(description="What Keras ran on.")
    notes: list[str] = Field(description="What is worth knowing about this result.")
    seconds: dict[str, float] = Field(description="Seconds in each stage of this call, and in `total`.")


class PredictReport(_Part):
    """The result of `invdesign predict`."""

    run: str = Field(description="The run folder or model that was asked.")
    table: str = Field(description="The table of designs.")
    out: str | None = Field(description="The file with the table and its predictions; null where none was asked for.")
    rows: int = Field(description="Number of designs.")
    outputs: list[str] = Field(description="The outputs.")
    units: dict[str, str] = Field(
        default_factory=dict, description="The units of inputs and outputs, by name, where they are known."
    )
    prediction: list[dict[str, Number]] = Field(description="For each row the predicted outputs.")
    spread: list[dict[str, Number]] | None = Field(
        description="For each row the standard deviation, as `spread` of a design; null where there is none."
    )
    over_conditions: list[dict[str, Number]] | None = Field(
        None,
        description="For each row the standard deviation of the prediction, which is a mean, over the scenarios of "
        "conditions that vary; null where none does.",
    )
    backend: str = Field(description="What Keras ran on.")
    notes: list[str] = Field(description="What is worth knowing about these predictions.")


class ProposeReport(_Part):
    """The result of `invdesign propose`."""

    run: str | None = Field(description="The run folder that was asked; null for the first experiments.")
    design: str | None = Field(description="The experiment file of the first experiments; null for those of a run.")
    out: str | None = Field(description="The file with the experiments; null where none was asked for.")
    experiments: list[dict[str, Any]] = Field(description="The inputs of each experiment.")
    units: dict[str, str] = Field(
        default_factory=dict, description="The units of inputs and outputs, by name, where they are known."
    )
    prediction: list[dict[str, Number]] | None = Field(
        None, description="For each experiment the predicted outputs; null for the first experiments."
    )
    low: list[dict[str, Number]] | None = Field(
        None, description="For each experiment the lower end of the interval that a measurement should lie in."
    )
    high: list[dict[str, Number]] | None = Field(None, description="The upper end of that interval.")
    probability: list[Number] | None = Field(
        None,
        description="For each experiment the probability that a measurement meets the target; null where no value or "
        "limit is asked for.",
    )
    seed: int = Field(description="The seed.")
    notes: list[str] = Field(description="What is worth knowing about these experiments.")


class MeasurementReport(_Part):
    """One measured row that was learnt, beside what had been predicted of it."""

    row: int = Field(description="Its number in the table, the first being 1.")
    inputs: dict[str, Any] = Field(description="Its design.")
    measured: dict[str, Number] = Field(description="What was measured, for every output; null where it was not.")
    prediction: dict[str, Number] = Field(description="What was predicted before.")
    low: dict[str, Number] = Field(description="The lower ends of the intervals for a measurement.")
    high: dict[str, Number] = Field(description="Their upper ends.")
    inside: dict[str, bool] = Field(description="Whether the measurement lies in the interval, where there is one.")
    met: bool | None = Field(description="Whether the measurement meets the target; null without one.")


class LearnReport(_Part):
    """The result of `invdesign learn`."""

    run: str = Field(description="The run.")
    round: int = Field(description="The number of the new round, from 1.")
    folder: str = Field(description="Its folder.")
    table: str = Field(description="The table of measured rows.")
    added: int = Field(description="Rows that were added.")
    skipped: dict[str, int] = Field(description="Rows that were not, by the reason.")
    rows: dict[str, int] = Field(description="Rows to train with, to watch and held out, after that.")
    measured: list[MeasurementReport] = Field(description="The added rows, and what was predicted of them.")
    inside: dict[str, tuple[int, int]] = Field(
        description="For each output, how many measurements lie in their intervals, and how many there are."
    )
    level: float = Field(description="The share of measurements that the intervals are made to hold.")
    afresh: bool = Field(description="Whether the surrogate was trained from the beginning, and not on from before.")
    before: dict[str, OutputMetrics] = Field(description="The surrogate on the rows held out, before it learnt more.")
    after: dict[str, OutputMetrics] = Field(description="And now; both are empty where no row is held out.")
    next: ProposeReport | None = Field(description="The next experiments; null where none were asked for.")
    seconds: dict[str, float] = Field(description="Seconds in each stage, and in total.")
    notes: list[str] = Field(description="What is worth knowing.")


class RefinedReport(_Part):
    """What came of one target of `invdesign refine`."""

    target: int = Field(description="Its number, from 1.")
    met: bool | None = Field(description="Whether it is met; null where nothing but a maximum or minimum is asked for.")
    experiments: int = Field(description="True evaluations that were spent on it.")
    inputs: dict[str, Any] | None = Field(description="The best design whose true outputs are known; null without one.")
    outputs: dict[str, Number] | None = Field(description="Its true outputs.")
    miss: dict[str, Number] | None = Field(description="By how much each asked output misses; 0 inside its limits.")


class RoundReport(_Part):
    """One round of `invdesign refine`."""

    round: int = Field(description="Its number among the rounds of the run.")
    folder: str = Field(description="Its folder.")
    evaluated: int = Field(description="Designs that were put through the true model.")
    failed: int = Field(description="Those of them that it gave no value for.")
    met: int = Field(description="Targets that are met by then.")
    afresh: bool = Field(description="Whether the surrogate was trained from the beginning.")


class RefineReport(_Part):
    """The result of `invdesign refine`."""

    run: str = Field(description="The run.")
    out: str | None = Field(description="The file with the best design of each target; null where none was asked for.")
    status: Literal["met", "not met", "optimised"] = Field(description="As `status` of a run.")
    verdict: str = Field(description="What came of it, in words.")
    targets: list[RefinedReport] = Field(description="What came of each target.")
    rounds: list[RoundReport] = Field(description="The rounds of this command, those resumed too.")
    evaluated: int = Field(description="Designs that were put through the true model in all of these rounds.")
    plugins: dict[str, str] = Field(description="The plugin of each kind.")
    seed: int = Field(description="The seed.")
    notes: list[str] = Field(description="What is worth knowing.")
    seconds: dict[str, float] = Field(description="Seconds in each stage, and in total.")


def design_reports(answers: Answers) -> list[DesignReport]:
    """Return the designs of an inversion, best first."""
    return [_design(answers, row) for row in range(len(answers.columns["target",]))]


def measured_reports(answers: Answers) -> tuple[list[MeasuredReport], int, MeasuredReport | None]:
    """Return the measured rows that are answers, how many there are in all, and the best row of all."""
    rows = answers.rows
    if rows is None or not len(rows["target",]):
        return [], 0, None
    found = [
        MeasuredReport(
            row=part_of(rows, i).get("row"),
            inputs=part_of(rows, i, "design"),
            outputs=part_of(rows, i, "measured"),
            derived=part_of(rows, i, "derived"),
            met=part_of(rows, i, "met"),
        )
        for i in range(len(rows["target",]))
    ]
    listed = [part for part, fine in zip(found, rows["answer",], strict=True) if fine]
    return listed, int(rows["answers",][0]), found[0]


def truth_report(tally: Tally | None) -> TruthReport | None:
    """Return what it took to judge designs by a true model."""
    if tally is None:
        return None
    return TruthReport(**{name: getattr(tally, name) for name in TruthReport.model_fields})


def interval_report(answers: Answers) -> dict[str, Any]:
    """Return the intervals of all designs as JSON holds them."""
    columns, names = answers.columns, [key[1] for key in answers.columns if key[0] == "low"]
    kinds = {"true_mean": "", "measurement": "_new", "true_mean_jointly": "_joint", "measurement_jointly": "_new_joint"}
    designs = []
    for row in range(len(columns["target",])):
        own = part_of(columns, row)
        outputs = {
            name: {"prediction": _or_none(float(columns["prediction", name][row]))}
            | {
                key: [_or_none(float(columns[f"{end}{kind}", name][row])) for end in ("low", "high")]
                for key, kind in kinds.items()
                if (f"low{kind}", name) in columns
            }
            for name in names
        }
        designs.append(
            {
                "target": own["target"],
                "rank": own["rank"],
                "outputs": outputs,
                "probability": _or_none(own["probability"]),
                "guarantee": own["guarantee"],
                "no_guarantee": own["no_guarantee"] or None,
            }
        )
    return {
        "level": answers.level,
        "second_model": answers.second,
        "without_guarantee": answers.without_guarantee,
        "designs": designs,
    }


def target_reports(t: Targets, row: int = 0) -> dict[str, TargetReport]:
    """Return what was asked for, output by output; `row` is the number of the target in a table, from 0."""
    return {
        name: TargetReport(
            goal={1: "max", -1: "min"}.get(int(t.direction[row, m])),  # type: ignore[arg-type]
            lower=float(t.lower[row, m]),
            upper=float(t.upper[row, m]),
            weight=float(t.weight[row, m]),
            tolerance=float(t.tolerance[row, m]),
            range=float(t.spread[m]),
        )
        for m, name in enumerate(t.outputs)
        if t.asked[row, m]
    }


def reports_of_rows(table: pd.DataFrame) -> list[DesignReport]:
    """Return the designs of a table as `Answers.designs` has them, also where it was written and read again."""
    places = {name: _place(name) for name in map(str, table.columns)}
    return [_of_row({places[str(name)]: value for name, value in row.items()}) for row in table.to_dict("records")]


def _place(name: str) -> tuple[str, str]:
    """Return the part of a design that a column is of, and the name in it: an output's or an input's."""
    for part in ("nearest.measured", *PARTS):
        if name.startswith(f"{part}."):
            return part, name[len(part) + 1 :]
    return "", name


def _of_row(row: dict[tuple[str, str], Any]) -> DesignReport:
    def part(*of: str) -> dict[str, Any]:
        wanted = ".".join(of)
        return {name: _plain(value) for (kind, name), value in row.items() if kind == wanted and not _missing(value)}

    return _of_parts(part, None)


def _missing(value: Any) -> bool:
    """Whether a cell of a table holds nothing."""
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """Return a cell as Python's own number, truth value or text."""
    return value.item() if hasattr(value, "item") else value


def _ends(low: dict[str, Any], high: dict[str, Any]) -> dict[str, tuple[Any, Any]] | None:
    """Return intervals by name from their ends."""
    return {name: (value, high[name]) for name, value in low.items()} or None


def _design(answers: Answers, row: int) -> DesignReport:
    return _of_parts(partial(part_of, answers.columns, row), answers.tolerances[row] if answers.tolerances else None)


def _of_parts(part: Callable[..., dict[str, Any]], around: Any) -> DesignReport:
    """Return a design from the parts of its row, by their names, and the tolerance ranges and directions around it."""
    own, nearest = part(), None
    if "inside" in own:
        near, measured = part("nearest"), part("nearest", "measured") or None
        nearest = NearestReport(row=near.get("row"), distance=near["distance"], inside=own["inside"], measured=measured)
    return DesignReport(
        inputs=part("design"),
        prediction=part("prediction"),
        derived=part("derived") or None,
        spread=part("spread") or None,
        error=part("error") or None,
        over_conditions=part("over_conditions") or None,
        interval=_ends(part("low"), part("high")),
        interval_new=_ends(part("low_new"), part("high_new")),
        probability=own.get("probability"),
        no_guarantee=own.get("no_guarantee") or None,
        loss=own.get("loss"),
        variance=own.get("variance"),
        met=part("met"),
        miss=part("miss"),
        truth=part("truth") or None,
        difference=part("difference") or None,
        failed=own.get("failed") or None,
        starts=own["starts"],
        nearest=nearest,
        tolerance_range=None if around is None else around[0],
        free_directions=None if around is None else around[1],
    )
