"""A measured FeCAP record: time, voltage, and charge or current or both, of any file that a reader knows.

A P-V loop, a PUND sequence or a pulse train is one record: whatever voltage was applied, and what flowed. Nothing is
guessed: units come from the file or from the caller, columns from the caller where several could be meant. A record
without times needs the frequency of its voltage; its samples are then taken as equally spaced. Samples at which the
amplifier was clipped are found and marked, for their value is known to be wrong; they stay in the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.measured.columns import pick
from bruno_spice.calibration.measured.noise import SMALLEST_NOISE, without_noise
from bruno_spice.calibration.measured.recognise import MeasuredFile, read_file
from bruno_spice.calibration.measured.record import Asked, Column, Record
from bruno_spice.calibration.measured.timing import times
from bruno_spice.calibration.measured.units import (
    CHARGE_DENSITY_UNITS,
    CHARGE_UNITS,
    CURRENT_DENSITY_UNITS,
    CURRENT_UNITS,
    TIME_UNITS,
    VOLTAGE_UNITS,
    Declared,
    declared,
)
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.tables import same_name
from bruno_spice.devices.units import format_si

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_SAMPLES = 20
CLIPPED_SAMPLES = 4


@dataclass(frozen=True)
class Columns:
    """Which columns of a record to take, in which units; `None` for what the file says.

    `response` is the charge's or the current's column, `kind` which of them; without either, the charge is taken where
    the record has one, else the current. `units` are those of ``--unit``, by column.
    """

    time: str | None = None
    voltage: str | None = None
    response: str | None = None
    kind: Literal["charge", "current"] | None = None
    time_unit: str | None = None
    voltage_unit: str | None = None
    response_unit: str | None = None
    current: str | None = None
    """The current's column beside a charge, where both count."""
    current_unit: str | None = None
    units: Mapping[str, Declared] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FeCAPMeasurement:
    """`time_s`, `voltage_v` and `response` (n,): charge in C/m^2 or current in A/m^2; `clipped` (n,) marks samples.

    `drive_v` (n,) is the voltage without its noise. Of a record with both, `response` is the charge and `current_a_m2`
    (n,) the current, and both count in a fit.
    """

    time_s: Array
    voltage_v: Array
    response: Array
    kind: Literal["charge", "current"]
    clipped: Mask = field(repr=False)
    drive_v: Array = field(repr=False)
    current_a_m2: Array | None = None
    source: str = "measurement"
    read_as: tuple[str, ...] = ()
    """What was recognised about the file, where it is not plain."""
    known: Mapping[str, float] = field(default_factory=dict)
    """What is known of the film, by the netlist's parameter: ``tfe`` in m, ``tempk``, and the electrode's ``area``."""
    summary: Mapping[str, float] = field(default_factory=dict)
    """The tester's own numbers of the record (`Record.summary`)."""
    name: str = ""
    """What the file calls the record."""
    region_s: tuple[float, float] | None = None
    """First and last time in s of the samples that a fit compares; `None` for all."""

    @property
    def inside(self) -> Mask:
        """The samples (n,) within `region_s`."""
        first, last = self.region_s or (-np.inf, np.inf)
        return np.asarray((self.time_s >= first) & (self.time_s <= last))

    def runs(self, count: int) -> NDArray[np.int_]:
        """Which of `count` runs of neighbouring samples of the region each sample (n,) is in."""
        place = np.cumsum(self.inside) - 1
        return np.asarray(np.maximum(place, 0) * count // (place[-1] + 1))

    @property
    def unit(self) -> str:
        """Unit of `response`."""
        return "C/m^2" if self.kind == "charge" else "A/m^2"

    @property
    def span(self) -> float:
        """Largest minus smallest response."""
        return float(np.ptp(self.response))

    @property
    def signals(self) -> list[tuple[Literal["charge", "current"], Array]]:
        """What was measured: kind and values (n,), the response first."""
        second: list[tuple[Literal["charge", "current"], Array]] = (
            [] if self.current_a_m2 is None else [("current", self.current_a_m2)]
        )
        return [(self.kind, self.response), *second]


def read_measurement(
    path: Path | str,
    columns: Columns,
    area_m2: float | None,
    reader: str | None = None,
    record: int | None = None,
    frequency_hz: float | None = None,
) -> FeCAPMeasurement:
    """Record number `record` of the file at `path`, as `reader` (in `READERS`, or ``file.py:function``) reads it.

    Without a reader the file says what it is. `area_m2` (default: the file's) turns charge and current into densities;
    only units that are densities already go without it. `frequency_hz` is that of the voltage of a record without
    times. Raises `InputError` for a missing or unknown unit or column, one that the file contradicts, a value that is
    no number, times that do not increase, several records of which none is chosen.
    """
    if area_m2 is not None and not area_m2 > 0:
        raise InputError(f"the area must be positive, not {area_m2:g} m^2")
    asked = _asked(columns)
    found, named = read_file(path, asked, reader), bool(asked.columns)
    chosen = found.record(record)
    where = printable(str(path))
    time = _time(chosen, columns, frequency_hz, where)
    voltage = pick(chosen, ("voltage",), columns.voltage, "voltage", VOLTAGE_UNITS, where)
    area = area_m2 or chosen.area_m2
    kind, response, factor = _response(chosen, columns, area, where)
    second = _second(chosen, columns, kind, area, where)
    if frequency_hz is not None or isinstance(time, str):
        if not isinstance(time, str):
            raise InputError(f"{where}: the record has times, in column {shown(time.name)}; leave out --frequency")
        time_s, how = times(voltage.values, frequency_hz or chosen.frequency_hz, where)
    else:
        time_s, how = time.values, ""
    made = measurement(time_s, voltage.values, factor * response.values, kind, str(path), second)
    taken = (voltage, response, *chosen.of("current")[:1]) if second is not None else (voltage, response)
    said = (*_said(found, chosen, taken, named), *([how] if how else []), *made.read_as)
    known = {"tfe": chosen.thickness_m, "tempk": chosen.temperature_k, "area": area}
    return replace(
        made,
        read_as=said,
        known={name: value for name, value in known.items() if value is not None},
        summary=chosen.summary,
        name=chosen.name,
    )


def measurement(
    time_s: Array,
    voltage_v: Array,
    response: Array,
    kind: Literal["charge", "current"],
    source: str = "measurement",
    current_a_m2: Array | None = None,
) -> FeCAPMeasurement:
    """A checked record of arrays (n,) in s, V and C/m^2 or A/m^2; time is counted from its first sample.

    `current_a_m2` is the current beside a charge. The record says whether a noisy voltage was smoothed (`read_as`).
    """
    if time_s.size < FEWEST_SAMPLES:
        raise InputError(f"{source}: {time_s.size} samples are too few to fit a FeCAP to; at least {FEWEST_SAMPLES}")
    late = np.flatnonzero(np.diff(time_s) <= 0)
    if late.size:
        row = int(late[0]) + 2
        raise InputError(f"{source}: time must increase, but data row {row} does not come after the row before it")
    if not np.ptp(voltage_v) > 0 or not np.ptp(response) > 0:
        raise InputError(f"{source}: the voltage or the {kind} never changes; are the right columns named?")
    clipped = clipped_samples(voltage_v, response)
    drive_v, noise_v, window = without_noise(voltage_v)
    said = (
        f"the voltage has {format_si(noise_v, 'V')} of noise: what drives the model is smoothed over {window} samples"
        if window > 1
        else f"the voltage is {format_si(noise_v, 'V')} off straight lines from sample to sample, by noise or for it "
        "has few samples, and drives the model as it is: smoothing would cut its corners"
    )
    return FeCAPMeasurement(
        time_s=time_s - time_s[0],
        voltage_v=voltage_v,
        response=response,
        kind=kind,
        clipped=clipped,
        drive_v=drive_v,
        current_a_m2=current_a_m2,
        source=source,
        read_as=(said,) if noise_v > SMALLEST_NOISE * np.ptp(voltage_v) else (),
    )


def within(measured: FeCAPMeasurement, region_s: tuple[float, float] | None) -> FeCAPMeasurement:
    """`measured`, of which a fit compares the samples from the first to the last time of `region_s` alone.

    The film feels the whole drive all the same. Raises `InputError` where too few samples are left.
    """
    found = replace(measured, region_s=region_s)
    if (count := int(found.inside.sum())) < FEWEST_SAMPLES:
        first, last = region_s or (0.0, 0.0)
        raise InputError(
            f"{printable(measured.source)}: {count} samples between {format_si(first, 's')} and {format_si(last, 's')} "
            f"are too few to fit a FeCAP to; at least {FEWEST_SAMPLES}"
        )
    return found


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


def _asked(columns: Columns) -> Asked:
    """What to ask the reader for; raises `InputError` for a unit that is none of what its column is."""
    known = dict(columns.units)
    response = (
        CHARGE_UNITS | CHARGE_DENSITY_UNITS if columns.kind == "charge" else CURRENT_UNITS | CURRENT_DENSITY_UNITS
    )
    for name, what, unit, units in (
        (columns.time, "time", columns.time_unit, TIME_UNITS),
        (columns.voltage, "voltage", columns.voltage_unit, VOLTAGE_UNITS),
        (columns.response, str(columns.kind), columns.response_unit, response),
        (columns.current, "current", columns.current_unit, CURRENT_UNITS | CURRENT_DENSITY_UNITS),
    ):
        if unit is not None:
            if name is None:
                raise InputError(f"--{what}-unit is for the column that --{what} names; name it, too")
            known[same_name(name)] = declared(what, unit, units)
    named = (columns.time, columns.voltage, columns.response)
    return Asked(known, tuple(name for name in (*named, columns.current) if name) if all(named) else ())


def _time(record: Record, columns: Columns, frequency_hz: float | None, where: str) -> Column | str:
    """The column of times, or a text where the record has none."""
    if columns.time is None and not record.of("time"):
        if frequency_hz or record.frequency_hz:
            return "none"
        raise InputError(
            f"{where}: the record has no column of times; name it with --time and --time-unit, or give the frequency "
            "of its voltage, whose samples are then taken as equally spaced: --frequency, e.g. 1k"
        )
    return pick(record, ("time",), columns.time, "time", TIME_UNITS, where)


def _response(
    record: Record, columns: Columns, area_m2: float | None, where: str
) -> tuple[Literal["charge", "current"], Column, float]:
    """Charge or current, its column, and the factor to a density."""
    kind = columns.kind or ("charge" if record.of("charge density") or record.of("charge") else "current")
    units = CHARGE_UNITS | CHARGE_DENSITY_UNITS if kind == "charge" else CURRENT_UNITS | CURRENT_DENSITY_UNITS
    found = pick(record, (f"{kind} density", kind), columns.response, kind, units, where)
    if found.what != kind:
        return kind, found, 1.0
    if area_m2 is None:
        unit = columns.response_unit or found.unit
        raise InputError(f"{where}: a {kind} in {unit} needs the electrode's area: --area in m^2, e.g. 25p")
    return kind, found, 1 / area_m2


def _second(record: Record, columns: Columns, kind: str, area_m2: float | None, where: str) -> Array | None:
    """The current density beside a charge: of the column that is named, and of pulses where only one column is it."""
    there = [*record.of("current density"), *record.of("current")]
    if columns.current is None and (kind == "current" or columns.kind or record.kind != "pulses" or len(there) != 1):
        return None
    asked = replace(columns, kind="current", response=columns.current, response_unit=columns.current_unit)
    _, found, factor = _response(record, asked, area_m2, where)
    return factor * found.values


def _said(found: MeasuredFile, record: Record, taken: tuple[Column, ...], named: bool) -> tuple[str, ...]:
    """What was recognised, and what was taken where the caller did not name it."""
    if found.format == "table" and named:
        return found.said
    columns = f"columns {' and '.join(printable(each.name) for each in taken)}"
    if found.format == "table" and len(found.records) == 1:
        return (columns, *found.said, *record.notes)
    number = found.records.index(record) + 1
    which = f"record {number} of {len(found.records)}, {printable(record.name or record.kind)}"
    return (found.title, which, columns, *found.said, *record.notes)
