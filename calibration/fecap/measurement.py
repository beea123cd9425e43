"""A measured FeCAP record: time, voltage, and charge or current, in units that its owner has declared.

A P-V loop, a PUND sequence or a pulse train is one record: whatever voltage was applied, and what flowed. Nothing is
guessed: columns and units are named by the caller. Samples at which the amplifier was clipped are found and marked,
for their value is known to be wrong; they stay in the record.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.measured import READERS
from bruno_spice.calibration.measured.plain import (
    CHARGE_DENSITY_UNITS,
    CHARGE_UNITS,
    CURRENT_DENSITY_UNITS,
    CURRENT_UNITS,
    TIME_UNITS,
    VOLTAGE_UNITS,
    Column,
    declared,
)
from bruno_spice.devices.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

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
    read_as: tuple[str, ...] = ()
    """What was recognised about the file, where it is not plain."""

    @property
    def unit(self) -> str:
        """Unit of `response`."""
        return "C/m^2" if self.kind == "charge" else "A/m^2"

    @property
    def span(self) -> float:
        """Largest minus smallest response."""
        return float(np.ptp(self.response))


def read_measurement(
    path: Path | str, columns: Columns, area_m2: float | None, reader: str = "table"
) -> FeCAPMeasurement:
    """The record in the file at `path`, as `reader` (a name in `READERS`, or ``file.py:function``) reads it.

    `area_m2` turns charge and current into densities; only units that are densities already go without it.
    Raises `InputError` for a missing or unknown unit or column, one that the file contradicts, a value that is no
    number, times that do not increase.
    """
    (time_s, voltage_v, response), said = READERS.find(reader)(Path(path), _declared(columns, area_m2))
    found = measurement(time_s, voltage_v, response, columns.kind, str(path))
    return replace(found, read_as=said)


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


def _declared(columns: Columns, area_m2: float | None) -> tuple[Column, Column, Column]:
    absolute, density = (
        (CHARGE_UNITS, CHARGE_DENSITY_UNITS) if columns.kind == "charge" else (CURRENT_UNITS, CURRENT_DENSITY_UNITS)
    )
    time = declared(columns.time, "time", columns.time_unit, TIME_UNITS)
    voltage = declared(columns.voltage, "voltage", columns.voltage_unit, VOLTAGE_UNITS)
    response = declared(columns.response, columns.kind, columns.response_unit, absolute | density)
    if area_m2 is not None and not area_m2 > 0:
        raise InputError(f"the area must be positive, not {area_m2:g} m^2")
    if response.unit in absolute:
        if area_m2 is None:
            raise InputError(f"a {columns.kind} in {response.unit} needs the electrode's area: --area in m^2, e.g. 25p")
        response = replace(response, scale=response.scale / area_m2)
    return time, voltage, response
