"""What a table of measured cells holds: its columns by what they mean, conductances and settings in SI units.

A row is one reading of one device: `device` (its number), `conductance` or `resistance`, and

    v_word_line or i_prog       written once with this:                               a SET curve
    level, time                 written to this level and verified, read later:       relaxation
    level                       the same, read right away:                            levels

`level` is the target conductance where it has a unit, else a number that stands for it. `temperature` may stand beside.
Columns are known by these names or others in use for them, or said in their order: ``device,time[s],-,g[S],level``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Array, Asked, Column
from bruno_spice.calibration.measured.text import in_brackets
from bruno_spice.calibration.measured.units import UNITS, in_si, plain_unit
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown

Kind = Literal["set", "relaxation", "levels"]
Knob = Literal["v_word_line_v", "i_prog_a"]
NAMES = {
    "device": ("device", "cell", "address", "bit", "id"),
    "conductance": ("conductance", "g"),
    "resistance": ("resistance", "r"),
    "v_word_line": ("v_word_line", "v_wl", "vwl", "wl", "word line", "v_gate", "vg"),
    "i_prog": ("i_prog", "i_cc", "icc", "i_set", "compliance"),
    "level": ("level", "target", "g_target"),
    "time": ("time", "t"),
    "temperature": ("temperature", "temp"),
}
"""What a column may be called, in small letters."""
UNIT = {
    "device": ("", "1"), "conductance": ("S",), "resistance": ("Ohm",), "v_word_line": ("V",), "i_prog": ("A",),
    "level": ("", "1", "S"), "time": ("s",), "temperature": ("K",),
}  # fmt: skip
"""SI units that it may have."""
LEFT_OUT = "-"
LARGEST_S = 1.0
"""Of a conductance: beyond lies a slip of the unit."""
LARGEST_NUMBER = 1e12
"""Of anything else: of a device, a level, a time in s."""
KNOBS: dict[str, Knob] = {"v_word_line": "v_word_line_v", "i_prog": "i_prog_a"}
"""Names in the card."""


@dataclass(frozen=True)
class CellTable:
    """The readings (n,) of the file at `path`, one a row; None for what it does not have."""

    path: Path
    kind: Kind
    device: NDArray[np.int64]
    g_s: Array
    setting: Array | None = None
    """In V or A."""
    knob: Knob | Literal[""] = ""
    level: Array | None = None
    level_in_s: bool = False
    """Whether `level` is a conductance in S."""
    time_s: Array | None = None
    temperature_k: float | None = None
    said: tuple[str, ...] = ()


@contextmanager
def sound(where: str) -> Iterator[None]:
    """Within the block, a table that no card can hold becomes an `InputError` about the file `where`."""
    try:
        yield
    except ValidationError as error:
        reason = error.errors()[0]
        said = reason.get("ctx", {}).get("error", reason["msg"])
        raise InputError(f"{where}: what was measured makes no card: {said}") from None


def read_cells(
    path: Path, order: str | None = None, temperature_k: float | None = None, number: int | None = None
) -> CellTable:
    """The readings in the file at `path`, whose columns `order` names where its header does not.

    `temperature_k` chooses the rows of a file that has several, `number` the record. Raises `InputError`.
    """
    found = read_file(path, Asked())
    record = found.record(number)
    where = printable(str(path))
    columns = _columns(record.columns, order, where)
    knobs = [name for name in ("v_word_line", "i_prog") if name in columns]
    kind: Kind
    if len(knobs) == 1 and "time" not in columns:
        kind = "set"
    elif not knobs and "level" in columns:
        kind = "relaxation" if "time" in columns else "levels"
    else:
        raise InputError(
            f"{where}: its columns ({', '.join(columns)}) are neither a SET curve (v_word_line or i_prog), nor levels "
            "(level), nor relaxation (level and time)"
        )
    g_s = _conductance(columns, where)
    kept, kelvin = _at_one_temperature(columns.get("temperature"), temperature_k, record.temperature_k, where)

    def values(name: str) -> Array | None:
        return columns[name].values[kept] if name in columns else None

    for name, each in columns.items():
        if np.any(odd := np.abs(each.values) > LARGEST_NUMBER) and name != "resistance":
            raise InputError(f"{where}: row {int(np.argmax(odd)) + 1} has a {name} of {each.values[odd][0]:g}")
    device = values("device")
    if device is None:
        raise InputError(f"{where}: no column tells the devices apart; call it device or cell, or say --columns")
    if np.any(odd := device != np.round(device)):
        raise InputError(f"{where}: {device[odd][0]:g} is no number of a device")
    return CellTable(
        path,
        kind,
        device.astype(np.int64),
        g_s[kept],
        values(knobs[0]) if knobs else None,
        KNOBS[knobs[0]] if knobs else "",
        values("level"),
        "level" in columns and columns["level"].unit == "S",
        values("time"),
        kelvin,
        tuple(found.said),
    )


def _columns(found: tuple[Column, ...], order: str | None, where: str) -> dict[str, Column]:
    """The columns by what they mean, in SI units."""
    if order is None:
        said = [(each.name, each.unit) for each in found]
    else:
        said = [in_brackets(each) for each in order.split(",")]
        if len(said) != len(found):
            raise InputError(f"{where}: --columns names {len(said)} columns, but the file has {len(found)}")
    columns: dict[str, Column] = {}
    for (name, unit), each in zip(said, found, strict=True):
        means = next((what for what, names in NAMES.items() if name.strip().lower() in names), None)
        if means is None:
            if order is not None and name.strip() != LEFT_OUT:
                known = ", ".join([*NAMES, LEFT_OUT])
                raise InputError(f"--columns: {shown(name)} means nothing here; there are {known}")
            continue
        if means in columns:
            raise InputError(f"{where}: two columns are the {means}; name the one that counts with --columns")
        columns[means] = _in_si(means, each, unit, where)
    return columns


def _in_si(means: str, found: Column, unit: str, where: str) -> Column:
    """The column `found` in its SI unit; `unit` is what `--columns` says of it, if that is anything."""
    si = UNITS.get(plain_unit(unit), (None, 1.0))[0] if unit else ""
    if not found.unit and not unit and "" not in UNIT[means]:
        raise InputError(f"{where}: the unit of the {means} is not said; say it: --columns '...,{means}[UNIT],...'")
    if si is None or (found.unit and unit and si != found.unit) or (found.unit or si) not in UNIT[means]:
        raise InputError(
            f"{where}: the {means} is in {shown(unit or found.unit)}, not in {' or '.join(filter(None, UNIT[means]))}"
        )
    declared = bool(unit) and not found.unit
    return Column(means, found.unit or si, in_si(plain_unit(unit), found.values) if declared else found.values)


def _conductance(columns: dict[str, Column], where: str) -> Array:
    if "conductance" in columns:
        g_s = columns["conductance"].values
    elif "resistance" in columns:
        with np.errstate(divide="ignore"):
            g_s = 1.0 / columns["resistance"].values
    else:
        raise InputError(
            f"{where}: no conductance or resistance among its columns; say what they are, in their order: "
            "--columns 'device,time[s],-,conductance[S],level'"
        )
    if np.any(odd := ~np.isfinite(g_s)):
        raise InputError(f"{where}: row {int(np.argmax(odd)) + 1} has a resistance of 0 Ohm")
    if np.any(odd := np.abs(g_s) > LARGEST_S):
        raise InputError(f"{where}: row {int(np.argmax(odd)) + 1} has a conductance of {g_s[odd][0]:g} S, no cell's")
    if np.median(g_s) <= 0.0:  # a single one may be: the tester's own noise around nothing
        raise InputError(f"{where}: half of the conductances are not above 0 S; is that column what it is said to be?")
    return g_s


def _at_one_temperature(
    column: Column | None, asked_k: float | None, stated_k: float | None, where: str
) -> tuple[NDArray[np.bool_] | slice, float | None]:
    """The rows at one temperature, and which that is; None where nothing says it."""
    if column is None:
        return slice(None), asked_k or stated_k
    there = np.unique(column.values)
    if asked_k is None and len(there) == 1:
        return slice(None), float(there[0])
    listed = ", ".join(f"{each:g} K" for each in there[:20])
    if asked_k is None:
        raise InputError(f"{where}: measured at {listed}; a card has one temperature: choose it with --temperature")
    rows = np.isclose(column.values, asked_k, rtol=0.0, atol=0.5)
    if not rows.any():
        raise InputError(f"{where}: nothing was measured at {asked_k:g} K; there are {listed}")
    return rows, asked_k
