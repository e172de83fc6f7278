"""Units of columns: numbers in other units are converted where they are written, or refused."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.context import Context
from invdesign_core.data.own_columns import as_targets, in_own_units
from invdesign_core.data.patterns import expand
from invdesign_core.errors import ConfigError
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.constraint_units import in_own_units as constraint
from invdesign_core.space.space import Space
from invdesign_core.space.units import Numbers, Units, in_brackets, with_unit
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Target, Targets, parse_targets
from invdesign_core.workflow.design import Design

SPACE = Space(
    (
        Variable("t [degC]", lower=0, upper=100),
        Variable("t2 [degC]", lower=0, upper=100),
        Variable("flow", lower=0, upper=9),
        Variable("m", lower=0, upper=9),
        Variable("glass (m)", "categorical", levels=("A", "B")),
    )
)
UNITS = Units.of_columns(SPACE.variables, ["strength", "yield (%)"], {"flow": "L/min"}, {"strength": "MPa"})
NAMES = [*SPACE.names, "strength", "yield (%)"]
CELSIUS = Numbers("t", "degC")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("temperature [degC]", ("temperature", "degC")),
        ("T (°C)", ("T", "°C")),
        ("flow rate [m^3/s]", ("flow rate", "m^3/s")),
        ("load(kN)", ("load", "kN")),
        ("share [wt%]", ("share", "wt%")),
        ("length (m)", ("length", "m")),
        ("Compressive Strength (28-day)(Mpa)", None),
        ("Cement (component 1)(kg in a m^3 mixture)", None),
        ("Strength (A)", None),
        ("y [1]", None),
        ("x[12]", None),
        ("price (mean)", None),
        ("plain", None),
        ("[degC]", None),
    ],
)
def test_which_names_have_a_unit_behind_them(name, found):
    assert in_brackets(name) == found


def test_units_of_the_header_the_table_and_the_user():
    assert UNITS.of == {
        "t [degC]": "degC",
        "t2 [degC]": "degC",
        "flow": "L/min",
        "strength": "MPa",
        "yield (%)": "%",
    }, "labels have none, and what nobody knows neither"
    assert UNITS.name("t") == "t [degC]"
    assert UNITS.name("glass") == "glass (m)"
    assert with_unit("flow", UNITS.of) == "flow [L/min]"
    assert with_unit("t [degC]", UNITS.of) == "t [degC]"
    assert with_unit("m", UNITS.of) == "m"


def test_a_short_name_that_is_another_column_stays_that_column():
    units = Units.build(["t", "t [degC]", "a [m]", "a [ft]"])
    assert units.name("t") == "t"
    assert units.name("a") == "a", "it could be either"


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("degC", "350 K", 76.85),
        ("degC", "350K", 76.85),
        ("degF", "100 °C", 212),
        ("K", "-40 degF", 233.15),
        ("m^3/s", "3 L/min", 5e-5),
        ("%", "0.8 1", None),
        ("%", "80 %", 80),
        ("1", "80 %", 0.8),
        ("%", "5000 ppm", 0.5),
        ("wt%", "3 %", 3),
        ("mm", "1 in", 25.4),
        ("MPa", "3 N/mm²", 3),
        ("m3", "1000 L", 1),
        ("EUR/kg", "2 EUR/g", 2000),
        ("MPa", "7", 7),
        ("MPa", "-1e-3", -1e-3),
    ],
)
def test_numbers_in_other_units(column, text, value):
    if value is None:
        with pytest.raises(ConfigError, match="expected a number"):
            Numbers("x", column).value(text, "here")
    else:
        assert Numbers("x", column).value(text, "here") == pytest.approx(value, rel=1e-13)


def test_a_converted_number_is_as_short_as_it_was_meant():
    assert repr(CELSIUS.value("350 K", "here")) == "76.85"
    assert str(parse_targets({"strength": "1 psi"}, ("strength",), units=UNITS)["strength"]) == "= 0.00689476"


@given(number=st.floats(-1e6, 1e6))
def test_a_plain_number_is_never_changed(number):
    assert CELSIUS.value(repr(number), "here") == number
    assert CELSIUS.difference(repr(number), "here") == number


@settings(deadline=None)  # the first loads pint
@given(number=st.floats(-200, 1e4), unit=st.sampled_from(["K", "degF", "degR"]))
def test_what_is_converted_is_converted_back(number, unit):
    here = CELSIUS.value(f"{number!r} {unit}", "here")
    assert Numbers("t", unit).value(f"{here!r} degC", "here") == pytest.approx(number, rel=1e-12, abs=1e-9)


def test_a_tolerance_is_a_difference():
    wanted = parse_targets(
        {"t": {"goal": "min"}, "strength": "0.03 GPa ± 500 kPa", "yield": "60 tolerance 1 %"},
        ("strength", "yield (%)"),
        space=SPACE,
        units=UNITS,
    )
    assert wanted["strength"] == Target(30, 30, tolerance=0.5)
    assert wanted["yield (%)"] == Target(60, 60, tolerance=1)
    measured = Units.build(["T"], said={"T": "degC"})
    assert parse_targets(["T=350 K tolerance 5 K weight 2"], ("T",), units=measured)["T"] == Target(76.85, 76.85, 2, 5)
    assert parse_targets(["T=350 K +/- 9 degF"], ("T",), units=measured)["T"].tolerance == pytest.approx(5)
    assert parse_targets(["T=30+-2"], ("T",), units=measured)["T"] == Target(30, 30, tolerance=2)
    assert parse_targets(["T=300..350 K"], ("T",), units=measured)["T"] == Target(26.85, 76.85)
    assert parse_targets(["T>=300 K"], ("T",), units=measured)["T"].lower == 26.85


class Quantity:
    """As pint has it."""

    magnitude, units = 0.03, "gigapascal"


def test_a_quantity_is_a_target():
    assert parse_targets({"strength": Quantity()}, ("strength",), units=UNITS)["strength"].lower == 30


@pytest.mark.parametrize(
    ("column", "text", "message", "hint"),
    [
        ("MPa", "3 kg", "found 3 kg (mass), expected a number in MPa (mass / length / time^2)", "plain number"),
        ("MPa", "3 Mpa", "found the unit 'Mpa'", "'MPa' or 'mPa'"),
        ("MPa", "3 megapascla", "found the unit 'megapascla'", "megapascal"),
        ("deg", "5 %", "found 5 % ", "plain number"),
        ("Hz", "60 rpm", "found 60 rpm", "same kind"),
        ("dB", "3 %", "found 3 %", "same kind"),
        ("EUR", "3 USD", "found 3 USD (currency_USD)", "same kind"),
        (None, "3 kg", "found '3 kg', expected a number", "[units] x"),
    ],
)
def test_what_cannot_be_converted_is_refused(column, text, message, hint):
    with pytest.raises(ConfigError) as refused:
        Numbers("x", column).value(text, "here")
    assert message in refused.value.message
    assert refused.value.message.startswith("here: ")
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"glass (m)": "kg"}, "'glass \\(m\\)' has labels"),
        ({"strenth": "MPa"}, "'strenth' is not there"),
        ({"flow": "furlongz"}, "found the unit 'furlongz'"),
        ({"flow": 3}, "found 3, expected a unit as text"),
    ],
)
def test_units_that_cannot_be_meant_are_refused(said, message):
    with pytest.raises(ConfigError, match=message):
        Units.of_columns(SPACE.variables, ["strength"], said=said)


def test_a_design_section_is_read_in_the_units_of_the_columns():
    design = Design(
        bounds={"t": ("300 K", "350 K"), "flow": [("0.06 m^3/h", 2), (3, 4)]},
        fixed={"m": 2, "glass": "A"},
        levels={"flow": ["0.001 m^3/min", 2]},
        step={"t": {"by": "5 K", "from": "300 K"}, "flow": 0.5},
        conditions={"t2": "mean 300 K, sd 2 K", "flow": ["1 L/min", "0.12 m^3/h"]},
        near={"t2": "320 K", "glass": "B"},
        log=["t"],
        constraints=["t <= 340 K"],
    ).converted(UNITS, NAMES)
    assert design.bounds == {"t [degC]": (26.85, 76.85), "flow": [(1, 2), (3, 4)]}
    assert design.fixed == {"m": 2, "glass (m)": "A"}
    assert design.levels == {"flow": [1, 2]}
    assert design.step == {"t [degC]": {"by": 5, "from": 26.85}, "flow": 0.5}
    assert design.conditions["t2 [degC]"] == {"mean": 26.85, "sd": pytest.approx(2)}
    assert design.conditions["flow"] == [1, 2]
    assert design.near == {"t2 [degC]": 46.85, "glass (m)": "B"}
    assert design.log == ["t [degC]"]
    assert design.constraints == ['"t [degC]" <= 66.85']


@pytest.mark.parametrize(
    ("text", "converted"),
    [
        ("flow <= 2", "flow <= 2"),
        ("flow <= 0.12 m^3/h", "flow <= 2"),
        ("flow <= 0.12 [m^3/h]", "flow <= 2"),
        ("2*flow + 1 <= 0.12 m^3/h", "2*flow + 1 <= 2"),
        ("300 K <= t <= 350 K", '26.85 <= "t [degC]" <= 76.85'),
        ("t - t2 <= 5 K", '"t [degC]" - "t2 [degC]" <= 5'),
        ("t <= t2 + 9 degF", '"t [degC]" <= "t2 [degC]" + 5'),
        ("(t + t2)/2 <= 350 K", '("t [degC]" + "t2 [degC]")/2 <= 76.85'),
        ("|t - t2| <= 5 K", '|"t [degC]" - "t2 [degC]"| <= 5'),
        ("t [degC] <= 350 K", "t [degC] <= 76.85"),
        ("at most 2 of flow, m above zero", "at most 2 of flow, m above zero"),
    ],
)
def test_constraints_in_other_units(text, converted):
    found = constraint(text, NAMES, UNITS)
    assert found == converted
    parse_constraints([found], SPACE, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2*t <= 350 K", "means something beside one column"),
        ("flow + t <= 3 L/min", "columns of different units"),
        ("m <= 3 kg", "isn't known"),
        ("flow <= 3 kg", "found 3 kg"),
        ("flow <= 3 kgg", "found the unit 'kgg'"),
    ],
)
def test_constraints_whose_units_cannot_be_meant_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        constraint(text, NAMES, UNITS)


@pytest.mark.parametrize("text", ["2 m <= 3", "2m + flow <= 3"])
def test_a_number_before_a_name_is_still_no_unit(text):
    with pytest.raises(ConfigError, match="expected an operator") as refused:
        parse_constraints([constraint(text, NAMES, UNITS)], SPACE, ())
    assert "2*m" in refused.value.hint or "write *" in refused.value.hint


def test_columns_of_tables_in_other_units():
    frame = pd.DataFrame({"t [K]": [300.0, np.nan], "flow [m^3/h]": [0.06, 0.12], "strength": ["<=0.03 GPa", "30"]})
    found = as_targets(frame.fillna(300), SPACE, ("strength", "yield (%)"), Context(), UNITS)
    assert found["t [degC]"].tolist() == [26.85, 26.85]
    assert found["flow"].tolist() == pytest.approx([1, 2])
    targets = Targets.from_frame(found, ("strength", "yield (%)"), np.ones(2), UNITS)
    assert targets.upper[:, 0].tolist() == [30, 30]
    with pytest.raises(ConfigError, match=r"'t \[kg\]': found 1 kg"):
        in_own_units(frame.rename(columns={"t [K]": "t [kg]"}), NAMES, UNITS, "targets")
    with pytest.raises(ConfigError, match="expected a number"):
        in_own_units(pd.DataFrame({"strength [GPa]": ["<=1"]}), NAMES, UNITS, "targets")


def test_options_name_columns_without_their_unit():
    assert expand(["t", "yield"], NAMES, "outputs") == ["t [degC]", "yield (%)"]


TABLE = "t [degC],flow,y\n" + "\n".join(
    f"{20 + 7 * i % 60},{1 + i * 13 % 40 / 10},{20 + 0.1 * (20 + 7 * i % 60) + 3 * (1 + i * 13 % 40 / 10):.4f}"
    for i in range(24)
)
SETTINGS = """
dataset = { use = "table", path = "t.csv", outputs = ["y"] }
units = { y = "MPa", flow = "L/min" }
surrogate = "ridge"
confidence = { model = "none" }
design = { bounds = { t = ["300 K", "340 K"] }, constraints = ["t + 0 <= 335 K"] }
"""


def test_a_saved_run_knows_the_units(invdesign, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "t.toml").write_text(SETTINGS)
    done = invdesign("run", "t.toml", "--target", "y=0.03 GPa ± 200 kPa", "--out", "r", "--set", "solver.starts=4")
    assert done.code == 0, done.err
    assert "designs for y = 30 MPa ± 0.2" in done.out
    assert "flow [L/min]" in done.out
    assert "means '\"t [degC]\" + 0 <= 61.85'" in done.err
    columns = json.loads((tmp_path / "r/solve/1/units.json").read_text())
    assert columns["design.flow"] == "L/min"
    assert columns["prediction.y"] == "MPa"
    assert "flow [L/min]" in (tmp_path / "r/report.html").read_text()
    again = invdesign("solve", "r", "--target", "y=max", "--target", "flow<=0.12 m^3/h", "--json")
    assert again.code == 0, again.err
    found = again.json
    assert found["units"] == {"t [degC]": "degC", "flow": "L/min", "y": "MPa"}
    assert found["designs"][0]["inputs"]["flow"] == pytest.approx(2, abs=1e-3)
    assert found["designs"][0]["inputs"]["t [degC]"] == 61, "a whole number, as in the table"
    assert "MPa by prediction" in found["verdict"]
    (tmp_path / "p.csv").write_text("t [K],flow [m^3/h]\n300,0.12\n")
    predicted = invdesign("predict", "r", "p.csv", "--json").json
    assert predicted["prediction"][0]["y"] == pytest.approx(20 + 2.685 + 6, abs=0.1)


def test_pint_is_loaded_for_units_alone():
    code = (
        "import sys, invdesign_core; from invdesign_core.space.units import Units, Numbers;"
        "Units.build(['t [degC]']); Numbers('t', 'degC').value('3', ''); assert 'pint' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
