"""The page FeCAP: a film's P-V loop, PUND and switching kinetics, and a measured record over them.

The model is the compiled twin of models/fecap.lib, the simulator runs the netlist; the fit is that of `bruno fit
fecap`, the benches are those of `bruno simulate fecap`.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bruno_spice.calibration.benches.fecap import (
    FECAP_NETLIST,
    BenchResult,
    Engine,
    kinetics,
    pund,
    pv_waves,
    simulate_fecaps,
    twin_fecaps,
)
from bruno_spice.calibration.circuits.measures import loop_numbers
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist, Param
from bruno_spice.calibration.workbench.page import (
    Choice,
    Drawing,
    Fitted,
    Knob,
    Line,
    Page,
    Panel,
    Progress,
    Role,
    Saved,
    chosen,
    counted,
    joined,
    sets,
    value_of,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.limits import LIMITS
from bruno_spice.devices.files import write_atomic

if TYPE_CHECKING:
    from bruno_spice.calibration.workbench.record import MeasuredFilm

UC_CM2 = 100.0
"""µC/cm² in 1 C/m^2."""
BOUNDS = {"tfe": (1e-9, 1e-6), "tdl": (0.0, 5e-9), "epsdl": (1.0, 200.0), "tempk": (150.0, 500.0)}
"""Of what no fit moves."""
NO_FILM = ("vamp", "freq", "area")
BY_RECORD = ("s0", "cycles")
"""What every fit finds of a record for itself: state before it, and how often its drive came before it."""
DRIVE = {
    "pv": (
        Knob("amplitude", "V", "of the triangle", 3.0, 0.2, 10.0, "Drive", limits=(0.01, 100.0)),
        Knob("frequency", "Hz", "of the triangle", 1e3, 1.0, 1e6, "Drive", limits=(1e-3, 1e12)),
    ),
    "pund": (
        Knob("amplitude", "V", "of the pulses", 2.5, 0.2, 10.0, "Drive", limits=(0.01, 100.0)),
        Knob("width", "s", "of the pulses", 1e-4, 1e-7, 1e-2, "Drive", limits=(1e-8, 1.0)),
    ),
    "kinetics": (),
    "measured": (
        Knob(
            "cycles",
            "1",
            "times the record's drive went over the film before it",
            0,
            0,
            8,
            "Drive",
            limits=(0, 8),
            whole=True,
        ),
    ),
}
AMPLITUDES_V, WIDTHS_S = (1.0, 1.5, 2.5), tuple(np.logspace(-7, -2, 6))
SUFFIXES = frozenset({".dat", ".csv", ".tsv", ".txt", ".xls", ".raw", ".mdm", ".tran"})
VIEWS = (("pv", "P–V loop"), ("pund", "PUND"), ("kinetics", "Kinetics"))
SETS = "fecap.set"


class FeCAPPage(Page):
    """Tune and fit a film."""

    name: ClassVar[str] = "fecap"
    title: ClassVar[str] = "FeCAP"
    intro: ClassVar[str] = "A ferroelectric capacitor: the compiled film, its netlist in SPICE, and a measured record."
    takes_files: ClassVar[str] = "a tester's file or a table: a P–V loop, a PUND sequence, pulses"

    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """View, file and record, and what the file does not say itself."""
        file = state.choices.get("file", "")
        found = [
            Choice("view", "View", "pv", (*VIEWS, *((("measured", "Measured"),) if file else ()))),
            Choice("file", "Measured file", "", hint="a file in this folder"),
        ]
        if file:
            found += [
                Choice("record", "Record", "1", _records(place, state)),
                Choice("area", "Electrode area (m²)", "", hint="25p"),
                Choice("unit", "Units of columns", "", hint="v=V q=uC/cm2"),
                Choice("record_hz", "Frequency (Hz)", "", hint="1k, without times"),
            ]
        return found

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """The library's parameters, from what the file says of the film, and the drive."""
        view = state.choices.get("view", "pv")
        return [*_film_knobs(_known(place, state), self.netlist(state, place)), *DRIVE.get(view, ())]

    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """A loop and its current; charge over time; charge over width; or the record with its residual."""
        view = state.choices.get("view", "pv")
        loop = Panel("loop", "Polarization against voltage", "voltage (V)", "charge (µC/cm²)")
        if view == "pv":
            return [loop, Panel("current", "Current against voltage", "voltage (V)", "current (A/cm²)", low=True)]
        if view == "pund":
            return [
                Panel("time", "PUND: charge against time", "time (µs)", "charge (µC/cm²)", x_scale=1e-6),
                Panel("drive", "Drive", "time (µs)", "voltage (V)", x_scale=1e-6, low=True),
            ]
        if view == "kinetics":
            switched = "charge that a pulse switches (µC/cm²)"
            return [Panel("width", "Kinetics at 1, 1.5 and 2.5 V", "pulse width (s)", switched, log_x=True)]
        try:
            record = _film_record(place, state)
        except InputError:  # `model` says why
            return [loop]
        axis, scale = record.time_axis
        y = f"{record.kind} ({record.unit})"
        return [
            Panel("loop", record.title, "voltage (V)", y),
            Panel("time", "Against time", axis, y, x_scale=scale, region="s",
                  low=True),
            Panel("left", "Model minus measured", axis, f"difference ({record.unit})", x_scale=scale, low=True),
        ]  # fmt: skip

    def netlist(self, state: State, place: Place) -> str:
        """The library's, in the testbench of loops."""
        return Netlist.load(FECAP_NETLIST).sha256()

    def opens_with(self, place: Place) -> Sequence[str] | None:
        """The netlist."""
        return [self.netlist(State(), place)]

    def model(self, state: State, place: Place, spice: Drawing | None) -> Drawing:
        """By the compiled twin."""
        values, view = self._values(state, place)
        if view == "measured":
            return _film_record(place, state).drawing("model", values, None)
        return _bench(view, values, twin_fecaps, Farm(store=None), "model")

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """By the netlist."""
        values, view = self._values(state, place)
        farm = counted(place.farm(FECAP_NETLIST), progress)
        if view == "measured":
            drawing = _film_record(place, state).drawing("spice", values, farm)
        else:
            drawing = _bench(view, values, simulate_fecaps, farm, "spice")
        return replace(drawing, simulator=farm.simulator)

    def fit(self, state: State, place: Place, folder: Path, progress: Progress) -> Fitted:
        """As `bruno fit fecap` does."""
        from bruno_spice.calibration.fecap.films import Asked, fit_films, write_films
        from bruno_spice.calibration.fecap.result import notes

        if not state.choices.get("file"):
            raise InputError("choose or upload a measured file first; a fit needs one")
        state = self.file_chosen(state, state.choices["file"])
        record = _film_record(place, state)
        known = self._known(state)
        shared = {name: value for name, value in known.items() if name not in state.free}
        free = [name for name in state.free if name != "cycles"] or None
        asked = Asked([record.measured(state.region)], [record.name], 1, shared, free=free)
        farm = place.farm(FECAP_NETLIST)

        def report(stage: str, evaluations: int, rms: float) -> None:
            progress(f"{stage}: {evaluations} evaluations, rms {100 * rms:.3f} % of the span")

        found = fit_films(asked, farm, report)
        written = write_films(folder, found, [record.name], [], farm.simulator)
        one = found.only
        values = {**found.fit.values, "s0": one.own.get("s0", found.values["s0"]), "cycles": float(one.cycles_before)}
        doubt = (f"not to be believed: {found.doubt}",) if found.doubt else ()
        words = [*record.options(state), *sets(shared)]
        words += ["--free", ",".join(free)] if free else []
        words += ["--region", ":".join(map(repr, state.region))] if state.region else []
        command = shlex.join(
            ["bruno", "fit", "fecap", *words, "--simulator", place.simulator, "--out", str(_out(place))]
        )
        return Fitted(
            values,
            (
                *doubt,
                f"rms {100 * found.rms_of_span:.2f} % of the span in {farm.simulator}",
                *notes(found),
            ),
            command,
            folder,
            tuple(path.name for path in written),
            state.choices,
        )

    def save(self, state: State, place: Place, fitted: Fitted | None) -> Saved:
        """What the fit's command writes, and the line that puts the film into a neuron's circuit."""
        film = {**dict(_known(place, state)), **self._known(state)}
        then = shlex.join(["bruno", "calibrate", "neuron", *sets(film), "--out", str(_out(place).parent / "cards")])
        paths = [write_atomic(place.root / _out(place) / SETS, then + "\n")]
        for name in fitted.files if fitted is not None else ():
            assert fitted is not None
            paths.append(write_atomic(place.root / _out(place) / name, (fitted.folder / name).read_bytes()))
        return Saved(tuple(paths), fitted.command if fitted is not None else then, then if fitted is not None else "")

    def file_chosen(self, state: State, name: str) -> State:
        """The record over the film, of the file's first."""
        kept = {key: text for key, text in state.choices.items() if key in ("area", "unit", "record_hz", "record")}
        if name != state.choices.get("file"):
            kept.pop("record", None)
        return replace(state, choices={**kept, "file": name, "view": "measured"})

    def _values(self, state: State, place: Place) -> tuple[dict[str, float], str]:
        view = chosen(self.choices(state, place), state)["view"]
        return value_of(self.knobs(state, place), state), view

    def _known(self, state: State) -> dict[str, float]:
        """What was set of the film."""
        names = library()
        return {n: float(state.values[n]) for n in names if n in state.values and n not in BY_RECORD}


def _film_record(place: Place, state: State) -> "MeasuredFilm":
    from bruno_spice.calibration.workbench.record import film_record  # lmfit and readers of files, for whom they are

    return film_record(place, state)


def _records(place: Place, state: State) -> tuple[tuple[str, str], ...]:
    """Of the file; of one that cannot be read, nothing is to choose, and `model` says why."""
    from bruno_spice.calibration.workbench.record import record_names

    try:
        return tuple((str(n), f"{n}: {name}") for n, name in enumerate(record_names(place, state), 1))
    except InputError:
        return ()


def _known(place: Place, state: State) -> tuple[tuple[str, float], ...]:
    """What the file says of the film, in every view; of one that cannot be read nothing, and `model` says why."""
    if not state.choices.get("file"):
        return ()
    try:
        return tuple(_film_record(place, state).known.items())
    except InputError:
        return ()


def library() -> dict[str, Param]:
    """The film's parameters."""
    found = Netlist.load(FECAP_NETLIST).params
    return {name: p for name, p in found.items() if name not in NO_FILM and p.value is not None}


@lru_cache(maxsize=8)
def _film_knobs(known: tuple[tuple[str, float], ...], _sha256: str) -> list[Knob]:
    from bruno_spice.calibration.fecap.candidates import CANDIDATES

    knobs = []
    for name, param in library().items():
        start = dict(known).get(name, float(param.value or 0.0))
        low, high = (CANDIDATES[name][0].min, CANDIDATES[name][0].max) if name in CANDIDATES else BOUNDS[name]
        free = name in CANDIDATES
        knobs.append(Knob(name, param.unit, param.comment, start, low, high, "Film", free, LIMITS[name]))
    return knobs


def _bench(view: str, values: Mapping[str, float], engine: Engine, farm: Farm, role: Role) -> Drawing:
    """One of the benches, as lines and numbers."""
    film = {name: value for name, value in values.items() if name not in ("amplitude", "frequency", "width", "cycles")}
    lines: dict[tuple[str, Role], Line] = {}
    if view == "pv":
        (loop,) = pv_waves([(values["amplitude"], values["frequency"])], film, farm=farm, engine=engine)
        time_s, voltage, charge = loop.time_s, loop["voltage_v"], loop["charge_c_m2"]
        lines["loop", role] = (voltage, UC_CM2 * charge)
        once = np.concatenate([[True], np.diff(time_s) > 0])
        lines["current", role] = (voltage[once], 1e-4 * np.gradient(charge[once], time_s[once]))
        of_loop = loop_numbers(voltage, charge)
        numbers = {
            "Pr": f"{UC_CM2 * of_loop.pr_c_m2:.3f} µC/cm²",
            "Vc+": f"{of_loop.vc_plus_v:.3f} V",
            "Vc−": f"{of_loop.vc_minus_v:.3f} V",
        }
    elif view == "pund":
        found = pund([(values["amplitude"], values["width"])], film, farm=farm, engine=engine)
        time_s, voltage, charge = _columns(found, "time_s", "voltage_v", "charge_c_m2")
        lines["time", role], lines["drive", role] = (1e6 * time_s, UC_CM2 * charge), (1e6 * time_s, voltage)
        row = found.numbers.iloc[0]
        numbers = {
            "P − U": f"{UC_CM2 * row['p_minus_u_c_m2']:.3f} µC/cm²",
            "N − D": f"{UC_CM2 * row['n_minus_d_c_m2']:.3f} µC/cm²",
        }
    else:
        found = kinetics(AMPLITUDES_V, WIDTHS_S, film, farm=farm, engine=engine)
        parts = [part for _, part in found.traces.groupby("amplitude_v")]
        lines["width", role] = joined(
            [(part["width_s"].to_numpy(), UC_CM2 * part["charge_c_m2"].to_numpy()) for part in parts]
        )
        numbers = {
            f"half switched at {row.amplitude_v:g} V": f"{row.t_half_s:.3g} s" for row in found.numbers.itertuples()
        }
    return Drawing(lines, {label: {role: text} for label, text in numbers.items()})


def _columns(found: BenchResult, *names: str) -> tuple[np.ndarray, ...]:
    return tuple(found.traces[name].to_numpy() for name in names)


def _out(place: Place) -> Path:
    return place.out.relative_to(place.root) / "fecap"


PAGE = FeCAPPage()
