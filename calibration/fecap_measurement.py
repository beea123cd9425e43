"""A measured FeCAP record: time, voltage, and charge or current, in units that its owner has declared.

A P-V loop, a PUND sequence or a pulse train is one record: whatever voltage was applied, and what flowed. Nothing is
guessed: columns and units are named by the caller. Samples at which the amplifier was clipped are found and marked,
for their value is known to be wrong; they stay in the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from devices.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_METRIC = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
TIME_UNITS = {f"{prefix}s": scale for prefix, scale in _METRIC.items() if scale > 1e-14}
VOLTAGE_UNITS = {f"{prefix}V": scale for prefix, scale in _METRIC.items() if scale > 1e-7} | {"kV": 1e3}
CHARGE_UNITS = {f"{prefix}C": scale for prefix, scale in _METRIC.items()}
CURRENT_UNITS = {f"{prefix}A": scale for prefix, scale in _METRIC.items()}
CHARGE_DENSITY_UNITS = {"C/m2": 1.0, "uC/cm2": 1e-2}
CURRENT_DENSITY_UNITS = {"A/m2": 1.0, "A/cm2": 1e4, "mA/cm2": 10.0, "uA/cm2": 1e-2}
FEWEST_SAMPLES = 20
CLIPPED_SAMPLES = 4


@dataclass(frozen=True)
class Columns:
    """Which columns of a table to read, in which units: `response` is the charge's or the current's column."""

    time: str
    voltage: str
    response: str
    kind: Literal["charge", "current"]
    time_unit: str | None
    voltage_unit: str | None
    response_unit: str | None


@dataclass(frozen=True, eq=False)
class FeCAPMeasurement:
    """`time_s`, `voltage_v` and `response` (n,): charge in C/m^2 or current in A/m^2; `clipped` (n,) marks samples."""

    time_s: Array
    voltage_v: Array
    response: Array
    kind: Literal["charge", "current"]
    clipped: Mask = field(repr=False)
    source: str = "measurement"

    @property
    def unit(self) -> str:
        """Unit of `response`."""
        return "C/m^2" if self.kind == "charge" else "A/m^2"

    @property
    def span(self) -> float:
        """Largest minus smallest response."""
        return float(np.ptp(self.response))


def read_measurement(path: Path | str, columns: Columns, area_m2: float | None) -> FeCAPMeasurement:
    """The record in the CSV file at `path`.

    `area_m2` turns charge and current into densities; only units that are densities already go without it.
    Raises `InputError` for a missing or unknown unit or column, a value that is no number, times that do not increase.
    """
    scales = _scales(columns, area_m2)
    try:
        table = pd.read_csv(path, skipinitialspace=True, comment="#")
    except FileNotFoundError:
        raise InputError(f"{path}: no such measurement file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV file ({error})") from None
    names = (columns.time, columns.voltage, columns.response)
    time_s, voltage_v, response = (
        _numbers(table, name, str(path)) * scale for name, scale in zip(names, scales, strict=True)
    )
    return measurement(time_s, voltage_v, response, columns.kind, str(path))


def measurement(
    time_s: Array, voltage_v: Array, response: Array, kind: Literal["charge", "current"], source: str = "measurement"
) -> FeCAPMeasurement:
    """A checked record of arrays (n,) in s, V and C/m^2 or A/m^2; time is counted from its first sample."""
    if time_s.size < FEWEST_SAMPLES:
        raise InputError(f"{source}: {time_s.size} samples are too few to fit a FeCAP to; at least {FEWEST_SAMPLES}")
    late = np.flatnonzero(np.diff(time_s) <= 0)
    if late.size:
        row = int(late[0]) + 2
        raise InputError(f"{source}: time must increase, but data row {row} does not come after the row before it")
    if not np.ptp(voltage_v) > 0 or not np.ptp(response) > 0:
        raise InputError(f"{source}: the voltage or the {kind} never changes; are the right columns named?")
    clipped = clipped_samples(voltage_v, response)
    return FeCAPMeasurement(time_s - time_s[0], voltage_v, response, kind, clipped, source)


def clipped_samples(voltage_v: Array, response: Array) -> Mask:
    """Samples (n,) that sit exactly on the response's largest or smallest value, as a clipped amplifier leaves them.

    A peak is there once, a plateau as long as the voltage rests, and the values of a coarse converter all repeat; so
    an extreme counts as clipped if `CLIPPED_SAMPLES` or more share it, far more than share other values, while the
    voltage moves.
    """
    clipped = np.zeros(response.size, dtype=bool)
    usual = np.median(np.unique(response, return_counts=True)[1])
    for extreme in (response.max(), response.min()):
        there = response == extreme
        moves = np.ptp(voltage_v[there]) > 0.01 * np.ptp(voltage_v)
        if there.sum() >= CLIPPED_SAMPLES and there.sum() > 3 * usual and moves:
            clipped |= there
    return clipped


def _scales(columns: Columns, area_m2: float | None) -> tuple[float, float, float]:
    absolute, density = (
        (CHARGE_UNITS, CHARGE_DENSITY_UNITS) if columns.kind == "charge" else (CURRENT_UNITS, CURRENT_DENSITY_UNITS)
    )
    time = _scale(columns.time_unit, TIME_UNITS, "time")
    voltage = _scale(columns.voltage_unit, VOLTAGE_UNITS, "voltage")
    response = _scale(columns.response_unit, absolute | density, columns.kind)
    if area_m2 is not None and not area_m2 > 0:
        raise InputError(f"the area must be positive, not {area_m2:g} m^2")
    if columns.response_unit in absolute:
        if area_m2 is None:
            raise InputError(
                f"a {columns.kind} in {columns.response_unit} needs the electrode's area: --area in m^2, e.g. 25p"
            )
        response /= area_m2
    return time, voltage, response


def _scale(unit: str | None, known: Mapping[str, float], what: str) -> float:
    choices = ", ".join(known)
    if unit is None:
        raise InputError(f"say in which unit the {what} is: --{what}-unit, one of {choices}")
    plain = unit.replace("µ", "u").replace("μ", "u").replace("^", "").replace("²", "2")
    if plain not in known:
        raise InputError(f"--{what}-unit {unit}: not a unit of {what} known here; choose one of {choices}")
    return known[plain]


def _numbers(table: pd.DataFrame, name: str, path: str) -> Array:
    if name not in table.columns:
        raise InputError(f"{path}: has no column '{name}', only {', '.join(map(str, table.columns))}")
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise InputError(f"{path}: column '{name}' is not a finite number in data row {bad[0] + 1}")
    return numbers
