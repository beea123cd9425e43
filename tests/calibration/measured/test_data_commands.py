"""``bruno data`` says what is in a file and writes a record that reads back to the last digit; a fit takes both."""

import json
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.units import declared_units

CASES = Path(__file__).parents[2] / "cases"
DHM = CASES / "measured" / "aixacct_dhm.dat"
RADIANT = CASES / "measured" / "radiant.txt"
KEITHLEY = CASES / "measured" / "keithley.xls"
LOOP = (CASES / "fecap" / "loop.csv").read_text()


def test_show_says_format_records_and_what_the_file_states(bruno):
    code, out, _ = bruno("data", "show", DHM)
    assert code == 0
    assert f"{DHM}: aixACCT TF Analyzer, 6 records" in out
    assert "note: Windows-1252 (Latin-1) text" in out
    (row,) = [line for line in out.splitlines() if "loop 3: film A 25C" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "3", "loop", "Table 1, loop 3: film A 25C", "25", "3 V", "1 kHz", "1e-08 m2", "13 nm", "",
    ]  # fmt: skip
    assert "note: records 4, 5, 6: the tester reports underflow (status 2)" in out


def test_show_one_record_and_its_columns(bruno):
    _, out, _ = bruno("data", "show", KEITHLEY, "--record", 1, "--unit", "Vforce=V")
    assert "Vforce │ voltage  │ V         │ -3 " in out
    assert "Charge │          │ not known │" in out
    assert "the file does not say the unit of Charge; say it where it matters: --unit 'Charge=UNIT'" in out


def test_show_as_json(bruno):
    code, out, _ = bruno("data", "show", RADIANT, "--json")
    found = json.loads(out)
    assert (code, found["format"], found["count"]) == (0, "radiant", 1)
    (record,) = found["records"]
    assert (record["kind"], record["points"], record["amplitude_v"], record["temperature_k"]) == ("loop", 24, 3, None)
    assert record["columns"][1] == {
        "name": "Drive Voltage", "quantity": "voltage", "unit": "V", "least": -3, "largest": 3,
    }  # fmt: skip


def test_a_figure_of_the_records_is_drawn_and_not_overwritten(bruno, tmp_path):
    figure = tmp_path / "loops.svg"
    code, out, _ = bruno("data", "show", DHM, "--figure", figure, "--record", 1)
    assert code == 0
    assert f"wrote {figure}" in out
    before = figure.read_bytes()
    assert before.startswith(b"<?xml")
    code, _, err = bruno("data", "show", RADIANT, "--figure", figure)
    assert (code, figure.read_bytes()) == (2, before)
    assert "is there already; name another file, or add --overwrite" in err
    assert bruno("data", "show", RADIANT, "--figure", figure, "--overwrite")[0] == 0
    assert figure.read_bytes() != before


def test_every_kind_of_record_can_be_drawn(tmp_path):
    from bruno_spice.calibration.measured.figures import records_figure
    from bruno_spice.calibration.presentation.style import save

    paths = [path for path in (CASES / "measured").iterdir() if path.suffix != ".md"]
    records = [record for path in paths for record in read_file(path).records]
    kinds = {record.kind: record for record in reversed(records)}
    figure = records_figure(dict(enumerate(kinds.values(), 1)))
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert len(drawn) == len(kinds)
    assert all(axes.lines for axes in drawn)
    loop = next(axes for axes, kind in zip(figure.axes, kinds, strict=False) if kind == "loop")
    assert (loop.get_xlabel(), loop.get_ylabel()[-8:]) == ("V+ (V)", "(µC/cm²)")
    save(figure, tmp_path / "all.png")


@pytest.mark.parametrize("number", [1, 3])
def test_a_converted_record_reads_back_to_the_last_digit(bruno, tmp_path, number):
    out = tmp_path / "x.csv"
    assert bruno("data", "convert", DHM, "--record", number, "--out", out)[0] == 0
    direct, back = read_file(DHM).records[number - 1], read_file(out).records[0]
    for was, now in zip(direct.columns, back.columns, strict=True):
        assert (was.name, was.unit) == (now.name, now.unit)
        np.testing.assert_array_equal(was.values, now.values)
    for stated in ("amplitude_v", "frequency_hz", "area_m2", "thickness_m", "temperature_k"):
        assert getattr(direct, stated) == getattr(back, stated)


def test_a_fit_reads_the_converted_record_as_it_reads_the_file(bruno, tmp_path):
    bruno("data", "convert", DHM, "--record", 2, "--out", tmp_path / "x.csv")
    direct = read_measurement(DHM, Columns(), None, record=2)
    back = read_measurement(tmp_path / "x.csv", Columns(), None)
    np.testing.assert_array_equal(direct.response, back.response)
    np.testing.assert_array_equal(direct.time_s, back.time_s)
    assert back.read_as[0] == "columns V+ and P2"
    assert direct.known == back.known == {"tfe": pytest.approx(13e-9), "area": pytest.approx(1e-8)}
    assert direct.read_as[:3] == (
        "aixACCT TF Analyzer", "record 2 of 6, Table 1, loop 2: film A 25C", "columns V+ and P2",
    )  # fmt: skip


def test_times_come_from_the_frequency_where_a_record_has_none(bruno, tmp_path):
    units = ["--unit", "Vforce=V", "--unit", "Charge=C"]
    convert = ["data", "convert", KEITHLEY, "--record", 1, "--out", tmp_path / "x.csv"]
    code, out, _ = bruno(*convert, *units, "--frequency", "2k")
    assert code == 0
    assert "note: no times in the file: samples equally spaced, 24 of them a period at 2000 Hz" in out
    back = read_measurement(tmp_path / "x.csv", Columns(), 1e-10)
    assert back.time_s[1] == pytest.approx(1 / 48e3)
    direct = read_measurement(KEITHLEY, Columns(units=declared_units(units[1::2])), 1e-10, None, 1, 2e3)
    np.testing.assert_array_equal(direct.response, back.response)
    np.testing.assert_allclose(direct.time_s, back.time_s)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["data", "convert", DHM, "--out", "x.csv"],
            "6 records; choose one with --record N: 1 (Table 1, loop 1: film A",
        ),
        (
            ["data", "convert", KEITHLEY, "--record", 1, "--out", "x.csv"],
            "does not say the unit of Vforce, Charge; give",
        ),
        (["data", "convert", DHM, "--record", 1, "--out", "."], ". is a folder; name a file"),
        (["data", "convert", RADIANT, "--out", "x.csv", "--frequency", "1k"], "the record has times; leave out"),
        (["data", "show", DHM, "--figure", "x.tiff"], "a figure's name ends in one of"),
        (["data", "show", DHM, "--record", 9], "there is no record 9; there are 1 (Table 1, loop 1"),
        (["data", "show", DHM, "--format", "radiant"], "no line 'Point, Time, Drive Voltage"),
        (["data", "show", DHM, "--format", "radian"], "unknown reader 'radian'; did you mean 'radiant'"),
        (["data", "show", "no.dat"], "no such measurement file"),
        (["fit", "fecap", DHM], "6 records; choose one with --record N"),
        (["fit", "fecap", DHM, "--record", 1, "--frequency", "1k"], "the record has times, in column 'Time'"),
        (["fit", "fecap", KEITHLEY, "--record", 1], "the record has no column of times; name it with --time"),
        (["fit", "fecap", KEITHLEY, "--record", 1, "--frequency", "1k"], "no column is known to be the voltage; of Vf"),
        (
            ["fit", "fecap", KEITHLEY, "--record", 1, "--frequency", "1k", "--unit", "Vforce=V", "--unit", "Charge=nC"],
            "a charge in C needs the electrode's area: --area",
        ),
        (
            ["fit", "fecap", CASES / "measured" / "easyexpert.csv", "--record", 1, "--frequency", "1k"],
            "2 columns could be the voltage: Vd, Vg; choose one with --voltage",
        ),
    ],
)
def test_what_cannot_be_done_ends_in_one_sentence(bruno, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = bruno(*arguments)
    assert code == 2
    assert said in " ".join(err.split())
    assert err.count("error:") == 1
    assert not list(tmp_path.iterdir())


def test_the_command_hands_the_fit_what_the_file_says(bruno, tmp_path, monkeypatch):
    heard = []

    def fit(measured, fixed, *_, **__):
        heard.append((measured[0], fixed))
        raise FitError("enough")

    monkeypatch.setattr("bruno_spice.calibration.fecap.films.fit_fecap", fit)
    path = tmp_path / "loop.csv"
    path.write_text("# thickness [nm]: 12\n" + LOOP.replace("t,v,q", "t [us],v [V],q [uC/cm2]"))
    for known in ([], ["--set", "tfe=9n"]):
        assert bruno("fit", "fecap", path, *known, "--out", tmp_path / "out")[0] == 1
    (measured, said), (_, set_by_hand) = heard
    assert measured.time_s[1] == pytest.approx(6.25e-6)
    assert (said["tfe"], set_by_hand["tfe"]) == (pytest.approx(12e-9), 9e-9)
