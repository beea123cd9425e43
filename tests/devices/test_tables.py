"""A table reads the same however an instrument or a spreadsheet wrote it, and what could mean two things is refused."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.tables import read_table

PLAIN = (Path(__file__).parents[1] / "cases" / "fecap" / "loop.csv").read_text()
NAMES = ["t", "v", "q"]
HEADER, _, ROWS = PLAIN.partition("\n")
GERMAN = PLAIN.replace(",", ";").replace(".", ",")


def with_ends(row_end, header_end=""):
    return HEADER + header_end + "\n" + ROWS.replace("\n", f"{row_end}\n")


@pytest.fixture
def reads(tmp_path):
    def read(content, names=NAMES):
        path = tmp_path / "m.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, names)

    return read


@pytest.fixture
def base(reads):
    return reads(PLAIN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (with_ends(","), "commas at the ends of rows"),
        (with_ends(",,", ",,"), "commas at the ends of rows"),
        (with_ends("", ",,"), None),
        (f"{PLAIN}End of data\n", "1 line below the rows left out, the first 'End of data'"),
        (f"{PLAIN}\nmean,0,1\nTotal;320\n", "2 lines below the rows"),
        (f"Sample: HZO 12\nOperator,lab\nArea [um2],25\n\n{PLAIN}", "3 lines above the header"),
        (f"{HEADER}\nus,V,uC/cm2\n{ROWS}", "line 2 taken for units: us, V, uC/cm2"),
        (f"{HEADER}\n\n[us],[V],\n\n{ROWS}", "line 3 taken for units"),
        (GERMAN, "columns between semicolons; decimal commas"),
        (GERMAN.replace(";", "\t"), "columns between tabs; decimal commas"),
        (PLAIN.replace(",", ";"), "columns between semicolons"),
        (PLAIN.replace(",", "\t"), "columns between tabs"),
        (PLAIN.replace(",", " | "), "columns between bars"),
        (PLAIN.replace(",", "   "), "columns between blanks"),
        (PLAIN.replace(HEADER, '"t" ,"v", "q"'), None),
        (PLAIN.replace(HEADER, "t ,v ,q "), None),
        (PLAIN.replace("\n", "\r\n"), None),
        (PLAIN.replace("\n", "\r"), None),
        (PLAIN.replace("\n", "\r\r\n"), "blank lines between rows"),
        (f"# {PLAIN}", "a header behind #"),
        (f"# a loop\n{PLAIN}", "1 line above the header"),
        (PLAIN.replace("\n25,", "\n# paused\n25,"), "1 comment line"),
        (PLAIN.encode("utf-8-sig"), None),
        (PLAIN.encode("utf-16"), "UTF-16-LE text"),
        (PLAIN.encode("utf-16-le"), "UTF-16-LE text"),
        (PLAIN.encode("utf-16-be"), "UTF-16-BE text"),
        (PLAIN.encode("utf-32"), "UTF-32-LE text"),
        (f"Größe\n{PLAIN}".encode("latin-1"), "Windows-1252"),
        (PLAIN.replace(",", ",,").replace("t,,", "t,x,"), None),
    ],
)
def test_the_same_numbers_come_from_every_dialect_and_it_is_said(reads, base, content, said):
    found = reads(content)
    for name in NAMES:
        np.testing.assert_array_equal(found.columns[name], base.columns[name])
    assert (said in "; ".join(found.unusual)) if said else not found.unusual


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("t,v #1,q", ["t", "v #1", "q"]),
        ("Zeit (µs),U (V),P (µC/cm²)", ["Zeit (μs)", "U (V)", "P (µC/cm2)"]),
        ("Zeit  in us,V,µ", ["Zeit in us", "V", "μ"]),
    ],
)
def test_names_are_found_whatever_micro_sign_or_blanks_they_hold(reads, base, header, names):
    for encoding in ("utf-8", "latin-1", "utf-16"):
        found = reads(PLAIN.replace(HEADER, header).encode(encoding), names)
        assert list(found.columns) == names
        np.testing.assert_array_equal(found.columns[names[2]], base.columns["q"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no line names the columns 't', 'v', 'q'"),
        ("t,v,q\n", "no rows"),
        ("t,V,q\n1,2,3\n", "has no column 'v', only t, V, q"),
        ("Zeit (us),U (V),P (uC)\n1,2,3\n", r"has no column 't', only Zeit \(us\), U \(V\), P \(uC\)"),
        ("t,v,q,v\n1,2,3,4\n", "2 columns 'v'"),
        ("t,v,q\n1,2\n", "line 2 has 2 cells where the header names 3"),
        ("t,v,q\n1,2,3,4\n", "line 2 has 4 cells where the header names 3"),
        ("t,v,q\n0,5,0,1,1,2\n", "line 2 has 6 cells"),
        ("t,v,q\n1,2,3\n2,3\n", "line 3 has 2 cells"),
        ("t,v,q\n1,2,3\n2\n", "line 3 has 1 cells"),
        ("t,v,q\n1,2,3\nx,3,4\n3,4,5\n", "line 3: 'x' in column 't'"),
        ("t,v,q\n1,2,3\n\nt,v,q\n1,2,3\n", "line 4: 't' in column 't'"),
        ("t,v,q\n1,2,nan\n", "line 2: 'nan' in column 'q' is not a finite number"),
        ("t,v,q\n1,2,3\n2,3,NaN\n", "line 3: 'NaN'"),
        ("t,v,q\n1,2,3\nnan,3,4\n", "line 3: 'nan'"),
        ("t,v,q\n1,2,3 # clipped\n", "'3 # clipped' in column 'q'"),
        ("t,v,q\n1,2,1e999\n", "'1e999' in column 'q' is beyond what a number can hold"),
        ("t,v,q\n1,2,1e-999\n", "'1e-999' in column 'q' is beyond"),
        ("t,v,q\n1,2," + "9" * 5000, "beyond what a number can hold"),
        ("t,v,q\n1,2,1_000\n", "'1_000'"),
        ("t,v,q\n1,2,٣\n", "'٣'"),
        ("t,v,q\nus,V,C\ns,V,C\n1,2,3\n", "line 2: 'us' in column 't'"),
        ("t,v,q\nt,v,q\n1,2,3\n", "line 2 below the header is neither"),
        ("t;v;q\n1.250;0,4;1\n", "line 2 has the number '0,4' and line 2 '1.250'"),
        ("t;v;q\n1.234,5;0;1\n", "'1.234,5' in column 't'"),
        ("t;v;q\n1,250;0;1\n2;3;4\n", "'1,250' could be a decimal comma or thousands"),
        ("t;v;q\n0;0;1\n1.250;3;4\n", "'1.250' could be a decimal point or thousands"),
        ('t,v,q\n"1,2,3\n', "line 2: quotes that do not close"),
        ("t,v,q\n1,2,3\x1b[31m\n", r"line 2 holds the control character \\x1b"),
        (b"t,v,q\n1,2,3\0\n", "UTF-16-LE text does, but is none"),
        (b"\x8f\x81", "neither UTF-8, UTF-16 nor Latin-1"),
        ("t,v,q\n" + "," * 100_000, "line 2 has 100,000 characters, no row of a table"),
        ("," * 40_000 + "\nt,v,q\n1,2,3\n", "line 1 has more than 1000 columns"),
        ("x" * 60_000, "line 1 has 60,000 characters"),
    ],
)
def test_what_is_no_table_or_could_mean_two_things_is_refused_with_its_line(reads, content, said):
    began = time.monotonic()
    with pytest.raises(InputError, match=said) as refused:
        reads(content)
    assert "m.csv: " in str(refused.value)
    assert len(str(refused.value)) < 400
    assert time.monotonic() - began < 2


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), min_size=1, max_size=30))
def test_every_number_that_is_written_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "m.csv"
    path.write_text("t,v,q\n" + "".join(f"{t!r},{v!r},{q!r}\n" for t, v, q in rows))
    found = read_table(path, NAMES)
    np.testing.assert_array_equal(np.stack([found.columns[name] for name in NAMES], axis=1), np.array(rows))
    assert not found.unusual


def test_a_pipe_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="a pipe or a device"):
        read_table("/dev/zero", NAMES)
    monkeypatch.setattr("bruno_spice.devices.tables.MOST_BYTES", 1000)
    (tmp_path / "m.csv").write_text(PLAIN)
    with pytest.raises(InputError, match="larger than the 1,000 bytes"):
        read_table(tmp_path / "m.csv", NAMES)


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [("MOST_LINES", 100, "has more than 100 lines"), ("MOST_CELLS", 30, "line 12: more than 30 numbers")],
)
def test_a_table_of_too_many_lines_or_numbers_is_refused_before_it_is_read(reads, monkeypatch, limit, most, said):
    monkeypatch.setattr(f"bruno_spice.devices.tables.{limit}", most)
    with pytest.raises(InputError, match=said):
        reads(PLAIN)
