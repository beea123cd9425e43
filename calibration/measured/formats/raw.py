"""``.raw`` of ngspice, LTspice and their relatives: transients, binary or in ASCII, one or several of them.

A header of ``Key: value`` lines and of variables (``number, name, kind``), then ``Binary:`` or ``Values:``. LTspice
writes the header in UTF-16 and everything but the time in single precision, unless the flag ``double`` stands there;
with ``fastaccess`` a variable after the other instead of a point after the other. Its times may carry a sign that marks
compressed points. Of a stepped run each step is a record: it begins where the time falls back. Sources: ngspice manual,
section 12.3.14; LTspice help, "Raw waveform file". The counts of the header must fit the size to the byte.

Operating points, AC analyses and other plots are left out, which a note says.
"""

import re
from pathlib import Path

import numpy as np

from bruno_spice.calibration.measured.record import Array, Asked, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import content
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import NOT_PLAIN, printable, shown
from bruno_spice.devices.tables import MOST_CELLS, MOST_COLUMNS, NUMBER, same_name

KINDS = {"time": "s", "voltage": "V", "current": "A", "device_current": "A", "subckt_current": "A"}
"""Units by the kind of a variable; other kinds have none."""
VARIABLE = re.compile(r"\s*(\d{1,5})\s+(\S+)\s+(\S+)(?:\s.*)?")
COUNT = re.compile(r"[1-9]\d{0,8}")
MOST_PLOTS = 1000
Variables = list[tuple[str, str]]


class _Plot:
    """A header and where its numbers begin."""

    def __init__(self, raw: bytes, start: int, wide: bool, where: str) -> None:
        self.wide, self.where, line_end = wide, where, "\n".encode("utf-16-le") if wide else b"\n"
        lines: list[str] = []
        self.binary, at = None, start
        while self.binary is None:
            end = _aligned(raw, line_end, at, 2 if wide else 1, start)
            if end < 0 or len(lines) > MOST_COLUMNS + 100:
                raise InputError(f"{where}: the header that begins at byte {start} has no 'Binary:' and no 'Values:'")
            lines.append(raw[at:end].decode("utf-16-le" if wide else "latin-1", "replace").rstrip("\r"))
            at = end + len(line_end)
            self.binary = {"binary:": True, "values:": False}.get(lines[-1].strip().lower())
        self.body = at
        keys, self.variables = self._read(lines)
        self.name, self.flags = keys.get("plotname", ""), keys.get("flags", "").lower().split()
        self.of_ltspice = wide or "ltspice" in keys.get("command", "").lower()
        counts = keys.get("no. variables", ""), keys.get("no. points", "")
        if not all(map(COUNT.fullmatch, counts)):
            raise InputError(
                f"{where}: {shown(self.name)}: the header does not say the numbers of variables and points"
            )
        if int(counts[0]) != len(self.variables):
            raise InputError(f"{where}: {counts[0]} variables announced, but {len(self.variables)} are named")
        self.points, width = int(counts[1]), len(self.variables)
        if self.points * width > MOST_CELLS or width > MOST_COLUMNS:
            raise InputError(f"{where}: {self.points} points of {width} variables are more than are read here")

    def _read(self, lines: list[str]) -> tuple[dict[str, str], Variables]:
        keys: dict[str, str] = {}
        listed = next((n for n, line in enumerate(lines) if line.strip().lower() == "variables:"), None)
        if listed is None:
            raise InputError(f"{self.where}: the header has no list of variables")
        for line in lines[:listed]:
            key, colon, value = line.partition(":")
            if colon:
                if key.strip().lower() in keys and key.strip().lower().startswith("no."):
                    raise InputError(f"{self.where}: {shown(key)} comes twice in a header")
                keys[key.strip().lower()] = value.strip()
        variables: Variables = []
        for line in lines[listed + 1 : -1]:
            found = VARIABLE.fullmatch(line)
            if not found or int(found[1]) != len(variables) or NOT_PLAIN.search(line.replace("\t", " ")):
                raise InputError(f"{self.where}: {shown(line)} in the list of variables is not their next one")
            variables.append((same_name(found[2]), found[3].lower()))
        names = [name for name, _ in variables]
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"{self.where}: the variable {shown(doubled)} comes twice")
        return keys, variables

    @property
    def transient(self) -> bool:
        return "complex" not in self.flags and bool(self.variables) and self.variables[0][1] == "time"

    def numbers(self, raw: bytes) -> tuple[Array, int]:
        """The variables (v, n) and where the next header begins. Raises `InputError` where the counts do not fit."""
        return self._binary(raw) if self.binary else self._text(raw)

    def _binary(self, raw: bytes) -> tuple[Array, int]:
        width, left = len(self.variables), len(raw) - self.body
        words = 16 if "complex" in self.flags else 8
        single = self.of_ltspice and words == 8 and "double" not in self.flags
        point = 8 + 4 * (width - 1) if single else words * width
        size = point * self.points
        if left < size or (left > size and not self._follows(raw, self.body + size)):
            raise InputError(
                f"{self.where}: {self.points} points of {point} bytes announced, but {left} bytes are there; the file "
                "is cut short, or its simulation was"
            )
        body = raw[self.body : self.body + size]
        if words == 16:
            return np.zeros((width, 0)), self.body + size
        rest = "<f4" if single else "<f8"
        if "fastaccess" in self.flags:
            head, tail = body[: 8 * self.points], body[8 * self.points :]
            others = np.frombuffer(tail, rest).reshape(width - 1, self.points)
            return np.vstack([np.frombuffer(head, "<f8"), others.astype(np.float64)]), self.body + size
        kind = np.dtype([("first", "<f8"), ("rest", rest, (width - 1,))])
        rows = np.frombuffer(body, kind)
        return np.vstack([rows["first"], rows["rest"].T.astype(np.float64)]), self.body + size

    def _text(self, raw: bytes) -> tuple[Array, int]:
        end = self._next(raw, self.body)
        words = raw[self.body : end].decode("utf-16-le" if self.wide else "latin-1", "replace").split()
        width = len(self.variables) + 1
        if len(words) != width * self.points:
            raise InputError(
                f"{self.where}: {self.points} points of {width - 1} variables announced, but {len(words)} words are "
                "there"
            )
        if "complex" in self.flags:
            return np.zeros((width - 1, 0)), end
        if words[::width] != [str(n) for n in range(self.points)]:
            raise InputError(f"{self.where}: the points of {shown(self.name)} are not numbered one after the other")
        if bad := next((word for word in words if not NUMBER.fullmatch(word) or "," in word), None):
            raise InputError(f"{self.where}: {shown(bad)} is not a finite number")
        return np.array(words, dtype=np.float64).reshape(self.points, width)[:, 1:].T, end

    def _follows(self, raw: bytes, at: int) -> bool:
        title = "Title:".encode("utf-16-le") if self.wide else b"Title:"
        return raw.startswith(title, at)

    def _next(self, raw: bytes, at: int) -> int:
        title = "\nTitle:".encode("utf-16-le") if self.wide else b"\nTitle:"
        found = raw.find(title, at)
        return len(raw) if found < 0 else found + (2 if self.wide else 1)


def _aligned(raw: bytes, mark: bytes, at: int, step: int, start: int) -> int:
    """Where `mark` comes next behind `at`, on a character's first byte."""
    found = raw.find(mark, at)
    while found >= 0 and (found - start) % step:
        found = raw.find(mark, found + 1)
    return found


def _read(path: Path, asked: Asked) -> Found:
    raw, where = content(path), printable(str(path))
    wide, start = raw[1:2] == b"\0", 0
    records: list[Record] = []
    said: list[str] = []
    plots = 0
    while start < len(raw):
        plots += 1
        if plots > MOST_PLOTS:
            raise InputError(f"{where}: more than {MOST_PLOTS} plots in one file")
        plot = _Plot(raw, start, wide, where)
        values, start = plot.numbers(raw)
        if plot.transient:
            records += _steps(plot, values, where, asked)
        else:
            said.append(f"left out: {printable(plot.name) or 'a plot'}, which is no transient")
    if not records:
        raise InputError(f"{where}: a .raw file without a transient ({'; '.join(said[:5])})")
    return Found(records, tuple(dict.fromkeys(said)))


def _steps(plot: _Plot, values: Array, where: str, asked: Asked) -> list[Record]:
    if plot.of_ltspice:
        values = np.vstack([np.abs(values[0]), values[1:]])
    if bad := next(
        (name for (name, _), row in zip(plot.variables, values, strict=True) if not np.isfinite(row).all()), ""
    ):
        raise InputError(f"{where}: {shown(bad)} holds what is no finite number")
    falls = np.flatnonzero(np.diff(values[0]) < 0) + 1
    if falls.size and "stepped" not in plot.flags:
        raise InputError(f"{where}: the time falls back at point {falls[0]}, but the run was not stepped")
    if np.abs(values[0]).max() > 1e6:
        raise InputError(f"{where}: its times go beyond 1e6 s; the file is damaged")
    parts = np.split(values, falls, axis=1)
    found = []
    for number, part in enumerate(parts, 1):
        columns = tuple(
            column(name, row, asked, KINDS.get(kind), "the kind of the variable", where)
            for (name, kind), row in zip(plot.variables, part, strict=True)
        )
        step = f", step {number} of {len(parts)}" if len(parts) > 1 else ""
        found.append(
            Record(
                "transient",
                f"{printable(plot.name)}{step}",
                f"point {1 if number == 1 else falls[number - 2]}",
                columns,
            )
        )
    return found


RAW = Reader(
    ".raw of a simulator", lambda head: head.startswith("Title:") and "Plotname:" in head and "Flags:" in head, _read
)
