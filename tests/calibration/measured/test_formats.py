"""Each format of a tester gives the records that stand in the file, in SI units; what is broken ends with its line."""

import gzip
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.measured import READERS
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Asked
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.devices.errors import InputError

CASES = Path(__file__).parents[2] / "cases" / "measured"


def read(name, *units):
    return read_file(CASES / name, Asked(declared_units(list(units))))


def units_of(record):
    return {each.name: each.unit for each in record.columns}


def values(record, name):
    return next(each.values for each in record.columns if each.name == name)


@pytest.mark.parametrize(
    ("name", "reader", "kinds", "points"),
    [
        ("aixacct_dhm.dat", "aixacct", ["loop"] * 6, [25] * 6),
        ("aixacct_forc.dat", "aixacct", ["forc"], [8]),
        ("aixacct_pund.dat", "aixacct", ["pulses"], [15]),
        ("aixacct_leakage.dat", "aixacct", ["leakage"], [7]),
        ("aixacct_fatigue.dat", "aixacct", ["fatigue"] + ["loop"] * 6, [3] + [13] * 6),
        ("radiant.txt", "radiant", ["loop"], [24]),
        ("keithley.xls", "xls", ["run"] * 3, [25, 2, 3]),
        ("easyexpert.csv", "easyexpert", ["sweep"] * 3, [3, 3, 2]),
        ("iccap.mdm", "iccap", ["sweep"] * 2, [3, 3]),
        ("oscilloscope.csv", "oscilloscope", ["trace"], [5]),
        ("ngspice.raw", "raw", ["transient"], [63]),
        ("ltspice.raw", "raw", ["transient"] * 2, [6, 6]),
        ("spectre.tran", "psf", ["transient"], [6]),
    ],
)
def test_a_file_is_recognised_by_its_content_and_gives_its_records(tmp_path, name, reader, kinds, points):
    (tmp_path / "a.bin").write_bytes((CASES / name).read_bytes())  # the name says nothing
    found = read_file(tmp_path / "a.bin")
    assert found.format == reader
    assert [each.kind for each in found.records] == kinds
    assert [each.points for each in found.records] == points
    assert all(np.isfinite(each.values).all() for record in found.records for each in record.columns)


def test_every_format_has_a_case():
    assert {read_file(path).format for path in CASES.iterdir() if path.suffix != ".md"} == set(READERS)


def test_loops_side_by_side_are_records_of_their_own_under_the_voltage_that_drove_them():
    first, _, third, broken, *_ = read("aixacct_dhm.dat").records
    assert units_of(first) == {"Time": "s", "V+": "V", "I1": "A", "P1": "C/m2"}
    assert units_of(third) == {"Time": "s", "V-": "V", "I3": "A", "P3": "C/m2"}
    assert (first.amplitude_v, first.frequency_hz) == (3, 1000)
    assert first.area_m2 == pytest.approx(1e-8)
    assert first.thickness_m == pytest.approx(13e-9)
    assert (first.name, first.where) == ("Table 1, loop 1: film A 25C", "line 30")
    assert values(first, "P1")[0] == pytest.approx(-0.1)
    assert np.trapezoid(values(third, "P3"), values(third, "V-")) < 0  # the film takes energy up
    assert first.notes == ()
    assert broken.notes == ("the tester reports underflow (status 2)",)


def test_an_aixacct_file_that_lost_a_table_says_so(tmp_path):
    """Its summary lists every measurement."""
    raw = (CASES / "aixacct_dhm.dat").read_bytes()
    assert not any("summary" in said for said in read("aixacct_dhm.dat").said)
    second = raw.rindex(b"Table 2\r\n")
    (tmp_path / "a").write_bytes(raw[:second])
    found = read_file(tmp_path / "a")
    assert len(found.records) == 3
    assert "its summary lists 2 measurements, but 1 are there" in found.said
    (tmp_path / "b").write_bytes(raw[: raw.index(b"0.000000e+000", second)])
    assert "line 71 heads a table without numbers" in read_file(tmp_path / "b").said


def test_a_waveform_of_one_s_own_is_one_loop():
    (record,) = read("aixacct_forc.dat").records
    assert list(units_of(record)) == ["Time", "V+", "I1", "P1"]
    assert record.notes == ("driven by the waveform FORC_3V_2Cycles",)


def test_pulses_side_by_side_follow_each_other_in_time():
    (record,) = read("aixacct_pund.dat").records
    time = values(record, "Time")
    assert np.all(np.diff(time) > 0)
    assert time[[0, 5, 10]].tolist() == [0, 1, 2]
    assert values(record, "pulse").tolist() == [1] * 5 + [2] * 5 + [3] * 5
    assert values(record, "V")[[1, 11]].tolist() == [8, -8]
    assert (record.amplitude_v, record.frequency_hz, record.area_m2) == (8, 100, pytest.approx(4e-8))


def test_leakage_and_fatigue_in_si():
    (leak,) = read("aixacct_leakage.dat").records
    assert values(leak, "Leakage Current Density")[2] == pytest.approx(0.4e-2)
    assert leak.amplitude_v == 1
    summary, first, *_, last = read("aixacct_fatigue.dat").records
    assert values(summary, "Cycles").tolist() == [0.1, 100, 1]
    assert values(summary, "1-DHM Pr+").tolist() == pytest.approx([0.0827, 0.0894, 0.0887])
    assert (first.notes, last.notes) == (("after 0.1 cycles",), ("after 100 cycles",))


def test_radiant_s_units_are_those_that_the_file_says():
    (record,) = read("radiant.txt").records
    assert units_of(record) == {"Time": "s", "Drive Voltage": "V", "Measured Polarization": "C/m2"}
    assert (record.amplitude_v, record.frequency_hz) == (3, pytest.approx(1000))
    assert (record.area_m2, record.thickness_m) == (pytest.approx(1e-8), pytest.approx(260e-9))
    assert values(record, "Measured Polarization")[-1] == pytest.approx(-0.09950548)


def test_radiant_s_names_may_be_glued_and_units_may_be_missing(tmp_path):
    text = (CASES / "radiant.txt").read_bytes()
    (tmp_path / "glued").write_bytes(text.replace(b"Point\tTime (ms)\tDrive", b"PointTime (ms)Drive"))
    assert read_file(tmp_path / "glued").records[0].points == 24
    (tmp_path / "bare").write_bytes(text.replace(b"PMax", b"PMin").replace(b"Volts:\t3.00\r\n", b""))
    (record,) = read_file(tmp_path / "bare").records
    assert list(units_of(record).values()) == ["s", "", ""]


def test_keithley_s_scalars_are_notes_and_its_units_are_asked_for():
    run, peaks, appended = read("keithley.xls").records
    assert units_of(run) == {"Vforce": "", "Charge": ""}
    assert run.notes == ("forceV = 1", "Vp = 3", "tp = 1e-6")
    assert appended.notes == ("Vp = 4",)
    assert values(peaks, "peak").tolist() == [0.5, 0.25]
    run = read("keithley.xls", "Charge=nC", "Vforce=V").records[0]
    assert units_of(run) == {"Vforce": "V", "Charge": "C"}
    assert values(run, "Charge")[0] == pytest.approx(-1e-18)


def test_easyexpert_s_runs_and_steps_are_apart_and_a_derived_column_has_no_unit():
    first, second, other = read("easyexpert.csv").records
    assert units_of(first) == {"Vd": "V", "Vg": "V", "Id": "A", "gds": ""}
    assert values(second, "Vg").tolist() == [2, 2, 2]
    assert values(second, "Id")[0] == pytest.approx(2e-6)
    assert [each.name for each in (first, other)] == ["Id-Vd die 3 #1, step 1 of 2", "Id-Vd #2"]


def test_iccap_s_blocks_are_records_named_by_what_was_held():
    _, second = read("iccap.mdm").records
    assert second.name == "VG=1.8, VS=0"
    assert units_of(second) == {"VD": "V", "ID": "A"}
    assert values(second, "ID").tolist() == [0, 0.9e-6, 1.8e-6]


def test_an_oscilloscope_s_channels_have_numbers():
    (record,) = read("oscilloscope.csv").records
    assert units_of(record) == {"time": "s", "channel 1": "V", "channel 2": "V"}
    assert values(record, "channel 2")[1] == pytest.approx(-121.2e-6)


def test_a_packed_file_is_unpacked_within_bounds(tmp_path, monkeypatch):
    for path in (path for path in CASES.iterdir() if path.suffix != ".md"):
        (tmp_path / "a.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert [each.points for each in read_file(tmp_path / "a.gz").records] == [
            each.points for each in read_file(path).records
        ]
    raw = (CASES / "oscilloscope.csv").read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(raw)[:-9])
    with pytest.raises(InputError, match="cut short"):
        read_file(tmp_path / "cut.csv.gz")
    monkeypatch.setattr("bruno_spice.calibration.measured.text.MOST_BYTES", 1000)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(bytes(100_000)))
    with pytest.raises(InputError, match="unpacks to more than 1,000 bytes"):
        read_file(tmp_path / "bomb.csv.gz")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("aixacct_dhm.dat", b"1.500000e+000", b"nan", r"line 34: 'nan' in column 'V\+ \[V\]' is not a finite number"),
        ("aixacct_dhm.dat", b"1.500000e+000", b"1,5", r"line 34: '1,5' in column"),
        ("aixacct_dhm.dat", b"1.500000e+000", b"1e999", "line 34: a number beyond"),
        ("aixacct_dhm.dat", b"1.500000e+000\t", b"", "line 34: 8 numbers where the header names 9 columns"),
        ("aixacct_dhm.dat", b"\tV- [V]", b"\tW [V]", "line 30: loop 3 has no column V-"),
        ("aixacct_dhm.dat", b"[mm2]: 0.01", b"[sqmil]: 0.01", "the unit 'sqmil' of 'Area' is not known here"),
        ("aixacct_dhm.dat", b"[mm2]: 0.01", b"[mm2]: wide", "'wide' for 'Area' is not a number"),
        ("aixacct_dhm.dat", b"[mm2]: 0.01", b"[mm2]: -1", "'Area' cannot be '-1'"),
        ("aixacct_forc.dat", b"TfaModule", b"Module", "no measured table in this file"),
        ("radiant.txt", b"Points:\t24", b"Points:\t501", "line 19: 501 points announced, but 24 rows are there"),
        ("radiant.txt", b"Drive Voltage", b"Field", "no line 'Point, Time, Drive Voltage, Measured Polarization'"),
        ("easyexpert.csv", b"Dimension2, 2", b"Dimension2, 4", "Dimension2 does not say one number of rows"),
        (
            "easyexpert.csv",
            b"Dimension1, 3, 3, 3\r\nDimension2, 2, 2, 2",
            b"Dimension2, 9999999",
            "some x 9999999 rows",
        ),
        ("easyexpert.csv", b"Dimension1, 3, 3, 3", b"Dimension1, 5, 5, 5", "5 x 2 rows announced, but 6 are there"),
        (
            "easyexpert.csv",
            b"DataValue, 0.5, 1,",
            b"DataValue, 0.5,",
            "line 17: 3 numbers where DataName names 4 columns",
        ),
        ("easyexpert.csv", b"DataValue, 0.5, 1,", b"DataValue, 0.5, -,", "line 17: '-' in column 'Vg'"),
        ("iccap.mdm", b"1          3    0.5", b"1          4    0.5", "announces 8 points, but 6 are there"),
        ("iccap.mdm", b"END_DB\n", b"", "line 19: a blank line within the numbers"),
        (
            "iccap.mdm",
            b"#VD              ID",
            b"#VD  VD",
            "line 15: the names of the columns are missing or come twice",
        ),
        ("oscilloscope.csv", b"-7.1000E-03", b"--", "line 3: neither a header of 3 columns nor a row of"),
        ("keithley.xls", b"\x09\x08", b"\xff\xff", "no readable .xls workbook"),
    ],
)
def test_what_is_broken_ends_in_one_sentence_with_its_line(tmp_path, name, old, new, said):
    raw = (CASES / name).read_bytes()
    assert old in raw
    (tmp_path / "a").write_bytes(raw.replace(old, new, 1))
    with pytest.raises(InputError, match=said) as caught:
        read_file(tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("/a:") == 1


def test_a_file_that_is_cut_short_is_no_shorter_measurement(tmp_path):
    """Where the format says how much there must be."""
    for name in (
        "radiant.txt", "easyexpert.csv", "iccap.mdm", "keithley.xls", "ngspice.raw", "ltspice.raw", "spectre.tran"
    ):  # fmt: skip
        raw = (CASES / name).read_bytes()
        (tmp_path / name).write_bytes(raw[: int(0.7 * len(raw))])
        with pytest.raises(InputError):
            read_file(tmp_path / name)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\0\0\4\0\0\0\0\x0aPSFversion\0\0", "binary output of Spectre"),
        (b"\4\0\0\0 9601 rc Copyright TIME v(0 $&%#", "output of HSPICE"),
        (b"PK\3\4abc", "a zip archive or .xlsx workbook"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, start, said):
    (tmp_path / "a").write_bytes(start)
    with pytest.raises(InputError, match=said):
        read_file(tmp_path / "a")


def test_transients_of_simulators_are_in_si_units_and_steps_are_records():
    """`ngspice.raw` is ngspice's own, of 1 pF beside 500 Mohm: V = I R (1 - exp(-t/RC)), the ramp's middle at 5 us."""
    charged = read("ngspice.raw").records[0]
    assert units_of(charged) == {"time": "s", "v(vm)": "V"}
    time, voltage = (each.values for each in charged.columns)
    late = time > 20e-6
    np.testing.assert_allclose(voltage[late], 1.5 * -np.expm1(-(time[late] - 5e-6) / 0.5e-3), rtol=2e-3)
    first, second = read("ltspice.raw").records
    assert units_of(first) == {"time": "s", "V(vm)": "V", "V(spk)": "V", "I(Iinj)": "A"}
    assert values(first, "time").tolist() == values(second, "time").tolist() == [0, 1e-5, 1e-3, 2e-3, 3e-3, 4e-3]
    np.testing.assert_allclose(values(second, "V(vm)"), 0.4 * np.arange(6), rtol=1e-7)
    (grouped,) = read("spectre.tran").records
    assert units_of(grouped) == {"time": "s", "vm": "V", "spk": "V", "Iinj:sink": "A"}
    assert values(grouped, "vm").tolist() == [0.0, 0.6, 1.2, 1.8, 2.4, 0.0]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("ngspice.raw", b"No. Points: 63", b"No. Points: 62", "62 points of 2 variables announced, but 189 words"),
        ("ngspice.raw", b"\n 5\t", b"\n 6\t", "not numbered one after the other"),
        ("ngspice.raw", b"1.079870415550134e-06", b"1.0798704155501_4e-6", "is not a finite number"),
        ("ltspice.raw", " 12".encode("utf-16-le"), " 11".encode("utf-16-le"), "11 points of 20 bytes"),
        ("ltspice.raw", " stepped".encode("utf-16-le"), b"", "falls back at point 6, but the run was not stepped"),
        ("spectre.tran", b'points" 6', b'points" 7', "7 points announced, but 6 are there"),
        ("spectre.tran", b'"group" 0.6\n0.0\n', b'"group" 0.6\n', "line 50: a number of 'group' is missing"),
        ("spectre.tran", b'"time" 8e-4', b'"tine" 8e-4', "'tine' where 'time' was to come"),
        ("spectre.tran", b"END\n", b"", "ends before END; it is cut short"),
    ],
)  # fmt: skip
def test_a_transient_whose_counts_do_not_fit_is_refused(tmp_path, name, old, new, said):
    raw = (CASES / name).read_bytes()
    assert old in raw
    (tmp_path / "a").write_bytes(raw.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_file(tmp_path / "a")


def test_a_unit_that_the_file_contradicts_or_for_no_column_is_refused():
    with pytest.raises(InputError, match=r"column 'P1' is in uC/cm2 by the file, but --unit says V"):
        read("aixacct_dhm.dat", "P1=V")
    with pytest.raises(InputError, match="--unit says V, but there is no column 'Vfroce', only Vforce, Charge"):
        read("keithley.xls", "Vfroce=V")
    with pytest.raises(InputError, match="write COLUMN=UNIT"):
        declared_units(["V"])
    with pytest.raises(InputError, match="not a unit known here"):
        declared_units(["V=furlong"])


def test_of_several_records_one_is_chosen_by_number():
    found = read("aixacct_dhm.dat")
    assert found.record(4) is found.records[3]
    with pytest.raises(
        InputError, match=r"6 records; choose one with --record N: 1 \(Table 1, loop 1: film A 25C\), 2"
    ):
        found.record(None)
    with pytest.raises(InputError, match="there is no record 7; there are 1"):
        found.record(7)


def test_a_workbook_that_is_too_large_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr("bruno_spice.calibration.measured.formats.workbook.MOST_BYTES", 5000)
    with pytest.raises(InputError, match="larger than the 5,000 bytes that a workbook may have"):
        read("keithley.xls")


def test_blocks_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("bruno_spice.calibration.measured.formats.iccap.MOST_BLOCKS", 3)
    (tmp_path / "a.mdm").write_bytes((CASES / "iccap.mdm").read_bytes() + b"BEGIN_DB\n#VD ID\n1 2\nEND_DB\n" * 3)
    with pytest.raises(InputError, match="more than 3 blocks"):
        read_file(tmp_path / "a.mdm")


def test_what_is_no_number_to_a_reader_is_said_with_its_line_or_left_out(tmp_path):
    easy = (CASES / "easyexpert.csv").read_bytes()
    (tmp_path / "comma").write_bytes(easy.replace(b"DataValue, 0.5, 1,", b'DataValue, "0,5", 1,', 1))
    with pytest.raises(InputError, match=r"line 17: '0,5' in column 'Vd' is not a finite number"):
        read_file(tmp_path / "comma")
    loops = (CASES / "aixacct_dhm.dat").read_bytes()
    start = loops.index(b"Vc+ [V]: ")
    end = loops.index(b"\r\n", start)
    for stated in (b"1,5", b"1e999"):
        (tmp_path / "stated").write_bytes(loops[:start] + b"Vc+ [V]: " + stated + loops[end:])
        assert "vc_plus_v" not in read_file(tmp_path / "stated").records[0].summary
    raw = (CASES / "ltspice.raw").read_bytes()
    broken = raw.replace("Plotname".encode("utf-16-le"), b"P\x00l\x00\x00\xd8t\x00n\x00a\x00m\x00e\x00", 1)
    assert broken != raw
    (tmp_path / "broken.raw").write_bytes(broken)
    with suppress(InputError):  # a sentence, or the waves without that key
        read_file(tmp_path / "broken.raw")
