"""PSF ASCII: what Spectre writes of a transient with ``psfascii`` as its format.

Sections ``HEADER``, ``TYPE``, ``SWEEP``, ``TRACE`` and ``VALUE`` up to ``END``. Names are in quotes; a type gives the
unit of the traces that are of it, and the values follow as name and number, the swept time first in each point. Traces
may be collected in one ``GROUP``, whose numbers then stand in its order behind its name. Structures are not read. The
header says how many points there are ("PSF sweep points"); where it does they must be there.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bruno_spice.calibration.measured.record import Asked, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import Text
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import NOT_PLAIN, printable, shown
from bruno_spice.devices.tables import MOST_CELLS, MOST_COLUMNS, NUMBER, same_name

SECTIONS = ("HEADER", "TYPE", "SWEEP", "TRACE", "VALUE", "END")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"()]+|[()])')
Word = tuple[int, bool, str]
"""Its line, whether it stands in quotes, what it says."""


@dataclass
class _Words:
    """The words of one section, taken one after the other."""

    text: Text
    words: list[Word]
    last: int
    at: int = 0

    def __bool__(self) -> bool:
        return self.at < len(self.words)

    @property
    def line(self) -> int:
        return self.words[self.at][0] if self else self.last

    def name(self, what: str) -> str:
        """The next word, which must be in quotes."""
        return self._next(True, what)

    def bare(self, what: str) -> str:
        """The next word, which must not be."""
        return self._next(False, what)

    def _next(self, quoted: bool, what: str) -> str:
        if not self or self.words[self.at][1] != quoted:
            raise self.text.fault(self.line, f"{what} is missing")
        self.at += 1
        return self.words[self.at - 1][2]

    def sees(self, word: str) -> bool:
        """Whether the next word is that one, out of quotes; then it is taken."""
        found = bool(self) and self.words[self.at][1:] == (False, word)
        self.at += found
        return found

    def properties(self) -> dict[str, str]:
        """``PROP( "units" "V" ... )`` where it follows."""
        found: dict[str, str] = {}
        if self.sees("PROP"):
            if not self.sees("("):
                raise self.text.fault(self.line, "a bracket is missing behind PROP")
            while not self.sees(")"):
                key = self.name("the name of a property, or a bracket,")
                if not self:
                    raise self.text.fault(self.line, f"the property {shown(key)} has no value")
                found[key] = self.words[self.at][2]
                self.at += 1
        return found


@dataclass
class _Traces:
    """The names of what was recorded, with their units; those of a group behind its name."""

    units: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)


def _read(path: Path, asked: Asked) -> Found:
    text = Text.load(path)
    sections = _sections(text)
    header = _header(sections["HEADER"])
    units = _types(sections["TYPE"])
    sweep = _traces(sections["SWEEP"], units)
    traces = _traces(sections["TRACE"], units)
    if len(sweep.units) != 1 or sweep.groups:
        raise text.fault(sections["SWEEP"].last, "not one swept variable; transients are read")
    names = [*sweep.units, *traces.units]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise text.fault(sections["TRACE"].last, f"the trace {shown(doubled)} comes twice")
    if len(names) > MOST_COLUMNS:
        raise text.fault(sections["TRACE"].last, f"more than {MOST_COLUMNS} traces")
    values = _values(sections["VALUE"], next(iter(sweep.units)), traces)
    points = len(values) // len(names)
    announced = header.get("PSF sweep points", str(points))
    if announced != str(points):
        raise text.fault(
            sections["VALUE"].last, f"{printable(announced)[:20]} points announced, but {points} are there"
        )
    rows = np.array(values, dtype=np.float64).reshape(points, len(names)).T
    for name, row in zip(names, rows, strict=True):
        if not np.isfinite(row).all():
            raise InputError(f"{printable(str(path))}: {shown(name)} holds a number beyond what a number can hold")
    found = sweep.units | traces.units
    columns = tuple(
        column(same_name(name), row, asked, found[name], "its type", path)
        for name, row in zip(names, rows, strict=True)
    )
    if columns[0].unit != "s":
        raise text.fault(sections["SWEEP"].last, f"swept is {shown(names[0])}, not the time; transients are read")
    title = " ".join(filter(None, (header.get("analysis name", ""), header.get("analysis type", ""))))
    where = f"line {sections['VALUE'].words[0][0]}"
    return Found([Record("transient", printable(title), where, columns)], text.said)


def _sections(text: Text) -> dict[str, _Words]:
    found: dict[str, _Words] = {}
    here: _Words | None = None
    for number, line in enumerate(text.lines, 1):
        if (name := line.strip()) in SECTIONS:
            if len(found) >= len(SECTIONS) or name != SECTIONS[len(found)]:
                raise text.fault(number, f"{name} where {SECTIONS[min(len(found), len(SECTIONS) - 1)]} was to come")
            here = found[name] = _Words(text, [], number)
            continue
        if not line.strip():
            continue
        if here is None or "END" in found:
            raise text.fault(number, f"{shown(line.strip())} stands outside of every section")
        at = 0
        for word in WORD.finditer(line):
            if line[at : word.start()].strip():
                break
            quoted = word[1] is not None
            here.words.append((number, quoted, re.sub(r"\\(.)", r"\1", word[1]) if quoted else word[2]))
            at = word.end()
        if line[at:].strip():
            raise text.fault(number, f"{shown(line[at:].strip())} is no word of PSF")
        if NOT_PLAIN.search(line.replace("\t", " ")):
            raise text.fault(number, "a control character")
        here.last = number
    if "END" not in found:
        raise text.fault(len(text.lines), f"the file ends before {SECTIONS[len(found)]}; it is cut short")
    return found


def _header(words: _Words) -> dict[str, str]:
    found: dict[str, str] = {}
    while words:
        key = words.name("the name of a header entry")
        if not words:
            raise words.text.fault(words.line, f"the entry {shown(key)} has no value")
        if found.setdefault(key, words.words[words.at][2]) != words.words[words.at][2]:
            raise words.text.fault(words.line, f"the entry {shown(key)} comes twice")
        words.at += 1
    return found


def _types(words: _Words) -> dict[str, str]:
    """The unit of each type, empty where it has none."""
    found: dict[str, str] = {}
    while words:
        line, name = words.line, words.name("the name of a type")
        if (kind := (words.bare("the kind of a type"), words.bare("its precision"))) != ("FLOAT", "DOUBLE"):
            raise words.text.fault(line, f"the type {shown(name)} is {' '.join(kind)[:40]}; only FLOAT DOUBLE is read")
        if name in found:
            raise words.text.fault(line, f"the type {shown(name)} comes twice")
        found[name] = words.properties().get("units", "")
    return found


def _traces(words: _Words, types: dict[str, str]) -> _Traces:
    found = _Traces()
    group: list[str] | None = None
    left = 0
    while words:
        line, name = words.line, words.name("the name of a trace")
        if words.sees("GROUP"):
            count = words.bare("the number of traces in a group")
            if left or not count.isdecimal() or not 0 < int(count[:9]) <= MOST_COLUMNS or name in found.groups:
                raise words.text.fault(line, f"the group {shown(name)} is not one of 1 to {MOST_COLUMNS} traces")
            group, left = found.groups.setdefault(name, []), int(count)
            continue
        kind = words.name(f"the type of {shown(name)}")
        properties = words.properties()
        if kind not in types:
            raise words.text.fault(line, f"the trace {shown(name)} is of type {shown(kind)}, which is not declared")
        if name in found.units or NOT_PLAIN.search(name) or not name.strip():
            raise words.text.fault(line, f"the trace {shown(name)} comes twice or cannot be printed")
        found.units[name] = properties.get("units", types[kind])
        if left and group is not None:
            group.append(name)
            left -= 1
    if left:
        raise words.text.fault(words.last, f"{left} traces of a group are missing")
    if found.groups and sum(map(len, found.groups.values())) != len(found.units):
        raise words.text.fault(words.last, "traces beside a group")
    return found


def _values(words: _Words, sweep: str, traces: _Traces) -> list[str]:
    """The numbers as text, a point after the other, in the order of sweep and traces."""
    expected: list[tuple[str, int]] = [(sweep, 1)]
    expected += [(name, len(each)) for name, each in traces.groups.items()] or [(name, 1) for name in traces.units]
    found: list[str] = []
    while words:
        for name, count in expected:
            line, there = words.line, words.name(f"{shown(name)} of a point")
            if there != name:
                raise words.text.fault(line, f"{shown(there)} where {shown(name)} was to come")
            for _ in range(count):
                line, cell = words.line, words.bare(f"a number of {shown(name)}")
                if not NUMBER.fullmatch(cell) or "," in cell:
                    raise words.text.fault(line, f"{shown(cell)} of {shown(name)} is not a finite number")
                found.append(cell)
            if len(found) > MOST_CELLS:
                raise words.text.fault(line, f"more than {MOST_CELLS:,} numbers")
    if not found:
        raise words.text.fault(words.last, "no point in the section VALUE")
    return found


PSF = Reader("PSF ASCII (Spectre)", lambda head: head.lstrip().startswith("HEADER") and '"PSFversion"' in head, _read)
