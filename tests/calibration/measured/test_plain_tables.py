"""A plain table without a word from the caller: its header, units and parts are found, and nothing is guessed."""

from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Asked
from bruno_spice.calibration.measured.timing import times
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.devices.errors import InputError

LOOP = (Path(__file__).parents[2] / "cases" / "fecap" / "loop.csv").read_text()
HEADER, _, ROWS = LOOP.partition("\n")
IN_SI = np.array([line.split(",") for line in ROWS.split()], float) * [1e-6, 1.0, 1e-2]
WITH_UNITS = f"t [us],v (V),q {{µC/cm²}}\n{ROWS}"


@pytest.fixture
def reads(tmp_path):
    def read(text, *units, encoding="utf-8"):
        (tmp_path / "m").write_bytes(text.encode(encoding))
        return read_file(tmp_path / "m", Asked(declared_units(list(units))))

    return read


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (WITH_UNITS, "utf-8"),
        (WITH_UNITS, "utf-8-sig"),
        (WITH_UNITS, "utf-16"),
        (WITH_UNITS, "latin-1"),
        (WITH_UNITS.replace("\n", "\r\n"), "utf-8"),
        (WITH_UNITS.replace(",", ";").replace(".", ","), "latin-1"),
        (WITH_UNITS.replace(",", "\t"), "utf-8"),
        (f"t,v,q\nus,V,uC/cm2\n{ROWS}", "utf-8"),
        (f"t,v,q\n[µs],[V],[µC/cm²]\n{ROWS}", "utf-8"),
        (f"Sample 7; film A\n\nt;v;q\nus;V;uC/cm2\n{ROWS.replace(',', ';')}End\n", "utf-8"),
        (f"# a note\n#t [us],v [V],q [uC/cm2]\n{ROWS}", "utf-8"),
        (f'"t [us]","v [V]","q [uC/cm2]"\n{ROWS}', "utf-8"),
        (f"t [us],v [V],q [uC/cm2],\n{ROWS.replace(chr(10), ',' + chr(10))}", "utf-8"),
    ],
)
def test_however_it_is_written_it_is_the_same_record(reads, text, encoding):
    (record,) = reads(text, encoding=encoding).records
    assert [(each.name, each.unit) for each in record.columns] == [("t", "s"), ("v", "V"), ("q", "C/m2")]
    np.testing.assert_allclose(np.stack([each.values for each in record.columns], axis=1), IN_SI, rtol=1e-12)


def test_without_units_there_are_none_until_they_are_said(reads):
    (record,) = reads(LOOP).records
    assert [each.unit for each in record.columns] == ["", "", ""]
    (record,) = reads(LOOP, "q=uC/cm2", "t=us").records
    assert [each.unit for each in record.columns] == ["s", "", "C/m2"]


def test_a_header_that_comes_again_begins_another_record(reads):
    found = reads(f"{WITH_UNITS}\n{WITH_UNITS.replace(',3', ',4')}")
    assert [each.name for each in found.records] == ["part 1 of 2", "part 2 of 2"]
    assert [each.points for each in found.records] == [len(IN_SI)] * 2
    assert found.records[1].where == f"line {len(IN_SI) + 4}"


def test_names_that_come_twice_are_numbered(reads):
    (record,) = reads("v,i,v,i\nV,A,V,A\n1,2,3,4\n5,6,7,8\n").records
    assert [each.name for each in record.columns] == ["v", "i", "v (2)", "i (2)"]
    assert record.columns[2].values.tolist() == [3, 7]


def test_scalars_in_the_first_row_are_notes_and_an_empty_column_is_named(reads):
    """As a Keithley 4200 exports a sheet."""
    (record,) = reads("test,v,i,x\n7,1,2,\n,3,4,\n,5,6,\n", "v=V", "i=nA").records
    assert [each.name for each in record.columns] == ["v", "i"]
    assert record.notes == ("test = 7", "x is empty")
    assert record.columns[1].values.tolist() == pytest.approx([2e-9, 4e-9, 6e-9])


def test_a_table_without_a_header_has_columns_by_number(reads):
    found = reads("1\t2.5\n3\t4.5\n5\t6.5\n", "column 2=V")
    assert "no header: columns by their number" in found.said
    assert [(each.name, each.unit) for each in found.records[0].columns] == [("column 1", ""), ("column 2", "V")]


def test_what_lines_above_say_in_full_is_taken(reads):
    above = "# area [um2]: 25\nThickness (nm): 10\nfrequency [kHz]: 2\ntemperature [K]: 300\nArea: 7\nwidth [um]: 3\n"
    (record,) = reads(above + WITH_UNITS).records
    assert record.area_m2 == pytest.approx(25e-12)
    assert record.thickness_m == pytest.approx(10e-9)
    assert (record.frequency_hz, record.temperature_k, record.amplitude_v) == (2000, 300, None)


def test_degrees_celsius_have_their_zero_and_are_no_charge(reads):
    table = "t [s],T [C],T2 [\N{DEGREE SIGN}C],q [C]\n1,25,25,1\n2,26,26,2\n3,27,27,4\n"
    for above in ("# temperature [\N{DEGREE SIGN}C]: 127\n", "Temperature (degC): 127\n", "Temperature (K): 400.15\n"):
        (record,) = reads(above + table).records
        assert record.temperature_k == pytest.approx(400.15)
    assert [(each.name, each.what) for each in record.columns][1:] == [
        ("T", "number"),
        ("T2", "temperature"),
        ("q", "charge"),
    ]
    np.testing.assert_allclose(record.columns[2].values, [298.15, 299.15, 300.15])
    (record,) = reads(table, "T [C]=degC").records
    assert record.of("temperature")[0].values[0] == pytest.approx(298.15)
    with pytest.raises(InputError, match="line 1: the unit 'F' of 'temperature' is not known here"):
        reads("# temperature [F]: 300\n" + table)


def test_ohms_are_written_with_an_omega(reads):
    (record,) = reads("t [s],R [\N{OHM SIGN}],R2 [k\N{GREEK CAPITAL LETTER OMEGA}]\n1,2,3\n2,3,4\n").records
    assert [(each.name, each.unit, each.values[0]) for each in record.columns[1:]] == [
        ("R", "Ohm", 2),
        ("R2", "Ohm", 3e3),
    ]


def test_each_part_has_what_the_lines_above_it_say_and_the_rest_from_the_head_of_the_file(reads):
    rows = "".join(f"{n}e-6,{n % 7}\n" for n in range(1200))
    parts = [f"# temperature [K]: {kelvin}\nt [s],v [V]\n{rows}" for kelvin in (300, 400)]
    found = reads("# area [um2]: 25\n" + "\n".join(parts) + "# thickness [nm]: 9\n").records
    assert [each.temperature_k for each in found] == [300, 400]
    assert [each.area_m2 for each in found] == pytest.approx([25e-12, 25e-12])
    assert [each.thickness_m for each in found] == [None, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no two rows of numbers"),
        ("a word\nand another\n", "no two rows of numbers"),
        ("t,v\n1,2\n", "no two rows of numbers"),
        ("t,v,q\n--,2,3\n4,5,6\n7,8,9\n", "line 2: '--' in column 't' is not a finite number"),
        ("t,v,q\n1,nan,3\n4,5,6\n7,8,9\n", "line 2: 'nan' in column 'v' is not a finite number"),
        ("1,nan,3\n4,5,6\n7,8,9\n", "line 1: neither a header of 3 columns nor a row of numbers"),
        ("t,v,q\n1,2,3\n4,--,6\n7,8,9\n", "line 3: '--' in column 'v' is not a finite number"),
        ("t,v,q\n1,2,3\n4,5\n7,8,9\n", "line 3 has 2 cells where the header names 3 columns"),
        ("t,v\n1,2,3\n4,5,6\n", "line 1: neither a header of 3 columns nor a row of numbers"),
        ("v\n1,5\n2,5\n", "line 1: neither a header of 2 columns nor a row of numbers"),
        ("t [s],v\nms,V\n1,2\n3,4\n", "column 't .s.' has one unit in its name and another below it"),
        ("t,v\n1,2\n,4\n5,6\n", "line 3: '' in column 't' is not a finite number"),
        ("t,v\n1,2\n3,1e999\n", "beyond what a number can hold"),
        ("area [m2]: 1e999\nt,v\n1,2\n3,4\n", "'area' cannot be"),
        ("t,v\x1b[31m\n1,2\n3,4\n", "holds the control character"),
    ],
)
def test_what_is_no_table_or_could_be_another_is_refused(reads, text, said):
    with pytest.raises(InputError, match=said):
        reads(text)


@pytest.mark.parametrize(
    "shape",
    [
        lambda x: np.sin(2 * np.pi * x),
        lambda x: np.interp(x % 1, [0, 0.25, 0.75, 1], [0, 1, -0.6, 0]),
        lambda x: np.clip(3 * np.sin(2 * np.pi * x), -1, 1),
    ],
)
@pytest.mark.parametrize("periods", [1, 2.5])
def test_the_frequency_gives_the_times_of_a_voltage_without_any(shape, periods):
    """Rest before and after, as a tester has it, and a shape that is not even in height."""
    n = 400
    cycle = shape(np.arange(int(periods * n)) / n)
    voltage = np.concatenate([np.zeros(60), cycle, np.zeros(30)])
    time, said = times(voltage, 1e3, "f")
    np.testing.assert_allclose(time[-1], (voltage.size - 1) * 1e-3 / n, rtol=0.02)
    assert "samples equally spaced" in said


@pytest.mark.parametrize("voltage", [np.linspace(0, 3, 100), np.zeros(50), np.r_[0, 1, -1, np.zeros(90), 1, -1, 0]])
def test_a_voltage_that_does_not_swing_evenly_has_no_frequency(voltage):
    with pytest.raises(InputError, match="does not swing evenly to both sides"):
        times(voltage, 1e3, "f")


def test_a_header_that_comes_without_end_is_refused_at_once(reads):
    """A file of headers only would otherwise be read once for each of them."""
    with pytest.raises(InputError, match="line 2002: the header comes more than 1000 times"):
        reads("t,v\n1,2\n" + "1,2\nt,v\n" * 200_000)
