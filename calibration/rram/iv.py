"""JART parameters from a measured I-V record, SET and RESET: the netlist itself is fitted, in a simulator.

The measured voltage over time drives the deck's Vbl (positive sets); its current through Vcell is compared with the
measured one, small currents and large ones alike:

    r = asinh(I_model / I_0) - asinh(I / I_0),   I_0 = 1e-3 max |I|

which is a relative error above I_0 and an absolute one below. Free are parameters of the deck, by a factor of `WITHIN`
around its value or within bounds of the caller's. Points where the current stands at the deck's
limit say nothing of the cell and weigh nothing by themselves: both are the limit there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS
from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.fitting.least_squares import Fit, Free, best_fit
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Array, Asked
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR, new_figure
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable
from bruno_spice.devices.units import parse_spice_number

WITHIN = 3.0
"""Factor around the deck's value that a parameter may move by where the caller says no more."""
SMALLEST = 1e-3
"""I_0 over the largest current."""
MOST_POINTS = 400
"""Of the record, evenly spread."""
STEP = 0.01
"""Of the finite differences, relative: a cell switches within one sample, which a smaller step may not see."""
AfterEvaluation = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class IVRecord:
    """A measured sweep (n,): times in s from 0, voltage on the bit line in V and current in A, positive for SET."""

    time_s: Array
    voltage_v: Array
    current_a: Array


@dataclass(frozen=True, eq=False)
class IVFit:
    """What `fit_iv` found: the fit, and the netlist's current (n,) in A at the samples."""

    fit: Fit
    units: dict[str, str]
    record: IVRecord
    current_a: Array
    rms: float
    """Of r, about a relative error."""


def read_iv(path: Path, record: int | None = None) -> IVRecord:
    """The record in the file at `path` that has one time, one voltage and one current. Raises `InputError`."""
    where, found = printable(str(path)), read_file(path, Asked()).record(record)
    columns = {}
    for what in ("time", "voltage", "current"):
        if len(those := found.of(what)) != 1:
            raise InputError(
                f"{where}: {len(those)} columns are a {what} by their unit; an I-V record has one time, one voltage, "
                "one current"
            )
        columns[what] = those[0].values
    time_s = columns["time"] - columns["time"][0]
    if np.any(np.diff(time_s) <= 0.0) or time_s.size < 10 or not columns["current"].any():
        raise InputError(f"{where}: an I-V record has ten samples or more, in rising time, and a current")
    return IVRecord(time_s, columns["voltage"], columns["current"])


def free_parameters(asked: Sequence[str], deck: Netlist) -> list[Free]:
    """``NAME`` or ``NAME=LOW:HIGH`` of `asked` as free parameters of `deck`. Raises `InputError`."""
    found = []
    for text in asked:
        name, _, bounds = text.partition("=")
        if name not in deck.params:
            raise NetlistError(unknown_name(name, deck.params, f"{deck.path}: there is no .param"))
        start = deck.params[name].value
        if start is None or start <= 0.0:
            raise NetlistError(f"{deck.path}: .param {name} is no positive number to start from")
        low, high = start / WITHIN, start * WITHIN
        if bounds:
            try:
                low, high = (parse_spice_number(each) for each in bounds.split(":"))
            except (ValueError, InputError):
                raise InputError(f"--free {text}: write NAME=LOW:HIGH with two numbers") from None
        if not 0.0 < low < start < high:
            raise InputError(f"--free {text}: the deck's {start:g} must lie between two bounds above 0")
        found.append(Free(name, start, low, high, start))
    return found


def fit_iv(
    record: IVRecord,
    deck: Netlist,
    free: Sequence[Free],
    farm: Farm | None = None,
    after: AfterEvaluation | None = None,
) -> IVFit:
    """Fit the `free` parameters of `deck` to `record`; `after` hears the evaluations and the rms so far.

    Raises `NetlistError` for a deck without Vbl and Vcell, `SimulationError` where the start cannot be simulated. A
    result that is not to be believed says so (`Fit.doubt`).
    """
    for name in ("Vbl", "Vcell"):
        deck.element(name)
    at = np.unique(np.linspace(0, record.time_s.size - 1, MOST_POINTS).round().astype(int))
    scale_a = SMALLEST * float(np.abs(record.current_a).max())
    measured = np.arcsinh(record.current_a[at] / scale_a)

    def current_a(values: Mapping[str, float], time_s: Array) -> Array:
        longest_s = float(record.time_s[-1]) / MOST_POINTS
        driven = deck.with_params(values).with_source("Vbl", *_from_nothing(record)).with_tran(None, longest_s)
        raw = run_jobs([transient_job(driven, RRAM_VECTORS, float(record.time_s[-1]))], farm)[0]
        return np.asarray(np.interp(time_s, raw.time_s, raw["i(vcell)"]))

    def residual(values: Mapping[str, float]) -> Array:
        return np.asarray(np.arcsinh(current_a(values, record.time_s[at]) / scale_a) - measured)

    def told(count: int, out: Array) -> None:
        if after is not None:
            after(count, float(np.sqrt(np.mean(out**2))))

    found = best_fit(residual, free, what="I-V fit", step=STEP, tolerance=1e-4, max_evaluations=200, progress=told)
    units = {name: param.unit for name, param in deck.params.items()}
    rms = float(np.sqrt(np.mean(found.residual**2)))
    return IVFit(found, units, record, current_a(found.values, record.time_s), rms)


def _from_nothing(record: IVRecord) -> tuple[Array, Array]:
    """Drive of the bit line, which starts at 0 V so that the cell rests before time begins."""
    voltage_v = record.voltage_v.copy()
    voltage_v[0] = 0.0
    return record.time_s, voltage_v


def iv_figure(found: IVFit) -> Figure:
    """Currents against voltage in magnitude, the measured ones broad and grey, the netlist's over them."""
    figure = new_figure(size=(7.6, 5.4))
    axes, record = figure.axes[0], found.record
    for current_a, colour, width, label in (
        (record.current_a, SPICE_COLOUR, 3.5, "measured"),
        (found.current_a, MODEL_COLOUR, 1.4, "netlist, fitted"),
    ):
        axes.plot(record.voltage_v, np.abs(current_a), color=colour, lw=width, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.3 * SMALLEST * float(np.abs(record.current_a).max()))
    axes.xaxis.set_major_formatter(EngFormatter("V"))
    axes.yaxis.set_major_formatter(EngFormatter("A"))
    axes.set_xlabel("voltage, positive sets")
    axes.set_ylabel("size of the current")
    axes.legend(fontsize=11)
    return figure


def iv_param(found: IVFit) -> str:
    """The fitted values as ``.param`` lines, to paste into the testbench or to include behind its own."""
    doubt = f"* NOT TO BE BELIEVED: {found.fit.doubt}\n" if found.fit.doubt else ""
    lines = [f".param {name}={value:.6g}    ; [{found.units[name]}]" for name, value in found.fit.values.items()]
    return "* fitted by bruno fit rram --netlist\n" + doubt + "\n".join(lines) + "\n"
