"""On a terminal, bars say how far each stage is and how long it will still take; a file gets a line for each stage."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from invdesign_core.cli.console import Watcher
from invdesign_core.context import CandidateStarted, Context, Note, Progress, StageStarted
from invdesign_core.plugin import Problem
from invdesign_core.registry import Registry


class Terminal:
    """A terminal of 80 columns whose clock moves by hand."""

    def __init__(self, terminal=True):
        self.now = 0.0
        self.stream = io.StringIO()
        console = Console(file=self.stream, force_terminal=terminal, width=80, highlight=False, color_system=None)
        self.console, self.watcher = console, Watcher(console=console, clock=lambda: self.now)

    def shown(self):
        """The bars as they stand."""
        with self.console.capture() as caught:
            self.console.print(self.watcher._bar.get_renderable())
        return [line.rstrip() for line in caught.get().splitlines() if line.strip()]

    def after(self, seconds, event):
        self.now += seconds
        self.watcher(event)
        return self.shown()


def test_the_time_left_is_that_at_the_pace_so_far():
    terminal = Terminal()
    terminal.after(0, StageStarted("solve", "lbfgsb"))
    (line,) = terminal.after(0, Progress("solve", 0, 100))
    assert "solving by lbfgsb" in line
    assert "left" not in line  # nobody knows yet
    terminal.after(10, Progress("solve", 10, 100))
    (line,) = terminal.after(10, Progress("solve", 20, 100))
    assert "20 of 100" in line
    assert "1:20 left" in line
    (line,) = terminal.after(80, Progress("solve", 100, 100))
    assert "left" not in line


def test_training_may_end_before_its_last_epoch_so_that_the_time_is_a_limit():
    terminal = Terminal()
    terminal.after(0, Progress("train", 0, 2000, 5, 0.5))
    (line,) = terminal.after(2, Progress("train", 1, 2000, 5, 0.00012345))
    assert "training" in line
    assert "5 live, best 0.0001234" in line or "5 live, best 0.0001235" in line
    assert "≤ 1 h 06 left" in line


def test_a_race_has_a_bar_for_its_candidates_above_that_of_each():
    terminal = Terminal()
    terminal.after(0, StageStarted("race"))
    terminal.after(0, CandidateStarted("ridge", 1, 3))
    terminal.after(20, CandidateStarted("gaussian-process", 2, 3))
    race, candidate = terminal.after(1, Progress("race", 10, 400, 5, 0.1))
    assert "comparing surrogates" in race
    assert "2 of 3" in race
    assert "gaussian-process" in race
    assert "10 of 400" in candidate
    (line,) = terminal.after(0, StageStarted("train")) + terminal.after(1, Progress("train", 1, 10, 1, 0.1))
    assert "training" in line


def test_rounds_keep_their_bar_while_others_come_and_go():
    terminal = Terminal()
    terminal.after(0, Progress("refine", 0, 5))
    assert len(terminal.after(1, Progress("train", 3, 10, 1, 0.1))) == 2
    assert len(terminal.after(1, Progress("solve", 3, 10))) == 2
    (line,) = terminal.after(8, Progress("refine", 1, 5))
    assert "refining" in line
    assert "1 of 5" in line
    assert "left" in line


def test_bars_fit_a_terminal_of_80_columns():
    terminal = Terminal()
    terminal.after(0, CandidateStarted("gradient-boosting", 9, 12))
    terminal.after(9, CandidateStarted("gaussian-process", 10, 12))
    terminal.after(1, Progress("race", 999, 2000, 64, 0.00012345))
    lines = terminal.after(90, Progress("race", 1000, 2000, 64, 0.00012345))
    assert max(map(len, lines)) <= 80
    assert any("64 live, best 0.0001234" in line or "64 live, best 0.0001235" in line for line in lines)
    assert len(lines) == 2
    assert all("left" in line for line in lines)


def test_a_file_gets_a_line_for_each_stage_and_no_bars():
    terminal = Terminal(terminal=False)
    with terminal.watcher:
        for event in (StageStarted("race"), CandidateStarted("ridge", 1, 2), Progress("race", 1, 2), Note("[a] note")):
            terminal.watcher(event)
    expected = "comparing surrogates …\ncomparing surrogates: ridge (1 of 2) …\nnote: [a] note\n"
    assert terminal.stream.getvalue() == expected


@pytest.mark.parametrize("name", ["least-squares", "lbfgsb", "slsqp", "differential-evolution"])
def test_a_search_for_one_target_says_how_far_it_is(name):
    told = []
    ctx = Context(emit=told.append)
    problem = Problem.from_function(lambda u: u - [0.2, 0.7], np.zeros((8, 2)), np.ones((8, 2)), ctx=ctx)
    solver = Registry.discover().create("solver", name, {})
    solver.solve(problem, np.random.default_rng(0).random((8, 2)), ctx)
    done = [event.done for event in told if isinstance(event, Progress) and event.stage == "solve"]
    assert done
    assert done == sorted(done)
    assert done[-1] <= 8
