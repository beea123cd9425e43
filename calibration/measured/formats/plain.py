"""Plain tables: what spreadsheets, scripts and the exports of many testers write.

Recognised by content (`devices.tables`): encoding, delimiter, decimal comma, lines above and below, a row of units.
Where the caller names the columns, they alone are read. Else the header is the line above the first numbers that names
as many columns; it may come again further down, and what stands below each is a record. Names that come twice are
numbered. A column with a number in its first row only, as Keithley's testers write a scalar, becomes a note.

Units stand in a row below the header or in brackets behind a name; lines above of the form ``area [um2]: 25`` say what
they say, for area, thickness, amplitude, frequency and temperature: those above the first header of all parts, those
above a later one of its part.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

from bruno_spice.calibration.measured.record import Asked, Column, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import FIELDS, Statement, Text, in_brackets, statement
from bruno_spice.calibration.measured.units import UNITS, unit_of_file
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.tables import (
    COMMENTS,
    DELIMITERS,
    MOST_HEAD,
    NO_NUMBER,
    NUMBER,
    NumberTable,
    TableFault,
    fields,
    named_table,
    same_name,
    table_below,
)

STATED = {name.rpartition("_")[0]: name for name in FIELDS}
"""Key of a line above the header, and the field of a record."""
MOST_PARTS = 1000
Row = list[str]


def _read(path: Path, asked: Asked) -> Found:
    text = Text.load(path)
    if not asked.columns:
        return read_text(text, asked)
    try:
        table = named_table(text.lines, asked.columns)
    except TableFault as fault:
        raise InputError(f"{printable(str(path))}: {fault}") from None
    columns = tuple(_column(name, table, asked, path) for name in asked.columns)
    record = Record(
        "table", "", f"line {table.lines[0]}", columns, **_about(text, 1, int(table.lines[0])), notes=(), summary={}
    )
    return Found([record], (*text.said, *table.unusual))


def read_text(
    text: Text, asked: Asked, kind: str = "table", named: Callable[[str], str] = str, numbered: bool = False
) -> Found:
    """Every table of `text`, as records of that `kind`; `named` changes the names of the columns.

    Names that are numbers are taken for names only where columns are `numbered`, for a row may be broken.
    Raises `InputError` where there is none, or it could be read in two ways.
    """
    delimiter, first = _start(text)
    header, names = _header(text, delimiter, first, numbered)
    names = [named(name) for name in names]
    again = [n for n, line in enumerate(text.lines, 1) if header and line.strip() == text.lines[header - 1].strip()]
    starts = again or [0]
    if len(starts) > MOST_PARTS:
        raise text.fault(starts[MOST_PARTS], f"the header comes more than {MOST_PARTS} times")
    said: list[str] = [*text.said, *([f"columns between {DELIMITERS[delimiter]}"] if delimiter != "," else [])]
    if not header:
        said.append("no header: columns by their number")
    records: list[Record] = []
    head: dict[str, float] = {}
    below = 1  # the first line below the part before
    for number, (start, end) in enumerate(pairwise([*starts, len(text.lines) + 1]), 1):
        scalars, left_out = _scalars(text, range(start + 1, end), delimiter, names)
        kept = [name for name in names if name not in scalars and name not in left_out]
        try:
            table = table_below(text.lines, start, names, delimiter, kept, last=end - 1)
        except TableFault as fault:
            raise InputError(f"{printable(str(text.path))}: {fault}") from None
        columns = tuple(_bare(_column(name, table, asked, text.path)) for name in kept)
        part = f"part {number} of {len(starts)}" if len(starts) > 1 else ""
        notes = (*(f"{name} = {value}" for name, value in scalars.items()), *(f"{name} is empty" for name in left_out))
        about = head | _about(text, below, int(table.lines[0]))
        if not records:
            head = about
        below = int(table.lines[-1]) + 1
        records.append(Record(kind, part, f"line {table.lines[0]}", columns, **about, notes=notes, summary={}))
        said += [each for each in table.unusual if each not in said]
    return Found(records, tuple(said))


def _start(text: Text) -> tuple[str, int]:
    """The delimiter under which most lines are rows of numbers, and the first of these lines."""
    best: tuple[int, str, int] = (0, "", 0)
    for delimiter in DELIMITERS:
        rows = [n for n in range(1, min(len(text.lines), 2 * MOST_HEAD) + 1) if _is_row(_cells(text, n, delimiter))]
        if len(rows) > best[0]:
            best = len(rows), delimiter, rows[0]
    if best[0] < 2 or best[2] > MOST_HEAD:
        raise InputError(
            f"{printable(str(text.path))}: no two rows of numbers in its first {min(len(text.lines), MOST_HEAD)} "
            "lines, so this is no table; name the columns to read if others hold text"
        )
    return best[1], best[2]


def _cells(text: Text, line: int, delimiter: str) -> Row:
    raw = text.lines[line - 1]
    if delimiter not in raw or raw.lstrip().startswith(COMMENTS):
        return []
    try:
        return fields(raw, delimiter, line)
    except TableFault:
        return []


def _is_row(cells: Row) -> bool:
    return sum(map(bool, cells)) > 1 and all(not cell or NUMBER.fullmatch(cell) for cell in cells)


def _trimmed(cells: Row) -> Row:
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _header(text: Text, delimiter: str, first: int, numbered: bool) -> tuple[int, Row]:
    """Line and names of the header above the numbers that begin in line `first`; line 0 where nothing is above them."""
    cells = _cells(text, first, delimiter)
    width = len(_trimmed(cells))
    widths = range(width, len(cells) + 1)  # a row may end in empty cells, with names above them or without
    above = [n for n in range(1, first) if text.lines[n - 1].strip()]
    if not above or all(text.lines[n - 1].lstrip().startswith(COMMENTS) for n in above):
        commented = _names(text, above[-1], delimiter, widths, numbered) if above else []
        if commented:
            return above[-1], commented
        return 0, [f"column {n}" for n in range(1, width + 1)]
    for at in range(len(above) - 1, max(len(above) - 3, -1), -1):
        names = _names(text, above[at], delimiter, widths, numbered)
        units = 2 * sum(map(_is_unit, _cells(text, above[at], delimiter))) > width
        if names and not (units and at and _names(text, above[at - 1], delimiter, widths, numbered)):
            return above[at], names
    raise text.fault(above[-1], f"neither a header of {width} columns nor a row of numbers, but numbers are below it")


def _is_unit(cell: str) -> bool:
    return not cell or unit_of_file(cell) in UNITS or in_brackets(cell)[0] == ""


def _names(text: Text, line: int, delimiter: str, widths: range, numbered: bool) -> Row:
    """The names of columns in `line`, each its own; none where it does not name one of `widths` columns."""
    raw = text.lines[line - 1]
    mark = next((mark for mark in COMMENTS if raw.lstrip().startswith(mark)), "")
    raw = raw.lstrip().removeprefix(mark) if mark else raw
    try:
        names = [same_name(cell) for cell in _trimmed(fields(raw, delimiter, line))]
    except TableFault:
        return []
    numbers = [name for name in names if NUMBER.fullmatch(name) or NO_NUMBER.fullmatch(name)]
    if len(names) not in widths or len(numbers) == len(names):
        return []
    if numbers and not (numbered and all(name.isdigit() and len(name) < 4 for name in numbers)):
        return []
    names = [name or f"column {n}" for n, name in enumerate(names, 1)]
    return [name if names.index(name) == n else f"{name} ({names[:n].count(name) + 1})" for n, name in enumerate(names)]


def _scalars(text: Text, lines: range, delimiter: str, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The columns with a number in the first of the rows in `lines` only, and those without any."""
    below = (_cells(text, n, delimiter) for n in lines)
    numbers = filter(_is_row, below)
    rows = list(islice(numbers, 2))
    if len(rows) < 2 or (len(rows[1]) >= len(names) and all(rows[1][: len(names)])):
        return {}, []
    rows += numbers
    filled = [[n for n, row in enumerate(rows) if at < len(row) and row[at]] for at in range(len(names))]
    scalars = {name: rows[0][at] for at, name in enumerate(names) if filled[at] == [0]}
    return scalars, [name for at, name in enumerate(names) if not filled[at]]


def _column(name: str, table: NumberTable, asked: Asked, path: Path) -> Column:
    """The column with its unit, which the row of units or its name says; raises `InputError` where they differ."""
    said = {"the row of units": table.units.get(name), "its name": in_brackets(same_name(name))[1]}
    known = [(by, unit) for by, unit in said.items() if unit and unit_of_file(unit) in UNITS]
    if len({unit_of_file(unit) for _, unit in known}) > 1:
        raise InputError(f"{printable(str(path))}: column {shown(name)} has one unit in its name and another below it")
    by, unit = known[0] if known else ("", None)
    return column(name, table.columns[name], asked, unit, by, path)


def _bare(found: Column) -> Column:
    """The column without its unit in its name."""
    name, unit = in_brackets(found.name)
    return replace(found, name=name, full_name=found.name) if name and unit_of_file(unit) in UNITS else found


def _about(text: Text, first: int, before: int) -> dict[str, float]:
    """What lines ``key [unit]: value`` from line `first` to above line `before` say; other forms say nothing.

    Raises `InputError` for a unit that is not known.
    """
    stated: dict[str, Statement] = {}
    for n in range(first, min(before, first + MOST_HEAD)):
        if pair := statement(text.lines[n - 1].lstrip().lstrip("#%/ "), n):
            name, unit = in_brackets(pair[0])
            if unit and name.lower() in STATED:
                stated[f"{name.lower()} [{unit}]"] = pair[1]
    return text.stated(stated, STATED)


TABLE = Reader("plain table", lambda head: True, _read)
