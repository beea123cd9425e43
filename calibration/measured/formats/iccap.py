"""Keysight IC-CAP ``.mdm``: swept measurements of a device.

A header lists the inputs with how they are swept (``LIN order start stop points step``, ``LIST``, ``CON``, ``SYNC``)
and the outputs; then one ``BEGIN_DB`` block for each setting of the slower inputs, which ``ICCAP_VAR`` gives, with a
line ``#name name ...`` and the numbers of the fastest sweep. Types V, I, C and F are in V, A, F and Hz. The header says
how many points there must be: the product of its sweeps.

Source: IC-CAP reference manual, MDM file syntax.
"""

import math
from pathlib import Path

from bruno_spice.calibration.measured.record import Asked, Found, Reader, Record, column
from bruno_spice.calibration.measured.text import Text
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown

TYPES = {"V": "V", "I": "A", "C": "F", "F": "Hz", "T": "s"}
COUNT_BEHIND = {"LIN": 4, "LIST": 2}
"""Where behind the name of a sweep its number of points stands."""
MOST_BLOCKS = 10_000
ONE_POINT = ("CON", "SYNC")


def _read(path: Path, asked: Asked) -> Found:
    text = Text.load(path)
    section, line = "", 1
    units: dict[str, str] = {}
    counts: list[int | None] = []
    records: list[Record] = []
    while line <= len(text.lines):
        words = text.lines[line - 1].split()
        if not words or words[0].startswith("!"):
            line += 1
            continue
        if words[0] == "BEGIN_DB":
            record, line = _block(text, line, units, asked)
            records.append(record)
            if len(records) > MOST_BLOCKS:
                raise text.fault(line, f"more than {MOST_BLOCKS:,} blocks")
            continue
        if words[0] in ("BEGIN_HEADER", "END_HEADER", "ICCAP_INPUTS", "ICCAP_OUTPUTS", "ICCAP_VALUES", "USER_INPUTS"):
            section = words[0]
        elif section in ("ICCAP_INPUTS", "ICCAP_OUTPUTS") and len(words) > 1:
            units[words[0]] = TYPES.get(words[1], "")
            if section == "ICCAP_INPUTS":
                counts.append(_points(text, line, words))
        elif section == "END_HEADER":
            raise text.fault(line, f"{shown(words[0])} between blocks; a block begins with BEGIN_DB")
        line += 1
    if not records:
        raise InputError(f"{printable(str(path))}: no block of measured points in this file")
    said = text.said
    expected, there = math.prod(n or 1 for n in counts), sum(record.points for record in records)
    if None in counts:
        said += ("the number of points was not compared with the header, which has a sweep that is not known here",)
    elif expected != there:
        raise InputError(
            f"{printable(str(path))}: its header announces {expected} points, but {there} are there; "
            "the file may be cut short"
        )
    return Found(records, said)


def _points(text: Text, line: int, words: list[str]) -> int | None:
    """Number of points of the sweep of an input; `None` where its kind is not known."""
    kind = next((word for word in words[2:] if word in COUNT_BEHIND or word in ONE_POINT), None)
    if kind is None:
        return None
    if kind in ONE_POINT:
        return 1
    at = words.index(kind, 2) + COUNT_BEHIND[kind]
    number = words[at] if at < len(words) else ""
    if not (number.isascii() and number.isdigit() and len(number) < 9 and int(number)):
        raise text.fault(line, f"the sweep {shown(words[0])} does not say its number of points")
    return int(number)


def _block(text: Text, first: int, units: dict[str, str], asked: Asked) -> tuple[Record, int]:
    """The record of the block that begins in line `first`, and the line behind it."""
    line = first + 1
    held: list[str] = []
    while line <= len(text.lines) and not text.lines[line - 1].lstrip().startswith("#"):
        words = text.lines[line - 1].split()
        if words[:1] == ["ICCAP_VAR"] and len(words) == 3:
            held.append(f"{words[1]}={words[2]}")
        elif words and words[0] not in ("USER_VAR",):
            raise text.fault(line, f"{shown(words[0])} where ICCAP_VAR or the names of the columns were expected")
        line += 1
    if line > len(text.lines):
        raise text.fault(first, "a block without names of columns; the file may be cut short")
    header, names = line, text.lines[line - 1].lstrip().removeprefix("#").split()
    last = next((n for n in range(line + 1, len(text.lines) + 1) if text.lines[n - 1].strip() == "END_DB"), 0)
    if not last:
        raise text.fault(first, "this block has no END_DB; the file may be cut short")
    if len(set(names)) < len(names) or not names:
        raise text.fault(header, "the names of the columns are missing or come twice")
    values, behind = text.block(header + 1, names, " ", last=last - 1)
    if behind != last and any(text.lines[n - 1].strip() for n in range(behind, last)):
        raise text.fault(behind, "a blank line within the numbers")
    columns = tuple(
        column(name, each, asked, units.get(name), "the header", text.path)
        for name, each in zip(names, values, strict=True)
    )
    return Record("sweep", ", ".join(held), f"line {header}", columns), last + 1


ICCAP = Reader("Keysight IC-CAP", lambda head: "BEGIN_HEADER" in head and "ICCAP_INPUTS" in head, _read)
