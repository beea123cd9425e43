"""Tables of numbers as text: what instruments, spreadsheets and programs write, recognised by its content.

Recognised are the encoding (UTF-8, UTF-16, UTF-32, Windows-1252), what stands between columns (comma, semicolon, tab,
bar, blanks), a decimal comma, lines above the header, a row of units below it, comments, and lines below the numbers.
Whatever is not plain (UTF-8, commas, decimal points, a header, rows) is listed in `NumberTable.unusual`, for the caller
to say or to refuse. Nothing is guessed: what could mean two numbers, or looks like a broken row, is an error with a
line.
"""

import codecs
import csv
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError, StimulusError
from bruno_spice.devices.reading import NOT_PLAIN, printable, read_bytes, shown

Array = NDArray[np.float64]
Row = tuple[int, list[str]]
"""A line's number in the file, and its cells."""

MOST_BYTES = 32_000_000
MOST_LINE = 50_000
MOST_COLUMNS = 1000
MOST_LINES = 4_000_000
MOST_CELLS = 4_000_000
MOST_HEAD = 1000
"""Lines within which the header must come."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
COMMENTS = ("#", "%", "//")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
"""One thousand and a quarter, or one and a quarter."""
NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class NumberTable:
    """Numbers by column name, and what was not plain about the file that held them."""

    columns: dict[str, Array]
    lines: NDArray[np.int64]
    """Line of the file (n,) in which each row stands."""
    units: dict[str, str]
    """Cells of the row of units below the header, where there is one."""
    unusual: tuple[str, ...]


class TableFault(Exception):
    """What is wrong with a table, without the name of its file."""


def read_table(
    path: Path | str,
    names: Sequence[str] | None = None,
    missing: str = "no such file",
    error: type[InputError] = InputError,
    may_be_empty: bool = False,
) -> NumberTable:
    """The columns `names` of the table at `path`; without names every column, below a header on the first line.

    Raises `error`, with the line, for what is no table, lacks a column or has it twice, for a cell that is no finite
    number, and for what could be read in two ways. `may_be_empty` takes a header without rows.
    """
    raw = read_bytes(path, MOST_BYTES, missing, error)
    try:
        lines, said = decoded_lines(raw)
        found = named_table(lines, names, may_be_empty)
        return replace(found, unusual=(*said, *found.unusual))
    except TableFault as fault:
        raise error(f"{printable(str(path))}: {fault}") from None


def read_plain_csv(
    path: Path | str, names: Sequence[str] | None = None, *, missing: str, may_be_empty: bool = False
) -> NumberTable:
    """As `read_table`, for files of this project: raises `StimulusError` for what is unusual, too."""
    table = read_table(path, names, missing, StimulusError, may_be_empty)
    if table.unusual:
        raise StimulusError(
            f"{printable(str(path))}: {table.unusual[0]}; write a plain CSV: UTF-8, a header, commas, decimal points"
        )
    return table


def same_name(name: str) -> str:
    """`name` as columns are compared: one kind of micro sign and of superscript, blanks stripped and not doubled."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def decoded_lines(raw: bytes) -> tuple[list[str], list[str]]:
    """The lines of a text in any of the encodings above, and what is unusual about it.

    Raises `TableFault` for what is no such text, for more than `MOST_LINES`, a line longer than `MOST_LINE` and control
    characters.
    """
    text, unusual = _decoded(raw)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MOST_LINES:
        raise TableFault(f"has more than {MOST_LINES:,} lines")
    longest = max(lines, key=len)
    if len(longest) > MOST_LINE:
        raise TableFault(f"line {lines.index(longest) + 1} has {len(longest):,} characters, no row of a table")
    if found := next(filter(None, map(NOT_PLAIN.search, lines)), None):
        number = lines.index(found.string) + 1
        raise TableFault(f"line {number} holds the control character {printable(found[0])}, so this is no table")
    return lines, unusual


def named_table(lines: list[str], names: Sequence[str] | None, may_be_empty: bool = False) -> NumberTable:
    """The table of `read_table` within the decoded `lines` of a file. Raises `TableFault`."""
    header, cells, delimiter, said = _header(lines, names)
    found = table_below(lines, header, cells, delimiter, names, may_be_empty)
    return replace(found, unusual=(*said, *found.unusual))


def table_below(
    lines: list[str],
    header: int,
    cells: list[str],
    delimiter: str,
    names: Sequence[str] | None = None,
    may_be_empty: bool = False,
    last: int | None = None,
) -> NumberTable:
    """The columns `names` (default: all) of the table whose header is line `header` and names the columns `cells`.

    A header of 0 stands above the first line; the table ends with line `last` or the file. Raises `TableFault`.
    """
    wanted = [same_name(name) for name in (cells if names is None else names)]
    at = [_only(cells, name, header) for name in wanted]
    rows, units, unusual = _rows(lines, header, cells, delimiter, at, may_be_empty, last)
    columns, said = _numbers(rows, at, wanted, delimiter)
    keys = wanted if names is None else list(names)
    return NumberTable(
        columns=dict(zip(keys, columns, strict=True)),
        lines=np.array([number for number, _ in rows], dtype=np.int64),
        units={key: units[i] for key, i in zip(keys, at, strict=True) if i < len(units)},
        unusual=(*unusual, *said),
    )


def _decoded(raw: bytes) -> tuple[str, list[str]]:
    unmarked = "utf-8" if b"\0" not in raw[:400] else "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    mark, encoding = next((pair for pair in BYTE_ORDER_MARKS if raw.startswith(pair[0])), (b"", unmarked))
    try:
        return raw[len(mark) :].decode(encoding), [] if encoding == "utf-8" else [f"{encoding.upper()} text"]
    except UnicodeDecodeError:
        if mark or encoding != "utf-8":
            raise TableFault(f"starts as {encoding.upper()} text does, but is none") from None
    try:
        return raw.decode("cp1252"), ["Windows-1252 (Latin-1) text"]
    except UnicodeDecodeError:
        raise TableFault("neither UTF-8, UTF-16 nor Latin-1 text; save the table as UTF-8") from None


def fields(line: str, delimiter: str, number: int) -> list[str]:
    """The cells of line `number`, without the blanks around them. Raises `TableFault` for quotes that do not close."""
    if delimiter == " ":
        return line.split()
    if line.count('"') % 2:
        raise TableFault(f"line {number}: quotes that do not close")
    if '"' in line:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    else:
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def _header(lines: list[str], names: Sequence[str] | None) -> tuple[int, list[str], str, list[str]]:
    """Line number of the header, its cells without empty ones at the end, the delimiter, and what is unusual."""
    if names is None:
        cells = _head_cells(lines[0], ",", 1)
        if not cells or not all(cells):
            raise TableFault("the first line must name every column")
        return 1, cells, ",", []
    wanted = {same_name(name) for name in names}
    best: tuple[float, list[str]] = (-1, [])
    for number, line in enumerate(lines[:MOST_HEAD], 1):
        bare = line.lstrip()
        mark = next((mark for mark in COMMENTS if bare.startswith(mark)), "")
        for taken in dict.fromkeys((line, bare.removeprefix(mark))):
            for delimiter in DELIMITERS:
                cells = _head_cells(taken, delimiter, number)
                if wanted <= set(cells):
                    said = [f"columns between {DELIMITERS[delimiter]}"] if delimiter != "," else []
                    if taken != line:
                        said.append(f"a header behind {mark}")
                    return number, cells, delimiter, said + _skipped(lines[: number - 1], "above the header")
                words = sum(bool(cell) and not _is_number(cell) for cell in cells)
                telling = min(words, 999) / (1000 if delimiter == " " else 1)  # between columns names may hold blanks
                score = 1000 * len(wanted & set(cells)) + (telling if len(cells) > 1 else 0)
                if score > best[0] and words == len(cells):
                    best = score, cells
    missing = next((name for name in names if same_name(name) not in best[1]), names[0])
    if not best[1]:
        raise TableFault(f"no line names the columns {', '.join(map(shown, names))}")
    there = ", ".join(printable(cell) for cell in best[1][:20])
    raise TableFault(f"has no column {shown(missing)}, only {there}")


def _head_cells(line: str, delimiter: str, number: int) -> list[str]:
    if line.count(delimiter) >= MOST_COLUMNS:
        raise TableFault(f"line {number} has more than {MOST_COLUMNS} columns")
    try:
        cells = [same_name(cell) for cell in fields(line, delimiter, number)]
    except TableFault:
        return []
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _skipped(lines: Sequence[str], where: str) -> list[str]:
    said = [line.strip() for line in lines if line.strip()]
    if not said:
        return []
    return [f"{len(said)} line{'s' if len(said) > 1 else ''} {where} left out, the first {shown(said[0])}"]


def _only(cells: list[str], name: str, line: int) -> int:
    if cells.count(name) != 1:
        raise TableFault(f"line {line} has {cells.count(name)} columns {shown(name)}; give each its own name")
    return cells.index(name)


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def _rows(
    lines: list[str],
    header: int,
    head: list[str],
    delimiter: str,
    at: Sequence[int],
    may_be_empty: bool,
    last_line: int | None,
) -> tuple[list[Row], list[str], list[str]]:
    """The rows of numbers, the cells of a row of units, and what is unusual."""
    below: list[Row] = []
    comments = 0
    width = len(head)
    for number, line in enumerate(lines[header:last_line], header + 1):
        if line.lstrip().startswith(COMMENTS):
            comments += 1
        elif line.strip():
            below.append((number, fields(line, delimiter, number)))
            if len(below) * width > MOST_CELLS:
                raise TableFault(f"line {number}: more than {MOST_CELLS:,} numbers; leave some of them out")

    def whole(row: Row) -> bool:
        cells = row[1]
        return len(cells) >= width and not any(cells[width:]) and all(_is_number(cells[i]) for i in at)

    there = [n for n, row in enumerate(below) if whole(row)]
    if not there:
        if below:
            raise _broken(below[0], head, at)
        if may_be_empty:
            return [], [], []
        raise TableFault("has no rows below its header")
    first, last = there[0], there[-1]
    units = _units_row(below[:first], head, at)
    if len(there) < last - first + 1:
        raise _broken(next(row for row in below[first:last] if not whole(row)), head, at)
    for row in below[last + 1 :]:
        if row[1] and (_is_number(row[1][0]) or NO_NUMBER.fullmatch(row[1][0])):
            raise _broken(row, head, at)
    rows = below[first : last + 1]
    said = [f"line {below[0][0]} taken for units: {', '.join(map(printable, units))}"] if units else []
    if not all(map(str.strip, lines[rows[0][0] : rows[-1][0]])):
        said.append("blank lines between rows left out")
    if comments:
        said.append(f"{comments} comment line{'s' if comments > 1 else ''} left out")
    if any(len(cells) > width for _, cells in rows):
        said.append(f"{DELIMITERS[delimiter]} at the ends of rows left out")
    return rows, units, said + _skipped([lines[number - 1] for number, _ in below[last + 1 :]], "below the rows")


def _units_row(above: list[Row], head: list[str], at: Sequence[int]) -> list[str]:
    """The cells of the one line between header and numbers, if it can be a row of units."""
    if not above:
        return []
    number, cells = above[0]
    named = [cells[i] if i < len(cells) else "" for i in at]
    if len(above) > 1 or any(_is_number(cell) or NO_NUMBER.fullmatch(cell) for cell in named):
        raise _broken(above[0], head, at)
    if len(cells) > len(head) and any(cells[len(head) :]):
        raise _broken(above[0], head, at)
    if [same_name(cell) for cell in cells] == head or any(len(cell) > 20 for cell in cells):
        raise TableFault(f"line {number} below the header is neither a row of numbers nor one of units")
    return cells


def _broken(row: Row, head: list[str], at: Sequence[int]) -> TableFault:
    number, cells = row
    if len(cells) < len(head) or any(cells[len(head) :]):
        return TableFault(f"line {number} has {len(cells)} cells where the header names {len(head)} columns")
    column = next(i for i in at if not _is_number(cells[i]))
    return TableFault(f"line {number}: {shown(cells[column])} in column {shown(head[column])} is not a finite number")


def _numbers(rows: list[Row], at: Sequence[int], names: Sequence[str], delimiter: str) -> tuple[list[Array], list[str]]:
    """The numbers of each column, and whether their decimals stand behind a comma."""
    texts = [[cells[i] for _, cells in rows] for i in at]
    comma = next(((n, c) for cs in texts for (n, _), c in zip(rows, cs, strict=True) if "," in c), None)
    point = next(((n, c) for cs in texts for (n, _), c in zip(rows, cs, strict=True) if "." in c), None)
    if comma and point:
        raise TableFault(
            f"line {comma[0]} has the number {shown(comma[1])} and line {point[0]} {shown(point[1])}; "
            "write every number with a decimal point, without marks between thousands"
        )
    marked = [cell for cells in texts for cell in cells if "," in cell]
    if comma and all(GROUPED.fullmatch(cell) for cell in marked):
        raise TableFault(
            f"line {comma[0]}: {shown(comma[1])} could be a decimal comma or thousands; write a decimal point"
        )
    for name, cells in zip(names, texts, strict=True) if delimiter != "," else ():
        grouped = [cell for cell in cells if "." in cell]
        if grouped and len(grouped) < len(cells) and all(GROUPED.fullmatch(cell) for cell in grouped):
            raise TableFault(
                f"column {shown(name)}: {shown(grouped[0])} could be a decimal point or thousands beside "
                "whole numbers; write every number with its decimals"
            )
    columns = [np.array([float(cell.replace(",", ".")) for cell in cells], dtype=np.float64) for cells in texts]
    for name, cells, column in zip(names, texts, columns, strict=True):
        for n in np.flatnonzero(~np.isfinite(column) | (column == 0.0)):
            value, digits = float(column[n]), cells[n].lower().partition("e")[0]
            if not math.isfinite(value) or re.search("[1-9]", digits):
                raise TableFault(
                    f"line {rows[n][0]}: {shown(cells[n])} in column {shown(name)} is beyond what a number can hold"
                )
    return columns, ["decimal commas"] if comma else []
