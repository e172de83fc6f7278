"""Ctrl-C while networks train side by side keeps those that had ended."""

from __future__ import annotations

import pytest
from test_training import Small, evaluator

from invdesign_core.plugin import Trial
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trials import TrialTable


def test_trials_that_had_ended_are_kept_and_not_trained_again(tmp_path):
    training = Training(epochs=400, batch_size=16, patience=2)
    trials = [Trial({"rate": 1e9}), Trial({"rate": 1e-3})]  # the first diverges at once, the second takes long

    def interrupt(event):
        if event.kind == "progress" and event.data["done"] == 8:
            raise KeyboardInterrupt

    run = evaluator(Small(), training=training, table_=TrialTable(tmp_path), emit=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(trials)
    kept = TrialTable(tmp_path)
    assert [(r.values["rate"], r.status) for r in kept.results] == [(1e9, "failed")]
    trained = []
    resumed = evaluator(
        Small(),
        training=Training(epochs=10, batch_size=16),
        table_=kept,
        emit=lambda event: trained.append(event) if event.kind == "trial" else None,
    )
    results = resumed(trials)
    assert [event.data["values"]["rate"] for event in trained] == [1e-3]
    assert [r.status for r in results] == ["failed", "ok"]
