"""Runs and solves in MLflow: what was chosen, every trial, how good the surrogate is, and the report."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from invdesign_core.plugin import (
    Context,
    Event,
    PluginError,
    Progress,
    RunFailed,
    RunFinished,
    RunStarted,
    TrialEnded,
)

OPEN: dict[int, Log] = {}
"""The logs of the runs that go on, by their records."""
UNKNOWN = re.compile(r"[^\w.\-/ ]")
"""What MLflow does not take in names."""


def tell(event: Event, ctx: Context) -> None:
    """Write down an event; a run's log begins with its folder, that of a solve with its result."""
    key = id(ctx.record)
    if isinstance(event, RunStarted):
        OPEN[key] = Log(Path(event.path).name)
    log = OPEN.get(key)
    if isinstance(event, RunFinished):
        log = OPEN.pop(key, None) or Log(f"solve {event.result.report.run or ''}".strip())
        log.finish(event.result)
    elif log is not None and isinstance(event, RunFailed):
        OPEN.pop(key).fail(event)
    elif log is not None and isinstance(event, TrialEnded):
        log.number("trial score", event.score, event.id)
    elif log is not None and isinstance(event, Progress) and event.best is not None:
        log.number(f"{event.stage} loss", event.best, event.done)


class Log:
    """One run of MLflow, by its client: nobody else's active run is touched."""

    def __init__(self, name: str) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise PluginError(
                f"INVDESIGN_MLFLOW is set, and MLflow can't be imported ({error}): pip install 'invdesign[mlflow]'"
            ) from error
        self._client: Any = mlflow.MlflowClient()
        experiment = self._client.get_experiment_by_name("invdesign")
        number = experiment.experiment_id if experiment else self._client.create_experiment("invdesign")
        self._run = self._client.create_run(number, run_name=name).info.run_id

    def number(self, name: str, value: float, step: int = 0) -> None:
        """Write down a number."""
        if math.isfinite(value):
            self._client.log_metric(self._run, UNKNOWN.sub("_", name), float(value), step=step)

    def finish(self, result: Any) -> None:
        """Write down a result, and put the report and its numbers beside it."""
        report = result.report
        said = {**report.plugins, "seed": report.seed, **report.surrogate.best}
        for name, value in said.items():
            self._client.log_param(self._run, UNKNOWN.sub("_", name), value)
        for output, quality in report.surrogate.test.items():
            for name in ("r2", "rmse"):
                if (value := getattr(quality, name)) is not None:
                    self.number(f"{name} {output}", value)
        for stage, seconds in report.seconds.items():
            self.number(f"seconds {stage}", seconds)
        if report.designs:
            self.number("best loss", report.designs[0].loss)
        self._client.set_tag(self._run, "status", str(report.status))
        self._client.set_tag(self._run, "verdict", report.verdict)
        for file in ("run.json", "report.json", "report.html", "designs.csv"):
            if result.saved is not None and Path(result.saved, file).exists():
                self._client.log_artifact(self._run, str(Path(result.saved, file)))
        self._client.set_terminated(self._run, "FINISHED")

    def fail(self, event: RunFailed) -> None:
        """Write down why a run failed."""
        self._client.set_tag(self._run, "error", f"{event.error}: {event.message}")
        self._client.set_terminated(self._run, "FAILED")
