"""Keysight EasyEXPERT (B1500): the ``.csv`` of one or several runs of a test.

Each row begins with its kind: ``SetupTitle`` opens a run, ``TestParameter`` and ``MetaData`` describe it, ``DataName``
names the columns and ``DataValue`` holds a row of numbers. The set-up lists under ``Channel.VName``,
``Channel.IName`` and ``Channel.Time`` which columns are voltages, currents and times; their numbers are in V, A and s,
as are those of the set-up itself. Columns that the user derived have no unit in the file. With a second swept variable
the rows of its steps follow each other (``Dimension1`` rows for each of ``Dimension2`` steps); each is a record.

Source: exports of EasyEXPERT, and its user's guide (Keysight B1540A).
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bruno_spice.calibration.measured.record import Asked, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import Text
from bruno_spice.devices.reading import shown
from bruno_spice.devices.tables import NUMBER, same_name

KINDS = ("SetupTitle", "PrimitiveTest", "TestParameter", "MetaData", "AnalysisSetup", "Dimension1", "Dimension2",
         "DataName", "DataValue", "ClassicTest", "ApplicationTest")  # fmt: skip
BY_SETUP = {"Channel.VName": "V", "Channel.IName": "A", "Channel.Time": "s"}


@dataclass
class _Run:
    title: str = ""
    setup: dict[str, list[str]] = field(default_factory=dict)
    line: int = 0
    names: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    row_lines: list[int] = field(default_factory=list)


def _read(path: Path, asked: Asked) -> Found:
    text = Text.load(path)
    records = [record for run in _runs(text) for record in _records(text, run, asked)]
    if not records:
        raise text.fault(len(text.lines), "no row of DataValue in this file")
    return Found(records, text.said)


def _runs(text: Text) -> list[_Run]:
    runs: list[_Run] = []
    for line, raw in enumerate(text.lines, 1):
        if not raw.strip():
            continue
        kind, *cells = (text.cells(line, ",") or [""]) if raw.startswith("Data") else map(str.strip, raw.split(","))
        if kind == "SetupTitle" or not runs:
            runs.append(_Run())
        run = runs[-1]
        if kind == "SetupTitle":
            run.title = ", ".join(cells)
        elif kind == "DataName":
            if run.names:
                raise text.fault(line, "a second DataName in one run")
            run.line, run.names = line, [same_name(name) for name in cells]
        elif kind == "DataValue":
            _check_row(text, run, line, cells)
            run.rows.append(cells)
            run.row_lines.append(line)
        elif kind.startswith("Dimension"):
            run.setup[kind] = cells
        elif kind in KINDS:
            run.setup[cells[0] if cells else ""] = cells[1:]
        else:
            raise text.fault(line, f"{shown(kind)} is no kind of row that EasyEXPERT writes")
    return runs


def _check_row(text: Text, run: _Run, line: int, cells: list[str]) -> None:
    if len(cells) != len(run.names) or not run.names:
        raise text.fault(line, f"{len(cells)} numbers where DataName names {len(run.names)} columns")
    for name, cell in zip(run.names, cells, strict=True):
        if not NUMBER.fullmatch(cell) or "," in cell:
            raise text.fault(line, f"{shown(cell)} in column {shown(name)} is not a finite number")


def _records(text: Text, run: _Run, asked: Asked) -> list[Record]:
    if not run.rows:
        return []
    if doubled := next((name for name in run.names if run.names.count(name) > 1), None):
        raise text.fault(run.line, f"the column {shown(doubled)} comes twice")
    values = np.array(run.rows, dtype=np.float64).T
    for n in np.flatnonzero(~np.isfinite(values).all(axis=0)):
        raise text.fault(run.row_lines[int(n)], "a number beyond what a number can hold")
    points, steps = _dimension(text, run, "Dimension1"), _dimension(text, run, "Dimension2") or 1
    if (points and points * steps != len(run.rows)) or len(run.rows) % steps:
        raise text.fault(
            run.line,
            f"{points or 'some'} x {steps} rows announced, but {len(run.rows)} are there; the file may be cut short",
        )
    units = {same_name(name): unit for key, unit in BY_SETUP.items() for name in run.setup.get(key, ()) if name}
    target, turn = (run.setup.get(f"TestRecord.{key}", [""])[:1] for key in ("TestTarget", "IterationIndex"))
    label = " ".join(filter(None, (run.title, *target, *(f"#{each}" for each in turn if each))))
    size = len(run.rows) // steps
    records = []
    for step in range(steps):
        part = values[:, step * size : (step + 1) * size]
        columns = tuple(
            column(name, part[n], asked, units.get(name), "the set-up", text.path) for n, name in enumerate(run.names)
        )
        at = f", step {step + 1} of {steps}" if steps > 1 else ""
        records.append(Record("sweep", label + at, f"line {run.row_lines[step * size]}", columns))
    return records


def _dimension(text: Text, run: _Run, key: str) -> int:
    """The number in that row, which repeats it for every column; 0 where there is none."""
    found = set(run.setup.get(key, ()))
    if not found:
        return 0
    number = found.pop()
    if found or not (number.isascii() and number.isdigit() and len(number) < 9 and int(number) > 0):
        raise text.fault(run.line or 1, f"{key} does not say one number of rows")
    return int(number)


def _is_own(head: str) -> bool:
    lines = [line.strip() for line in head.splitlines() if line.strip()]
    return bool(lines) and lines[0].startswith(("SetupTitle,", "PrimitiveTest,"))


EASYEXPERT = Reader("Keysight EasyEXPERT", _is_own, _read)
