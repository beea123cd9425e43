"""A measured record's units must be the declared ones, and what was recognised about its file is said."""

from pathlib import Path

import pytest

from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
from bruno_spice.devices.errors import InputError

LOOP = Path(__file__).parents[1] / "cases" / "fecap" / "loop.csv"
PLAIN = LOOP.read_text()
DECLARED = {"kind": "charge", "time_unit": "us", "voltage_unit": "V", "response_unit": "uC/cm2"}


@pytest.fixture
def measured(tmp_path):
    def read(text, names=("t", "v", "q")):
        (tmp_path / "m.csv").write_text(text)
        return read_measurement(tmp_path / "m.csv", Columns(*names, **DECLARED), None)

    return read


@pytest.mark.parametrize("row", ["us,V,uC/cm2", "µs,V,µC/cm²", "[us],[V],[uC/cm^2]", "steps,Volt,"])
def test_a_row_of_units_that_agrees_is_left_out_and_said(measured, row):
    found = measured(PLAIN.replace("\n", f"\n{row}\n", 1))
    assert found.time_s[1] == pytest.approx(6.25e-6)
    assert "line 2 taken for units" in found.read_as[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("second,Volt,", "column 't' is in second by the row of units, but --time-unit says us"),
        ("ms,V,uC/cm2", "column 't' is in ms by the row of units, but --time-unit says us"),
        ("us,mV,uC/cm2", "column 'v' is in mV by the row of units, but --voltage-unit says V"),
        ("us,V,C/m2", "column 'q' is in C/m2 by the row of units, but --charge-unit says uC/cm2"),
        ("us,V,uA", "column 'q' is in uA by the row of units, but --charge-unit says uC/cm2"),
    ],
)
def test_a_row_of_units_that_contradicts_is_refused(measured, row, said):
    with pytest.raises(InputError, match=said):
        measured(PLAIN.replace("\n", f"\n{row}\n", 1))


def test_a_unit_in_a_column_s_name_is_held_against_the_declared_one(measured):
    assert measured(PLAIN.replace("t,v,q", "t (µs),v (V),q"), ("t (μs)", "v (V)", "q")).span > 0
    with pytest.raises(InputError, match="is in ms by its name, but --time-unit says us"):
        measured(PLAIN.replace("t,v,q", "t [ms],v,q"), ("t [ms]", "v", "q"))


def test_bruno_fit_says_how_a_german_spreadsheet_was_read(bruno, tmp_path):
    path = tmp_path / "loop.csv"
    path.write_text(f"Probe 12\n{PLAIN.replace(',', ';').replace('.', ',')}", encoding="utf-16")
    args = ["fit", "fecap", path, "--time", "t", "--voltage", "v", "--charge", "q", "--out", tmp_path / "out"]
    units = ["--time-unit", "us", "--voltage-unit", "V", "--charge-unit", "uC/cm2", "--free", "ps,ea,eps,imprint"]
    known = [f"--set={each}" for each in ("tfe=10n", "sigma_a=0.2", "sigma_o=0.185", "nmerz=4.44", "tau0=0.57u")]
    code, text, err = bruno(*args, *units, *known)
    assert code == 0, err
    assert (
        "note: the table was read so: UTF-16-LE text; columns between semicolons; "
        "1 line above the header left out, the first 'Probe 12'; decimal commas" in text
    )
    assert any(f"0.{digits} C/m^2" in text for digits in ("18", "1799", "1798"))
