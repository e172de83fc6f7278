"""True and false are outputs where the first table had them as such, and nowhere else are they numbers."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from invdesign_core import InverseDesign
from invdesign_core.context import Context
from invdesign_core.errors import DataError
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.truth.simulator import as_truth, beside_rows, find, simulator_of
from invdesign_core.workflow.learn import read_measured
from invdesign_core.workflow.load import prepare

DESIGNS = pd.DataFrame({"x": [0.15, 0.85]})
KNOWN = {"numbers": [[0.2], [1.7]], "truths": [[0.0], [1.0]]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of two runs, one of an output that is a number, and one that is true or false."""
    from conftest import called

    folder = tmp_path_factory.mktemp("runs")
    x = np.arange(24) / 24
    for name, y in (("numbers", 2 * x), ("truths", x > 0.5)):
        pd.DataFrame({"x": x, "y": y}).to_csv(folder / f"{name}.csv", index=False)
        (folder / f"{name}.toml").write_text(
            f'surrogate = "ridge"\nconfidence = {{ model = "none" }}\ntargets = {{ y = 1 }}\n'
            f'dataset = {{ use = "table", path = "{name}.csv", outputs = ["y"] }}\n'
        )
        done = called(["run", f"{name}.toml", "--out", name, "--quiet", "--set", "solver.starts=2"], folder, {})
        assert done.code in (0, 1), done.err
    return folder


@pytest.mark.parametrize("cells", [[True, False], [True, None]])
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_measured_rows_are_true_or_false_where_those_before_were(runs, tmp_path, ending, cells):
    path = tmp_path / f"rows{ending}"
    frame = DESIGNS.assign(y=pd.array(cells, dtype="boolean"))
    {".csv": frame.to_csv, ".parquet": frame.to_parquet, ".xlsx": frame.to_excel}[ending](path, index=False)
    y = read_measured(prepare(runs / "truths"), path).y[:, 0]
    assert y.tolist() == [1, 0][: len(y)]
    with pytest.raises(DataError, match="column 'y', row 1: found True, expected a number, as it was so far"):
        read_measured(prepare(runs / "numbers"), path)


def test_python_learns_true_and_false_by_the_same_rule():
    x = np.arange(24) / 24
    for y, said in ((2 * x, "found True, expected a number"), (x > 0.5, None)):
        model = InverseDesign("ridge", confidence={"model": "none"}).fit(pd.DataFrame({"x": x}), pd.Series(y, name="y"))
        for more in (pd.Series([True, False], name="y"), np.array([True, False]), pd.DataFrame({"y": [True, False]})):
            if said is None:
                model.partial_fit(DESIGNS, more)
            else:
                with pytest.raises(DataError, match=said):
                    model.partial_fit(DESIGNS, more)


def function(tmp_path):
    return as_truth(lambda designs: pd.DataFrame({"y": designs["x"] > 0.5}))


def mixed(tmp_path):
    return as_truth(lambda designs: pd.DataFrame({"y": [x > 0.5 for x in designs["x"]]}, dtype=object))


def program(tmp_path):
    (tmp_path / "judge.py").write_text(
        "import sys\nrows = open(sys.argv[1]).read().split()[1:]\n"
        "open(sys.argv[2], 'w').write('y\\n' + ''.join(f'{float(x) > 0.5}\\n' for x in rows))\n"
    )
    settings = TruthSettings(command=[sys.executable, "judge.py", "{input}", "{output}"])
    return simulator_of(settings, find(settings, tmp_path))


@pytest.mark.parametrize("simulator", [function, mixed, program])
def test_simulators_say_true_or_false_where_the_rows_do(tmp_path, simulator):
    answers = {
        name: beside_rows(simulator(tmp_path), np.array(y), ["y"]).evaluate(DESIGNS, ["y"], Context())
        for name, y in KNOWN.items()
    }
    assert answers["truths"].y[:, 0].tolist() == [0, 1]
    assert np.isnan(answers["numbers"].y).all()
    assert all("False" in failed or "True" in failed for failed in answers["numbers"].failed)


@pytest.mark.parametrize(("run", "simulated"), [("numbers", "no value"), ("truths", "met")])
def test_a_solve_asks_a_simulator_by_what_its_run_has_measured(runs, tmp_path, invdesign, run, simulated):
    (tmp_path / "judge.py").write_text(
        "import pandas as pd\ndef judge(designs):\n    return pd.DataFrame({'y': designs['x'] > 0})\n"
    )
    done = invdesign("solve", runs / run, "--target", "y=1 ± 0.2", "--set", "truth.function=judge:judge")
    assert simulated in done.out + done.err, done.err
    assert ("y is True, expected a number" in done.err) == (run == "numbers")
