"""Radiant Vision: the text export of a hysteresis task.

Banners of rules, lines ``Key (unit):`` and a table ``Point  Time (ms)  Drive Voltage  Measured Polarization``, whose
last two names carry no unit. That of the voltage is in the amplitude's name (``Volts:``), that of the polarization
in the results below the table (``PMax (µC/cm2):``); without these lines they have to be given.

No specification is published; the shape is that of an export of Vision 5.26.
"""

import re
from pathlib import Path

from bruno_spice.calibration.measured.record import Asked, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import Statement, Text, in_brackets, statement
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable

HEADER = re.compile(r"\s*Point\s*Time\s*\((\w+)\)\s*Drive Voltage\s*Measured Polarization\s*")
"""Also where the export glued the names together."""
KEYS = {"Sample Area": "area_m2", "Sample Thickness": "thickness_m", "Hysteresis Period": "period_s"}


def _read(path: Path, asked: Asked) -> Found:
    text = Text.load(path)
    headers = [n for n, line in enumerate(text.lines, 1) if HEADER.fullmatch(line)]
    if not headers:
        raise InputError(
            f"{printable(str(path))}: no line 'Point, Time, Drive Voltage, Measured Polarization'; of Radiant Vision, "
            "exports of a hysteresis are read"
        )
    ends = [*headers[1:], len(text.lines) + 1]
    starts = [1, *headers[:-1]]
    return Found(
        [_record(text, *place, asked) for place in zip(starts, headers, ends, strict=True)],
        text.said,
    )


def _stated(text: Text, first: int, last: int) -> dict[str, Statement]:
    lines = ((n, text.lines[n - 1]) for n in range(first, last))
    return dict(pair for n, line in lines if (pair := statement(line, n)))


def _record(text: Text, start: int, header: int, end: int, asked: Asked) -> Record:
    above, below = _stated(text, start, header), _stated(text, header + 1, end)
    match = HEADER.fullmatch(text.lines[header - 1])
    values, _ = text.block(header + 1, ["Point", "Time", "Drive Voltage", "Measured Polarization"], " ")
    points = above.get("Points")
    if points and points.value != str(values[0].size):
        raise text.fault(points.line, f"{points.value[:20]} points announced, but {values[0].size} rows are there")
    known = text.stated(above, KEYS)
    volts = above.get("Volts")
    if volts:
        known |= text.stated({"Volts [V]": volts}, {"Volts": "amplitude_v"})
    peaks = [in_brackets(key)[1] for key in below if in_brackets(key)[0] == "PMax"]
    columns = (
        column("Time", values[1], asked, match[1] if match else None, path=text.path),
        column("Drive Voltage", values[2], asked, "V" if volts else None, "'Volts:'", text.path),
        column("Measured Polarization", values[3], asked, peaks[0] if peaks else None, "'PMax'", text.path),
    )
    name = above.get("Task Name", Statement(0, "")).value
    sample = above.get("Sample Name", Statement(0, "")).value
    return Record(
        "loop", ": ".join(filter(None, (name, sample))), f"line {header}", columns, **known, notes=(), summary={}
    )


RADIANT = Reader("Radiant Vision", lambda head: "Vision Version:" in head and "Hysteresis" in head, _read)
