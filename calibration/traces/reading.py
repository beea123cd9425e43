"""A membrane trace of a file as a `Recording`: time and voltage, the current that drove it, and where it spiked.

Nothing is guessed. Columns are those that are named, or the only one of that quantity; units come from the file or
from the caller. The current stands in a column, or is given: a constant, or a file of its own with times. Time is
counted from the first sample, or from where the current sets in (`calibration.traces.current`). A record begins at
rest: of a film that is under way nobody knows the polarization.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.measured.choice import Choice
from bruno_spice.calibration.measured.columns import pick
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Asked, Column, Record
from bruno_spice.calibration.measured.units import CURRENT_UNITS, TIME_UNITS, VOLTAGE_UNITS, Declared
from bruno_spice.calibration.traces.current import Drive, constant, drive
from bruno_spice.calibration.traces.spikes import capacitance_f, falls, output_spikes, threshold_spikes, trace_noise
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import is_file
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.units import format_si, parse_spice_number
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]

FEWEST_SAMPLES = 200
AT_REST = 0.1
"""Of the top: how far from 0 V a record may begin."""
NOISE_AT_REST, NOISY = 4.0, 1e-3
"""Of the noise: how far from 0 V a membrane at rest may seem to be. Of the swing: the least that counts as noise."""
LAST = 9
COARSE = 0.02
"""Of the way to the first spike: the largest sampling interval."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a record to take; None for the only one of its quantity, and for what there is not.

    - `time`, `voltage`: of the membrane.
    - `current`: into the membrane; the name of a column.
    - `spike`: output of the neuron, whose swing says when it spikes.
    - `polarization`: P/Ps of the film, -1 to 1, where a simulator gives it.
    - `units`: of columns to which the file gives none.
    - `threshold_v`: the membrane spikes where it crosses this upwards.
    - `inverted`: the current counts out of the membrane.
    """

    time: str | None = None
    voltage: str | None = None
    current: str | None = None
    spike: str | None = None
    polarization: str | None = None
    units: Mapping[str, Declared] = field(default_factory=dict)
    threshold_v: float | None = None
    inverted: bool = False


@dataclass(frozen=True, eq=False)
class Trace:
    """A record as a `recording`, which `path` of a file it comes from, and what was made of it, in words."""

    recording: Recording
    path: Path
    said: tuple[str, ...]

    @property
    def name(self) -> str:
        """As figures and tables call it."""
        return self.recording.stimulus.name


def read_trace(choice: Choice, columns: Columns, current: str | None = None, reader: str | None = None) -> Trace:
    """The record that `choice` names; `current` is a constant in A or a file, where the record has no column of it.

    Raises `InputError` in one sentence: for a file that cannot be read, a column that is not told apart, a record
    without its current, or one that does not begin at rest.
    """
    where = printable(str(choice))
    found = read_file(choice.path, Asked(columns.units), reader)
    record = found.record(choice.record)
    time = pick(record, ("time",), columns.time, "time", TIME_UNITS, where, has_unit_option=False)
    named = [name for name in (columns.spike, columns.polarization) if name]
    rest = replace(record, columns=tuple(each for each in record.columns if each.name not in named))
    voltage = pick(rest, ("voltage",), columns.voltage, "voltage", VOLTAGE_UNITS, where, has_unit_option=False)
    time_s = _increasing(time.values, where)
    given = _given_drive(current, columns, where)
    if given is None:
        source = _current(record, columns, where)
        given = drive(time_s, (-1.0 if columns.inverted else 1.0) * source.values, where)
    return _trace(choice, record, found.said, time_s, voltage.values, given, columns)


def _trace(
    choice: Choice, record: Record, said: tuple[str, ...], time_s: Array, v: Array, given: Drive, columns: Columns
) -> Trace:
    where = printable(str(choice))
    inside = time_s >= given.starts_s
    if inside.sum() < FEWEST_SAMPLES:
        raise InputError(f"{where}: {inside.sum()} samples under current are too few to fit; at least {FEWEST_SAMPLES}")
    raw_v, time, v = v, time_s[inside] - given.starts_s, v[inside]
    end = given.stimulus.time_s[-1]
    if end < 0.5 * time[-1] and given.stimulus.time_s.size > 2:
        raise InputError(f"{where}: its current ends at {format_si(float(end), 's')}, before the trace does")
    signals: dict[str, Array] = {}
    if columns.polarization is not None:
        signals["polarization"] = _polarization(record, columns.polarization, where)[inside]
    if (capacitance_f(time, v, given.stimulus) or 1.0) <= 0:
        raise InputError(
            f"{where}: the membrane rises while its current takes charge away; if it counts out of the membrane say "
            "so: --invert-current"
        )
    edges = falls(time, v, given.stimulus)
    if columns.spike is not None:
        output = pick(record, ("voltage",), columns.spike, "spike", VOLTAGE_UNITS, where, has_unit_option=False)
        spikes = output_spikes(time, output.values[inside])
    elif columns.threshold_v is not None:
        spikes = threshold_spikes(time, v, columns.threshold_v)
    else:
        spikes = time[[top for top, _ in edges]]
    noise_v = trace_noise(time, v)
    v = _with_tops(time, v, edges, noise_v)
    if spikes.size and int(np.searchsorted(time, spikes[0])) * COARSE < 1:
        raise InputError(
            f"{where}: only {np.searchsorted(time, spikes[0])} samples up to the first spike; record at least "
            f"{1 / COARSE:.0f}, at a higher rate"
        )
    v[0] = before if (before := _resting(v[0], noise_v, time_s, given, raw_v)) is not None else v[0]
    top = float(v.max())
    if "polarization" not in signals and abs(v[0]) > AT_REST * max(top, 0.0):
        raise InputError(
            f"{where}: begins with the membrane at {v[0]:.3g} V, so that nobody knows what the film holds there; let "
            "the record begin at rest, before the current sets in"
        )
    stimulus = replace(given.stimulus, name=_title(choice, given))
    if noise_v > NOISY * np.ptp(v):
        said = (*said, f"noise of {format_si(noise_v, 'V')}")
    wave = Waveform(time, {"i_syn_a": stimulus.at(time), "v_mem_v": v, **signals}, spikes)
    count = f"{spikes.size} spike{'' if spikes.size == 1 else 's'}"
    return Trace(Recording(stimulus, wave), choice.path, (*said, *record.notes, given.said, count))


def _resting(v_start: float, noise_v: float, time_s: Array, given: Drive, v: Array) -> float | None:
    """Where the membrane rests: its mean before the current sets in, or 0 V where it begins there but for noise."""
    lead = time_s < given.starts_s
    if lead.any():
        return float(v[lead].mean())
    return 0.0 if abs(v_start) < NOISE_AT_REST * noise_v else None


def _title(choice: Choice, given: Drive) -> str:
    about = f", {format_si(float(given.stimulus.i_syn_a[-1]), 'A')}" if given.stimulus.time_s.size == 2 else ""
    return f"{printable(str(choice))}{about}"


def _increasing(time_s: Array, where: str) -> Array:
    """`time_s` from 0 on. Raises `InputError` where it does not increase; equal ones, as of simulators, are parted."""
    late = np.flatnonzero(np.diff(time_s) < 0)
    if late.size:
        raise InputError(f"{where}: time must increase, but data row {late[0] + 2} comes before the row above it")
    same = np.flatnonzero(np.diff(time_s) == 0)
    if same.size:
        raise InputError(f"{where}: time must increase, but data row {same[0] + 2} has the time of the row above it")
    return time_s - time_s[0]


def _given_drive(current: str | None, columns: Columns, where: str) -> Drive | None:
    """What ``--current`` says, where it is no column: a constant or a file."""
    if current is None:
        return None
    sign = -1.0 if columns.inverted else 1.0
    if is_file(Path(current)):
        beside = read_file(current, Asked(columns.units))
        record = beside.record(None)
        name = printable(current)
        time = pick(record, ("time",), None, "time", TIME_UNITS, name, has_unit_option=False)
        values = pick(record, ("current",), None, "current", CURRENT_UNITS, name, has_unit_option=False)
        return drive(_increasing(time.values, name), sign * values.values, where)
    return constant(sign * float(parse_spice_number(current)), where)


def _current(record: Record, columns: Columns, where: str) -> Column:
    if columns.current is None and not record.of("current"):
        there = ", ".join(printable(each.name) for each in record.columns[:20])
        raise InputError(
            f"{where}: of {there}, none is known to be the current that drives the membrane; give it as a constant "
            "(--current 308p), as a file with times (--current drive.csv), or name its column and unit "
            "(--current COLUMN --unit COLUMN=nA)"
        )
    return pick(record, ("current",), columns.current, "current", CURRENT_UNITS, where, has_unit_option=False)


def _polarization(record: Record, name: str, where: str) -> Array:
    """P/Ps of the column `name`, whatever unit a simulator gives it. Raises `InputError` beyond -1 to 1."""
    found = [each for each in record.columns if name in (each.name, each.full_name)]
    if not found:
        raise InputError(f"{where}: the record has no column {shown(name)} for the polarization")
    values = found[0].values
    if np.abs(values).max() > 1.05:
        raise InputError(f"{where}: column {shown(name)} reaches {np.abs(values).max():.3g}; P/Ps lies within -1 to 1")
    return values


def _with_tops(time_s: Array, v: Array, edges: list[tuple[int, int]], noise_v: float) -> Array:
    """`v` with the line through the last `LAST` samples before each spike as its value there, where there is noise.

    The threshold is read off these; elsewhere noise stays, since every way to smooth it bends what the fit looks at.
    """
    out = v.copy()
    if noise_v > NOISY * np.ptp(v):
        for top, _ in edges:
            last = slice(max(top + 1 - LAST, 0), top + 1)
            _, at_top = np.polyfit(time_s[last] - time_s[top], v[last], 1)
            out[top] = at_top
    return out
