"""A measured record on the page FeCAP: read as `bruno fit fecap` reads it, compared as its fit compares it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bruno_spice.calibration.fecap.measurement import Columns, FeCAPMeasurement, read_measurement, within
from bruno_spice.calibration.fecap.problem import Problem, rms
from bruno_spice.calibration.measured.choice import Choice as Chosen
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Asked
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.workbench.page import Drawing, Line, Role
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import parse_spice_number

OPTIONS = {"area": "area", "frequency": "record_hz"}
"""Of `bruno fit fecap`, by what the page calls them; its sliders have a frequency, too."""
SCALES = {"charge": ("µC/cm²", 100.0), "current": ("A/cm²", 1e-4)}
AXES = ((1.0, "time (s)"), (1e-3, "time (ms)"), (1e-6, "time (µs)"), (1e-9, "time (ns)"))


@dataclass(frozen=True, eq=False)
class MeasuredFilm:
    """One record of a file: as measured, and the names of all records of the file."""

    measurement: FeCAPMeasurement
    records: tuple[str, ...]
    name: str
    region: tuple[float, float] | None

    @property
    def kind(self) -> str:
        """Charge or current."""
        return self.measurement.kind

    @property
    def unit(self) -> str:
        """Of the figure."""
        return SCALES[self.kind][0]

    @property
    def title(self) -> str:
        """What the file calls the record."""
        return self.measurement.name or self.name

    @property
    def known(self) -> dict[str, float]:
        """What the file says of the film, by the library's parameter."""
        return {name: value for name, value in self.measurement.known.items() if name != "area"}

    @property
    def time_axis(self) -> tuple[str, float]:
        """Label and scale of the time."""
        end_s = float(self.measurement.time_s[-1])
        scale, label = next((each for each in AXES if end_s >= each[0]), AXES[-1])
        return label, scale

    def measured(self, region: tuple[float, float] | None) -> FeCAPMeasurement:
        """For a fit of `region`."""
        return self.measurement if region is None else within(self.measurement, region)

    def options(self, state: State) -> list[str]:
        """What `bruno fit fecap` is told of the file."""
        words = [state.choices["file"]]
        if len(self.records) > 1:
            words += ["--record", state.choices.get("record", "1")]
        words += [word for unit in state.choices.get("unit", "").split() for word in ("--unit", unit)]
        for name, choice in OPTIONS.items():
            if text := state.choices.get(choice, "").strip():
                words += [f"--{name}", text]
        return words

    def drawing(self, role: Role, values: Mapping[str, float], farm: Farm | None) -> Drawing:
        """The film's answer to the record's voltage: of the twin, or with a `farm` of the netlist."""
        film = {name: value for name, value in values.items() if name not in ("s0", "cycles", "tempk")}
        own = {"s0": values["s0"], "tempk": values["tempk"]}
        if (area := self.measurement.known.get("area")) is not None:
            own["area"] = area
        problem = Problem.build([self.measured(self.region)], film, [], None, [own]).after(round(values["cycles"]))
        (answer,) = problem.twin({}) if farm is None else problem.spice({}, farm)
        part, scale = problem.parts[0], SCALES[self.kind][1]
        m, n = self.measurement, self.measurement.time_s.size
        difference = part.compared(answer, False)
        axis, here = m.time_s / self.time_axis[1], scale * (m.response + difference[:n])
        lines: dict[tuple[str, Role], Line] = {("loop", role): (m.voltage_v, here), ("time", role): (axis, here)}
        left = np.where(part.used[:n], scale * difference[:n], np.nan)
        if role == "model":
            lines["left", "left"] = (axis, left)
            lines["loop", "measured"] = (m.voltage_v, scale * m.response)
            lines["time", "measured"] = (axis, scale * m.response)
        share = rms((difference / part.scale)[part.used])
        numbers: dict[str, dict[Role, str]] = {"rms to the record": {role: f"{100 * share:.2f} % of the span"}}
        return Drawing(lines, numbers, share if role == "model" else None, m.read_as if role == "model" else ())


def film_record(place: Place, state: State) -> MeasuredFilm:
    """The record that is chosen. Raises `InputError` as reading a file does."""
    path, changed, units, record = _asked(place, state)
    names = record_names(place, state)
    number = record if len(names) > 1 else None
    if not 0 < record <= len(names):
        raise InputError(f"{path}: there is no record {record}; there are {len(names)}")
    area, frequency = (state.choices.get(choice, "").strip() for choice in OPTIONS.values())
    measurement = _measurement(path, changed, number, area, units, frequency)
    return MeasuredFilm(measurement, names, str(Chosen(path, number)), state.region)


def record_names(place: Place, state: State) -> tuple[str, ...]:
    """What the records of the chosen file are called. Raises `InputError` as reading a file does."""
    path, changed, units, _ = _asked(place, state)
    return _names(path, changed, units)


def _asked(place: Place, state: State) -> tuple[Path, int, str, int]:
    path = place.path(state.choices.get("file", ""))
    record = state.choices.get("record", "1").strip()
    number = int(record) if record.isdecimal() and len(record) < 9 else 0
    return path, (place.root / path).stat().st_mtime_ns, state.choices.get("unit", "").strip(), number


@lru_cache(maxsize=16)
def _names(path: Path, _changed: int, units: str) -> tuple[str, ...]:
    records = read_file(path, Asked(declared_units(units.split()))).records
    return tuple(f"{each.name or each.kind}, {each.points} samples" for each in records)


@lru_cache(maxsize=16)
def _measurement(
    path: Path, _changed: int, number: int | None, area: str, units: str, frequency: str
) -> FeCAPMeasurement:
    columns = Columns(units=declared_units(units.split()))
    area_m2, frequency_hz = (parse_spice_number(text) if text else None for text in (area, frequency))
    return read_measurement(path, columns, area_m2, None, number, frequency_hz)
