"""Records of files, as a command line names them: ``loops.dat``, ``loops.dat#4``, ``loops.dat#1,4-6``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable

NUMBERS = re.compile(r"(.*)#([\d,\- ]+)")
MOST_RECORDS = 100


@dataclass(frozen=True)
class Choice:
    """Record number `record` of the file at `path`, from 1; without a number its only one."""

    path: Path
    record: int | None = None

    def __str__(self) -> str:
        return self.path.name if self.record is None else f"{self.path.name}#{self.record}"


def choices(named: Iterable[Path | str], record: int | None = None) -> list[Choice]:
    """The records that `named` names; `record` is the number for those that have none.

    A file that is really called ``a#1`` is taken as it is. Raises `InputError` for numbers that are none.
    """
    found = []
    for text in map(str, named):
        match = NUMBERS.fullmatch(text)
        if match is None or Path(text).exists():
            found.append(Choice(Path(text), record))
        else:
            found += [Choice(Path(match[1]), number) for number in _numbers(match[2], text)]
    return found


def _numbers(listed: str, text: str) -> list[int]:
    found: list[int] = []
    for part in listed.split(","):
        first, dash, last = (each.strip() for each in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"{printable(text)}: behind # write numbers of records, for example #4 or #1,4-6")
        low, high = int(first), int(last or first)
        if not 0 < low <= high or high - low >= MOST_RECORDS:
            raise InputError(f"{printable(text)}: records are counted from 1 upwards, at most {MOST_RECORDS} at once")
        found += range(low, high + 1)
    return found
