"""The observer that logs runs in MLflow; a stand-in takes the place of its client."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from invdesign_core.errors import InvdesignError
from invdesign_core.plugin import Context, RunStarted
from invdesign_core.registry import Registry
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_one


class Client:
    """Remembers what it is told, and is as strict about names and numbers as MLflow."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []

    def get_experiment_by_name(self, name: str) -> Any:
        return None

    def create_experiment(self, name: str) -> str:
        return "1"

    def create_run(self, experiment_id: str, run_name: str) -> Any:
        self.runs.append({"name": run_name, "params": {}, "metrics": {}, "tags": {}, "files": [], "end": None})
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=len(self.runs) - 1))

    def log_param(self, run_id: int, key: str, value: Any) -> None:
        assert key not in self.runs[run_id]["params"]
        self.runs[run_id]["params"][key] = value

    def log_metric(self, run_id: int, key: str, value: float, step: int) -> None:
        assert math.isfinite(value)
        assert not set(key) & set("()[]%,")
        self.runs[run_id]["metrics"].setdefault(key, []).append((step, value))

    def set_tag(self, run_id: int, key: str, value: str) -> None:
        self.runs[run_id]["tags"][key] = value

    def log_artifact(self, run_id: int, local_path: str) -> None:
        assert Path(local_path).is_file()
        self.runs[run_id]["files"].append(Path(local_path).name)

    def set_terminated(self, run_id: int, status: str) -> None:
        self.runs[run_id]["end"] = status


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    found = Client()
    monkeypatch.setenv("INVDESIGN_MLFLOW", "1")
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=lambda: found))
    return found


def test_a_run_and_a_solve_of_it_are_logged_with_their_numbers_and_reports(client: Client, tmp_path: Path) -> None:
    quick: Any = {"surrogate": {"use": "ridge"}, "confidence": {"model": "none"}}
    experiment = Experiment(dataset={"rows": 60}, seed=3, **quick)
    result = run_experiment(experiment, ["decimal=2"], tmp_path / "run")
    prepared = prepare(tmp_path / "run")
    solve_one(prepared, ["decimal=1"])
    run, solve = client.runs
    assert (run["name"], run["end"], solve["end"]) == ("run", "FINISHED", "FINISHED")
    assert run["params"]["surrogate"] == "ridge"
    assert run["params"]["seed"] == 3
    assert run["metrics"]["r2 decimal"] == [(0, result.report.surrogate.test["decimal"].r2)]
    assert run["metrics"]["trial score"] == [(0, result.report.surrogate.score)]
    assert run["tags"]["verdict"] == result.report.verdict
    assert {"run.json", "report.html"} <= set(run["files"])
    assert {"report.json", "designs.csv"} <= set(solve["files"])


def test_a_run_that_fails_says_why(client: Client, tmp_path: Path) -> None:
    experiment = Experiment(surrogate={"use": "ridge"}, dataset={"rows": 60}, tuner={"objective": "nonsense"})
    with pytest.raises(InvdesignError):
        run_experiment(experiment, ["decimal=2"], tmp_path / "run")
    (run,) = client.runs
    assert run["end"] == "FAILED"
    assert "nonsense" in run["tags"]["error"]


def test_without_mlflow_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    registry = Registry.discover()
    assert registry.emit(RunStarted("runs/1"), Context()) == []
    monkeypatch.setenv("INVDESIGN_MLFLOW", "1")
    ((_, why),) = registry.emit(RunStarted("runs/1"), Context())
    assert "pip install 'invdesign[mlflow]'" in why
