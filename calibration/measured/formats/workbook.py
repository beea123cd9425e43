"""Workbooks ``.xls`` of Excel 97, as the Keithley 4200 keeps its runs: sheets Data, Append1, ..., Calc, Settings.

A sheet has its names in the first row. A scalar stands in the first row below, with empty cells under it, and becomes a
note; columns of different lengths become records of their own. The workbook has no units: they have to be given. Sheet
Settings lists the inputs of each run (``Initial Run``, ``Append 1``), which become notes of that run.

The file is parsed by xlrd, which neither evaluates formulas nor runs macros.
"""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from bruno_spice.calibration.measured.record import Asked, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import content
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import NOT_PLAIN, printable, shown
from bruno_spice.devices.tables import MOST_COLUMNS, same_name

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MOST_BYTES = 8_000_000
MOST_CELLS = 2_000_000
NO_DATA = ("Calc", "Settings")
EMPTY, TEXT, NUMBER, BLANK = 0, 1, 2, 6
"""Kinds of cells in xlrd."""


def _read(path: Path, asked: Asked) -> Found:
    where = printable(str(path))
    book = _opened(path)
    names = [str(name) for name in book.sheet_names()]
    settings = _settings(_grid(book, names.index("Settings"), where)) if "Settings" in names else {}
    records: list[Record] = []
    for at, name in enumerate(names):
        if name not in NO_DATA:
            notes = settings.get(name.replace(" ", "").lower().replace("data", "initialrun"), ())
            records += _records(_grid(book, at, where), f"{where}: sheet {shown(name)}", printable(name), notes, asked)
    if not records:
        raise InputError(f"{where}: no sheet of this workbook holds a table of numbers")
    return Found(records)


def _opened(path: Path) -> Any:
    import xlrd

    raw = content(path)
    if len(raw) > MOST_BYTES:
        raise InputError(f"{printable(str(path))}: larger than the {MOST_BYTES:,} bytes that a workbook may have")
    try:
        return xlrd.open_workbook(file_contents=raw, logfile=io.StringIO(), on_demand=True, ragged_rows=True)
    except Exception as error:  # a damaged workbook fails anywhere in xlrd, with errors of every kind
        raise InputError(
            f"{printable(str(path))}: an Office file, but no readable .xls workbook ({shown(str(error))}); "
            "open it in a spreadsheet and save the sheet as CSV"
        ) from None


def _grid(book: Any, at: int, where: str) -> list[list[Any]]:
    """The cells of a sheet: numbers as float, text as str, empty ones as None."""
    try:
        sheet = book.sheet_by_index(at)
        if sum(map(sheet.row_len, range(sheet.nrows))) > MOST_CELLS or sheet.ncols > MOST_COLUMNS:
            raise InputError(f"{where}: sheet {at + 1} has more than {MOST_CELLS:,} cells or {MOST_COLUMNS} columns")
        return [[_value(cell) for cell in sheet.row(row)] for row in range(sheet.nrows)]
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(f"{where}: sheet {at + 1} is damaged ({shown(str(error))})") from None


def _value(cell: Any) -> Any:
    if cell.ctype == NUMBER:
        return float(cell.value)
    if cell.ctype in (EMPTY, BLANK) or (cell.ctype == TEXT and not str(cell.value).strip()):
        return None
    return str(cell.value).strip() if cell.ctype == TEXT else f"a cell of kind {cell.ctype}"


def _records(grid: list[list[Any]], where: str, sheet: str, settings: tuple[str, ...], asked: Asked) -> list[Record]:
    if not any(isinstance(value, float) for row in grid for value in row):
        return []
    header = grid[0]
    while header and header[-1] is None:
        header = header[:-1]
    if not header or not all(isinstance(name, str) for name in header):
        raise InputError(f"{where}: row 1 does not name every column")
    names = [same_name(name) for name in header]
    if bad := next((name for name in names if names.count(name) > 1 or NOT_PLAIN.search(name)), None):
        raise InputError(f"{where}: row 1: the name {shown(bad)} comes twice or cannot be printed")
    lengths: dict[str, int] = {}
    cells: dict[str, list[float]] = {}
    for at, name in enumerate(names):
        values = [row[at] if at < len(row) else None for row in grid[1:]]
        while values and values[-1] is None:
            values.pop()
        cells[name] = []
        for row, value in enumerate(values, 2):
            if not isinstance(value, float) or not np.isfinite(value):
                what = "is empty" if value is None else f"holds {shown(value)}"
                raise InputError(f"{where}: row {row} of column {shown(name)} {what}, no finite number")
            cells[name].append(value)
        lengths[name] = len(values)
    if any(len(row) > len(names) and any(value is not None for value in row[len(names) :]) for row in grid[1:]):
        raise InputError(f"{where}: a column without a name in row 1")
    scalars = tuple(f"{name} = {cells[name][0]:g}" for name in names if lengths[name] == 1)
    scalars += tuple(f"{name} is empty" for name in names if not lengths[name])
    out = []
    for length in dict.fromkeys(lengths[name] for name in names if lengths[name] > 1):
        columns = tuple(
            column(name, np.array(cells[name]), asked, path=where) for name in names if lengths[name] == length
        )
        out.append(Record("run", sheet, f"sheet {sheet}", columns, notes=(*scalars, *settings)))
    return out


def _settings(grid: list[list[Any]]) -> dict[str, tuple[str, ...]]:
    """Inputs of each run, by its name in small letters without blanks: ``Vp = 3``."""
    found: dict[str, tuple[str, ...]] = {}
    run = ""
    for row in grid:
        texts = [value if isinstance(value, str) else "" if value is None else f"{value:g}" for value in row]
        if texts and (match := re.fullmatch(r"(Append ?\d+|Initial Run)", texts[0])):
            run = match[1].replace(" ", "").lower()
        elif run and len(texts) > 3 and texts[1] == "Input":
            found[run] = (*found.get(run, ()), printable(f"{texts[0]} = {texts[3]}")[:80])
    return found


WORKBOOK = Reader("Excel 97 workbook (Keithley 4200)", lambda head: head.startswith(SIGNATURE.decode("latin-1")), _read)
