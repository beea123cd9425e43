"""A measured membrane trace on the page Neuron: read as `bruno fit neuron` reads it, and the card held against it."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.measured.choice import Choice as Chosen
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.calibration.neuron.validation import between_spikes
from bruno_spice.calibration.traces.reading import Columns, Trace, read_trace
from bruno_spice.calibration.workbench.page import Drawing, Line, Role
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.files import is_file
from bruno_spice.devices.tables import read_plain_csv
from bruno_spice.devices.units import format_si, parse_spice_number
from bruno_spice.devices.waveform import Waveform

STIMULUS = {"time_s", "i_syn_a"}
OURS = ("time_s=s", "v_mem_v=V", "i_syn_a=A")


def holds_a_trace(path: Path) -> bool:
    """Whether `path` is to be read as a trace: it has more columns than a stimulus, or is no plain table at all."""
    try:
        return not set(read_plain_csv(path, missing="no such file").columns) <= STIMULUS
    except BrunoError:
        return True


def measured_trace(place: Place, state: State) -> Trace:
    """The trace that is chosen. Raises `InputError` as reading it does."""
    name = state.choices.get("file", "")
    if not name:
        raise InputError("choose or upload a membrane trace: a table or a tester's file with time, voltage and current")
    path = place.path(name)
    texts = {key: state.choices.get(key, "").strip() for key in ("record", "time", "voltage", "current", "unit")}
    record = int(texts["record"]) if texts["record"].isdecimal() and len(texts["record"]) < 9 else None
    current = texts["current"]
    given = bool(current) and (_is_number(current) or is_file(place.root / current))
    if given and not _is_number(current):
        place.path(current)
    changed = (place.root / path).stat().st_mtime_ns
    return _read(path, changed, record, texts["time"], texts["voltage"], current, given, texts["unit"])


@lru_cache(maxsize=8)
def _read(
    path: Path, _changed: int, record: int | None, time: str, voltage: str, current: str, given: bool, units: str
) -> Trace:
    ours = not units and _is_ours(path)
    columns = Columns(
        time=time or ("time_s" if ours else None),
        voltage=voltage or ("v_mem_v" if ours else None),
        current=None if given else current or ("i_syn_a" if ours else None),
        units=declared_units([*OURS] if ours else units.split()),
    )
    return read_trace(Chosen(path, record), columns, current if given else None)


def _is_ours(path: Path) -> bool:
    """Whether `path` is a waveform as `bruno simulate` writes it, whose columns say their units in their names."""
    try:
        return {each.partition("=")[0] for each in OURS} <= set(read_plain_csv(path, missing="no such file").columns)
    except BrunoError:
        return False


def _is_number(text: str) -> bool:
    try:
        parse_spice_number(text)
    except InputError:
        return False
    return True


def against(recording: Recording, wave: Waveform, region_s: tuple[float, float] | None, dead_time_s: float) -> Drawing:
    """The trace, the card's `wave` minus it in mV, and their rms within `region_s`.

    The dead times behind spikes are left out, as `bruno fit neuron` does: a reset within one sampling interval says
    nothing of a membrane.
    """
    measured = recording.spice
    here = measured.time_s <= wave.time_s[-1]
    time_s, trace_v = measured.time_s[here], measured["v_mem_v"][here]
    left_v = wave.resampled(time_s)["v_mem_v"] - trace_v
    spikes = measured.spike_times_s
    between = between_spikes(time_s, np.concatenate([spikes, wave.spike_times_s]), dead_time_s)
    lines: dict[tuple[str, Role], Line] = {
        ("membrane", "measured"): (1e3 * time_s, trace_v),
        ("left", "left"): (1e3 * time_s, np.where(between, 1e3 * left_v, np.nan)),
    }
    if recording.knows_polarization:
        lines["film", "measured"] = (1e3 * time_s, measured["polarization"][here])
    low, high = region_s or (0.0, np.inf)
    counts = between & (time_s >= low) & (time_s <= high)
    numbers: dict[str, dict[Role, str]] = {
        "spikes": {"measured": str(spikes.size)},
        "first spike": {"measured": format_si(float(spikes[0]), "s", 5) if spikes.size else "none"},
    }
    if not counts.any():
        return Drawing(lines, numbers)
    rms_v = float(np.sqrt(np.mean(left_v[counts] ** 2)))
    numbers["rms to the trace"] = {"model": format_si(rms_v, "V", 3)}
    return Drawing(lines, numbers, rms_v / float(np.ptp(trace_v) or 1.0))
