"""What every reader gives: records, each a few named columns in SI units and what the file says of the measurement."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.measured.units import QUANTITIES, UNITS, Declared, in_si, unit_of_file
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.tables import same_name

Array = NDArray[np.float64]
TEMPERATURE = re.compile(r"\s*(t|temp\.?|.*temperature)\s*([\[({].*)?", re.IGNORECASE)
"""The name of a column of temperatures, with its unit behind it or without."""


@dataclass(frozen=True)
class Asked:
    """What the caller says of a file: units of columns that it gives none, and the only `columns` to look for.

    `units` are by a column's name, as `same_name` spells it. Without `columns` all are read.
    """

    units: Mapping[str, Declared] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Column:
    """A column under the file's own `name`: `values` (n,) in `unit`, an SI unit; empty where no one has said it."""

    name: str
    unit: str
    values: Array
    full_name: str = ""
    """The name with the unit in brackets behind it, where the file has it so."""

    @property
    def what(self) -> str:
        """``time``, ``voltage``, ... by the unit; ``number`` for counts, and for what is not known."""
        return QUANTITIES.get(self.unit, "number")


@dataclass(frozen=True, eq=False)
class Record:
    """One measurement of a file: `columns` of n samples each, and what the file states of it, `None` where it does not.

    `kind` says what was measured (``loop``, ``pulses``, ``leakage``, ``sweep``, ...), `name` what the file calls it,
    `where` where it stands there (``line 57``); `notes` are what a reader of the numbers must know.
    """

    kind: str
    name: str
    where: str
    columns: tuple[Column, ...]
    amplitude_v: float | None = None
    frequency_hz: float | None = None
    area_m2: float | None = None
    thickness_m: float | None = None
    temperature_k: float | None = None
    notes: tuple[str, ...] = ()
    summary: Mapping[str, float] = field(default_factory=dict)
    """What the tester itself says of the record, SI units: ``vc_plus_v``, ``pr_minus_c_m2``, ..."""

    @property
    def points(self) -> int:
        """Number of samples."""
        return self.columns[0].values.size

    def of(self, what: str) -> list[Column]:
        """The columns of that quantity."""
        return [column for column in self.columns if column.what == what]


@dataclass(frozen=True)
class Found:
    """The records of a file and what was unusual about it, each worth saying."""

    records: list[Record]
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """A format: its `title`, whether the `head` of a file is its own, and the records of such a file.

    A head is the first characters of the file, Latin-1 where it is no text. `read` raises `InputError` in one sentence.
    """

    title: str
    is_own: Callable[[str], bool]
    read: Callable[[Path, Asked], Found]


def column(
    name: str, values: Array, asked: Asked, unit: str | None = None, by: str = "the file", path: Path | str = ""
) -> Column:
    """The column `name`, whose `values` are in `unit` by what `by` names, or in what the caller declared.

    C of what is called a temperature is no coulomb, and counts as no unit. Raises `InputError` where both are there and
    differ, and for a value beyond what a number can hold in SI.
    """
    given = asked.units.get(same_name(name))
    stated = unit_of_file(unit) if unit else ""
    if stated == "C" and TEMPERATURE.fullmatch(name):
        stated = ""
    if given and stated in UNITS and stated != given.unit:
        raise InputError(
            f"{printable(str(path))}: column {shown(name)} is in {printable(unit or '')} by {by}, but {given.option}"
        )
    in_unit = given.unit if given else stated
    if in_unit not in UNITS:
        return Column(name, "", values)
    return Column(name, UNITS[in_unit][0], in_si(in_unit, values))
