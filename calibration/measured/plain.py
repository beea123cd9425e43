"""A plain table as a measured record: columns and units are named by the caller, and held against the file's own.

A unit that the file names, in a row below the header or in brackets behind a column's name, must be the declared one.
What was recognised about the file (`devices.tables`) goes along, so that it can be said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.tables import NumberTable, read_table, same_name

Array = NDArray[np.float64]

_METRIC = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
TIME_UNITS = {f"{prefix}s": scale for prefix, scale in _METRIC.items() if scale > 1e-14}
VOLTAGE_UNITS = {f"{prefix}V": scale for prefix, scale in _METRIC.items() if scale > 1e-7} | {"kV": 1e3}
CHARGE_UNITS = {f"{prefix}C": scale for prefix, scale in _METRIC.items()}
CURRENT_UNITS = {f"{prefix}A": scale for prefix, scale in _METRIC.items()}
CHARGE_DENSITY_UNITS = {"C/m2": 1.0, "uC/cm2": 1e-2}
CURRENT_DENSITY_UNITS = {"A/m2": 1.0, "A/cm2": 1e4, "mA/cm2": 10.0, "uA/cm2": 1e-2}
KNOWN_UNITS = (
    TIME_UNITS | VOLTAGE_UNITS | CHARGE_UNITS | CURRENT_UNITS | CHARGE_DENSITY_UNITS | CURRENT_DENSITY_UNITS
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One column to read: its `name` in the file, what it is (``time``), its unit, and that unit in SI."""

    name: str
    what: str
    unit: str
    scale: float


def declared(name: str, what: str, unit: str | None, known: Mapping[str, float]) -> Column:
    """The column `name` in the `unit` that the caller gave with ``--WHAT-unit``; raises `InputError` for others."""
    choices = ", ".join(known)
    if unit is None:
        raise InputError(f"say in which unit the {what} is: --{what}-unit, one of {choices}")
    if (plain := plain_unit(unit)) not in known:
        raise InputError(f"--{what}-unit {printable(unit)}: not a unit of {what} known here; choose one of {choices}")
    return Column(name, what, plain, known[plain])


def plain_unit(unit: str) -> str:
    """`unit` as the tables above spell it: ``uC/cm2`` for ``[µC/cm²]``."""
    return same_name(unit).strip("()[]{} ").replace("μ", "u").replace("^", "")


def read_plain(path: Path | str, columns: Sequence[Column]) -> tuple[list[Array], NumberTable]:
    """The `columns` in SI units, and the table that they stood in.

    Raises `InputError` for what `read_table` refuses, and where the file names another unit than the declared one.
    """
    table = read_table(path, [column.name for column in columns], missing="no such measurement file")
    for column in columns:
        bracketed = re.search(r"[(\[{]([^()\[\]{}]{1,20})[)\]}]$", same_name(column.name))
        for where, unit in (
            ("the row of units", table.units.get(column.name)),
            ("its name", bracketed[1] if bracketed else None),
        ):
            if unit and plain_unit(unit) in KNOWN_UNITS and plain_unit(unit) != column.unit:
                raise InputError(
                    f"{printable(str(path))}: column {shown(column.name)} is in {printable(unit)} by {where}, but "
                    f"--{column.what}-unit says {column.unit}"
                )
    return [column.scale * table.columns[column.name] for column in columns], table


def read_declared(path: Path, columns: Sequence[Column]) -> tuple[list[Array], tuple[str, ...]]:
    """The `columns` of a plain table in SI units, and what is unusual about the file; a reader of `READERS`."""
    arrays, table = read_plain(path, columns)
    return arrays, table.unusual
