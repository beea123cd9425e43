"""Text files of testers: read whole within bounds, in any encoding that is recognised, packed with gzip or not.

Numbers are strict: every cell of a block is a finite decimal number, or the file is refused with the line. So are a
file beyond `MOST_BYTES`, packed or not, a line beyond what a table may have, and control characters.
"""

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bruno_spice.calibration.measured.record import Array
from bruno_spice.calibration.measured.units import UNITS, in_si, unit_of_file
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, read_bytes, shown
from bruno_spice.devices.tables import MOST_BYTES, MOST_COLUMNS, NUMBER, TableFault, decoded_lines, fields

HEAD_BYTES = 4096
MISSING = "no such measurement file"
GZIP = b"\x1f\x8b"
FIELDS = {
    "amplitude_v": "V", "frequency_hz": "Hz", "period_s": "s", "area_m2": "m2", "thickness_m": "m",
    "temperature_k": "K",
}  # fmt: skip
"""What a file can state of a record, and its SI unit; a period becomes the frequency."""


def content(path: Path) -> bytes:
    """What the file at `path` holds, unpacked. Raises `InputError`."""
    raw = read_bytes(path, MOST_BYTES, MISSING)
    if not raw.startswith(GZIP):
        return raw
    try:
        unpacking = zlib.decompressobj(wbits=31)
        raw = unpacking.decompress(raw, MOST_BYTES + 1)
    except zlib.error:
        raise InputError(f"{printable(str(path))}: starts as a gzip file does, but is none") from None
    if len(raw) > MOST_BYTES:
        raise InputError(f"{printable(str(path))}: unpacks to more than {MOST_BYTES:,} bytes")
    if not unpacking.eof or unpacking.unused_data:
        raise InputError(f"{printable(str(path))}: a gzip file that is cut short, or followed by something else")
    return raw


def head(raw: bytes) -> str:
    """The first characters of a file's content `raw`: UTF-8 or UTF-16 where it is marked so or has the zeros, else
    Latin-1."""
    start = raw[:HEAD_BYTES]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return start.decode("utf-16", "replace")
    if start[1:2] == start[3:4] == b"\0" and start[0:3:2].isalnum():
        return start.decode("utf-16-le", "replace")
    return start.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


@dataclass(frozen=True)
class Statement:
    """What stands behind a key, and in which line."""

    line: int
    value: str


@dataclass(frozen=True)
class Text:
    """The lines of the file at `path`, and what is unusual about how they are written."""

    path: Path
    lines: list[str]
    said: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> "Text":
        """Raises `InputError` for what is no text, or too much."""
        try:
            lines, said = decoded_lines(content(path))
        except TableFault as fault:
            raise InputError(f"{printable(str(path))}: {fault}") from None
        return cls(path, lines, tuple(said))

    def fault(self, line: int, problem: str) -> InputError:
        """The error that line `line`, counted from 1, has `problem`."""
        return InputError(f"{printable(str(self.path))}: line {line}: {problem}")

    def cells(self, line: int, delimiter: str) -> list[str]:
        """The cells of line `line`, without empty ones at its end."""
        try:
            found = fields(self.lines[line - 1], delimiter, line)
        except TableFault as fault:
            raise InputError(f"{printable(str(self.path))}: {fault}") from None
        while found and not found[-1]:
            found.pop()
        if len(found) > MOST_COLUMNS:
            raise self.fault(line, f"more than {MOST_COLUMNS} columns")
        return found

    def block(
        self, first: int, names: Sequence[str], delimiter: str, last: int | None = None
    ) -> tuple[list[Array], int]:
        """The numbers from line `first` on, up to line `last`, a blank line or the end: a column (n,) for each name.

        The line behind the block comes along. Raises `InputError` for no row at all, a row of another width and a cell
        that is no finite number.
        """
        rows: list[list[str]] = []
        line = first
        last = len(self.lines) if last is None else last
        while line <= last and self.lines[line - 1].strip():
            row = self.cells(line, delimiter)
            if len(row) != len(names):
                raise self.fault(line, f"{len(row)} numbers where the header names {len(names)} columns")
            for name, cell in zip(names, row, strict=True):
                if not NUMBER.fullmatch(cell) or "," in cell:
                    raise self.fault(line, f"{shown(cell)} in column {shown(name)} is not a finite number")
            rows.append(row)
            line += 1
        if not rows:
            raise self.fault(min(first, len(self.lines)), "no numbers below the header")
        values = np.array(rows, dtype=np.float64).T
        for n in np.flatnonzero(~np.isfinite(values).all(axis=0)):
            raise self.fault(first + int(n), "a number beyond what a number can hold")
        return list(values), line

    def stated(self, statements: Mapping[str, Statement], keys: Mapping[str, str]) -> dict[str, float]:
        """What `statements` say of the fields of a record: `keys` gives the field for a key without its unit.

        The unit stands in brackets behind the key. A value of 0 says that nobody has said it. Raises `InputError` for
        what is no positive number, and for a unit that is not known or not one of the field.
        """
        found: dict[str, float] = {}
        for key, statement in statements.items():
            name, unit = in_brackets(key)
            if (what := keys.get(name)) is None or not statement.value:
                continue
            unit = unit_of_file(unit)
            if UNITS.get(unit, ("", 0.0))[0] != FIELDS[what]:
                raise self.fault(statement.line, f"the unit {shown(unit)} of {shown(name)} is not known here")
            if not NUMBER.fullmatch(statement.value) or "," in statement.value:
                raise self.fault(statement.line, f"{shown(statement.value)} for {shown(name)} is not a number")
            value = in_si(unit, float(statement.value)) if float(statement.value) else 0.0
            if what == "amplitude_v":
                value = abs(value)
            if not 0 <= value < np.inf:
                raise self.fault(statement.line, f"{shown(name)} cannot be {shown(statement.value)}")
            if value > 0:
                found["frequency_hz" if what == "period_s" else what] = 1 / value if what == "period_s" else value
        return found

    def summary(self, statements: Mapping[str, Statement], keys: Mapping[str, str]) -> dict[str, float]:
        """The tester's own numbers among `statements`, SI units, by `keys`; what cannot be read as one is left out.

        A key says its unit in its end: ``vc_plus_v``, ``pr_plus_c_m2``, ``w_loss_j_m2``.
        """
        ends = {"V": "_v", "C/m2": "_c_m2", "J/m2": "_j_m2"}
        found: dict[str, float] = {}
        for key, said in statements.items():
            name, unit = in_brackets(key)
            si, factor = UNITS.get(unit_of_file(unit), ("", 0.0))
            what = keys.get(name)
            if what and NUMBER.fullmatch(said.value) and si in ends and what.endswith(ends[si]):
                with suppress(ValueError):  # 1,5
                    value = factor * float(said.value)
                    found |= {what: value} if math.isfinite(value) else {}
        return found


def in_brackets(name: str) -> tuple[str, str]:
    """A name and the unit in brackets behind it, empty where there is none: ``Area`` and ``mm2`` of ``Area [mm2]``."""
    match = re.fullmatch(r"(.*?)\s*[\[({]([^\[\](){}]{1,20})[\])}]\s*", name)
    return (match[1], match[2]) if match else (name.strip(), "")


def statement(line: str, number: int) -> tuple[str, Statement] | None:
    """The key and value of a line ``key: value``."""
    key, colon, value = line.partition(":")
    return (" ".join(key.split()), Statement(number, value.strip())) if colon and key.strip() else None
