"""The FeCAP bench: what one does to a ferroelectric capacitor on a probe station, in ngspice.

Each bench drives the deck ``fecap_pv.cir`` with its own piecewise linear voltage (source ``Vdrive``) and reads
the terminal charge per area, ``v(q)``, as an electrometer would. Results are tables whose column names carry units.
The compiled twin of the library answers the same drives (`twin_fecaps` as a bench's `engine`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.around import fecap_deck, refuse_unscaled
from bruno_spice.calibration.circuits.experiments import NETLISTS
from bruno_spice.calibration.circuits.measures import forc_density, loop_numbers, pulse_charges
from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import transient_job
from bruno_spice.devices.waveform import Waveform

if TYPE_CHECKING:
    import pandas as pd

FECAP_NETLIST = NETLISTS / "testbenches" / "fecap_pv.cir"
FILM_NETLIST = NETLISTS / "testbenches" / "fecap_film.cir"
"""The same with the optional terms of fecap_film.lib."""
FECAP_VECTORS = ("v(drive)", "v(pn)", "v(q)", "i(vsense)")
PRESET_V, PRESET_S = 3.0, 100e-6
WHOLLY_SET = -0.98
"""Polarization that a preset must have brought a film to."""
SAMPLES_PER_CYCLE = 1000
FINE_GROUPS = 64
"""For reversal curves and minor loops, in which single groups show."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeCAPRun:
    """One drive: `voltage_v` over `time_s` (n,), linear between points, steps of at most `t_max_s`."""

    time_s: Array
    voltage_v: Array
    t_max_s: float | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchResult:
    """What a bench leaves: samples (a row each) and extracted numbers (a row for each condition)."""

    name: str
    traces: "pd.DataFrame"
    numbers: "pd.DataFrame"


def simulate_fecaps(
    runs: Sequence[FeCAPRun], netlist: Path | str = FECAP_NETLIST, farm: Farm | None = None
) -> list[Waveform]:
    """Waveforms with ``voltage_v``, ``current_a``, ``charge_c_m2`` (terminal) and ``polarization`` (-1...1)."""
    deck = fecap_deck(netlist)
    jobs = []
    for run in runs:
        driven = deck.with_params(run.overrides).with_source("Vdrive", run.time_s, run.voltage_v)
        jobs.append(transient_job(driven.with_tran(None, run.t_max_s), FECAP_VECTORS, float(run.time_s[-1])))
    raws = run_jobs(jobs, farm)
    for raw, job in zip(raws, jobs, strict=True):
        refuse_unscaled(raw, job)
    names = dict(zip(FECAP_VECTORS, ("voltage_v", "polarization", "charge_c_m2", "current_a"), strict=True))
    return [Waveform(raw.time_s, {names[name]: signal for name, signal in raw.signals.items()}) for raw in raws]


def twin_fecaps(
    runs: Sequence[FeCAPRun], netlist: Path | str = FECAP_NETLIST, farm: Farm | None = None
) -> list[Waveform]:
    """As `simulate_fecaps`, by the compiled twin of fecap.lib with the values of `netlist`, which needs no `farm`.

    Signals: ``voltage_v``, ``charge_c_m2``, ``polarization``; samples as dense as the run's longest step.
    """
    from bruno_spice.devices.fecap.film import charge_and_polarization  # compiled: for whom it is

    known = {name: float(p.value) for name, p in fecap_deck(netlist).params.items() if p.value is not None}
    waves = []
    for run in runs:
        time_s = run.time_s
        if run.t_max_s is not None:
            time_s = np.union1d(time_s, np.arange(0.0, time_s[-1], run.t_max_s))
        voltage_v = np.interp(time_s, run.time_s, run.voltage_v)
        charge, polarization = charge_and_polarization(time_s, voltage_v, {**known, **run.overrides})
        signals = {"voltage_v": voltage_v, "charge_c_m2": charge, "polarization": polarization}
        waves.append(Waveform(time_s, signals))
    return waves


Engine = Callable[[Sequence[FeCAPRun], Path | str, Farm | None], list[Waveform]]
"""What answers the drives of a bench: `simulate_fecaps` or `twin_fecaps`."""


def pv_loops(
    amplitudes_v: Sequence[float] = (1.5, 2.0, 3.0),
    frequencies_hz: Sequence[float] = (100.0, 1e3, 1e4),
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
    engine: Engine = simulate_fecaps,
) -> BenchResult:
    """P-V loops at every amplitude and frequency: the second cycle of a triangle, after one that conditions."""
    conditions = [(a, f) for a in amplitudes_v for f in frequencies_hz]
    traces, numbers = [], []
    loops = pv_waves(conditions, overrides, netlist, farm, engine)
    for (amplitude, frequency), loop in zip(conditions, loops, strict=True):
        keys = {"amplitude_v": amplitude, "frequency_hz": frequency}
        traces.append(_table(keys | {"time_s": loop.time_s, **loop.signals}))
        numbers.append(keys | _loop_row(loop))
    return BenchResult("pv", _stacked(traces), _table(numbers))


def pv_waves(
    conditions: Sequence[tuple[float, float]],
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
    engine: Engine = simulate_fecaps,
) -> list[Waveform]:
    """The loops of `pv_loops`, one for each (amplitude V, frequency Hz), without a table."""
    runs = [_triangle(a, f, overrides) for a, f in conditions]
    return [_second_cycle(wave, f) for (_, f), wave in zip(conditions, engine(runs, netlist, farm), strict=True)]


def minor_loops(
    amplitudes_v: Sequence[float] = (0.9, 1.1, 1.3, 1.5, 1.8, 2.2, 3.0),
    frequency_hz: float = 1e3,
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """Nested minor loops: one drive whose triangle grows from cycle to cycle, two cycles at each amplitude."""
    quarter = 0.25 / frequency_hz
    voltage = np.array([0.0] + [sign * a for a in amplitudes_v for sign in (1, -1, 1, -1)] + [0.0])
    steps = np.abs(np.diff(voltage)) / np.abs(voltage).max() * quarter
    time = np.concatenate([[0.0], np.cumsum(steps)])
    run = FeCAPRun(time, voltage, quarter / SAMPLES_PER_CYCLE * 4, _fine(netlist, overrides))
    wave = simulate_fecaps([run], netlist, farm)[0]
    traces, numbers = [], []
    for k, amplitude in enumerate(amplitudes_v):
        start, stop = time[4 * k + 2], time[4 * k + 4]
        loop = _between(wave, start, stop)
        traces.append(_table({"amplitude_v": amplitude, "time_s": loop.time_s, **loop.signals}))
        numbers.append({"amplitude_v": amplitude, **_loop_row(loop)})
    return BenchResult("minor", _stacked(traces), _table(numbers))


def pund(
    conditions: Sequence[tuple[float, float]] = ((2.5, 100e-6), (1.5, 100e-6), (2.5, 1e-6)),
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
    engine: Engine = simulate_fecaps,
) -> BenchResult:
    """PUND at every (amplitude V, width s): a negative preset, then P, U, N, D with edges of a tenth of the width."""
    runs, edges = [], []
    for amplitude, width in conditions:
        levels = [(-PRESET_V, PRESET_S)] + [(sign * amplitude, width) for sign in (1, 1, -1, -1)]
        time, voltage, starts = pulses(levels, edge_s=0.1 * width, gap_s=width)
        runs.append(FeCAPRun(time, voltage, width / 20, overrides or {}))
        edges.append((starts, np.append(starts[1:], time[-1])))
    traces, numbers = [], []
    for (amplitude, width), wave, (starts, ends) in zip(conditions, engine(runs, netlist, farm), edges, strict=True):
        keys = {"amplitude_v": amplitude, "width_s": width}
        refuse_unset(wave, starts[1])
        _, p, u, n, d = pulse_charges(wave.time_s, wave["charge_c_m2"], starts, ends)
        traces.append(_table(keys | {"time_s": wave.time_s, **wave.signals}))
        numbers.append(
            keys
            | {"p_c_m2": p, "u_c_m2": u, "n_c_m2": n, "d_c_m2": d, "p_minus_u_c_m2": p - u, "n_minus_d_c_m2": n - d}
        )
    return BenchResult("pund", _stacked(traces), _table(numbers))


def kinetics(
    amplitudes_v: Sequence[float] = (1.0, 1.25, 1.5, 2.0, 2.5),
    widths_s: Sequence[float] = tuple(np.logspace(-7, -2, 11)),
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
    engine: Engine = simulate_fecaps,
) -> BenchResult:
    """Switched charge against pulse width and amplitude, each pulse on a freshly preset film.

    ``switched_fraction`` is the charge that stays after the pulse over that of a complete reversal, 2 Ps.
    """
    conditions = [(a, w) for a in amplitudes_v for w in widths_s]
    runs, edges = [], []
    for amplitude, width in conditions:
        time, voltage, starts = pulses(
            [(-PRESET_V, PRESET_S), (amplitude, width)], edge_s=min(0.1 * width, 1e-6), gap_s=5e-6
        )
        runs.append(FeCAPRun(time, voltage, None, overrides or {}))
        edges.append((starts[1:], time[-1:]))
    rows = []
    waves = engine(runs, netlist, farm)
    for (amplitude, width), wave, (starts, ends) in zip(conditions, waves, edges, strict=True):
        refuse_unset(wave, starts[0])
        before, after = np.interp([starts[0], ends[0]], wave.time_s, wave["polarization"])
        rows.append(
            {
                "amplitude_v": amplitude,
                "width_s": width,
                "charge_c_m2": pulse_charges(wave.time_s, wave["charge_c_m2"], starts, ends)[0],
                "switched_fraction": (after - before) / 2,
            }
        )
    table = _table(rows)
    half = [
        {"amplitude_v": a, "t_half_s": _half_time(part["width_s"], part["switched_fraction"])}
        for a, part in table.groupby("amplitude_v")
    ]
    return BenchResult("kinetics", table, _table(half))


def forc(
    reversals: int = 31,
    v_max_v: float = 2.5,
    frequency_hz: float = 100.0,
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """First-order reversal curves: from +v_max down to each reversal voltage and up again, all at one ramp rate.

    The traces are the density map (``reversal_v``, ``voltage_v``, ``charge_c_m2``, ``density_c_m2_v2``); the numbers
    its integral (half the switched charge) and its centre in coercive and offset voltage.
    """
    rate = 4 * v_max_v * frequency_hz
    reversal = np.linspace(v_max_v, -v_max_v, reversals + 2)[1:-1][::-1]
    runs = []
    for turn in reversal:
        voltage = np.array([0.0, -v_max_v, v_max_v, turn, v_max_v])
        time = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(voltage)) / rate)])
        runs.append(FeCAPRun(time, voltage, 2 * v_max_v / rate / 400, _fine(netlist, overrides)))
    grid = np.linspace(-v_max_v, v_max_v, 4 * reversals + 1)
    charge = np.full((reversals, grid.size), np.nan)
    for row, (turn, run, wave) in enumerate(zip(reversal, runs, simulate_fecaps(runs, netlist, farm), strict=True)):
        up = _between(wave, run.time_s[3], run.time_s[4])
        above = grid >= turn
        charge[row, above] = np.interp(grid[above], up["voltage_v"], up["charge_c_m2"])
    density = forc_density(grid, reversal, charge)
    turns, volts = np.meshgrid(reversal, grid, indexing="ij")
    table = _table(
        {
            "reversal_v": turns.ravel(),
            "voltage_v": volts.ravel(),
            "charge_c_m2": charge.ravel(),
            "density_c_m2_v2": density.ravel(),
        }
    )
    weight = np.nan_to_num(density)
    cell = (grid[1] - grid[0]) * (reversal[1] - reversal[0])
    numbers = {
        "integral_c_m2": weight.sum() * cell,
        "coercive_v": float((weight * (volts - turns) / 2).sum() / weight.sum()),
        "offset_v": float((weight * (volts + turns) / 2).sum() / weight.sum()),
    }
    return BenchResult("forc", table, _table([numbers]))


def temperature(
    temperatures_k: Sequence[float] = (250.0, 300.0, 350.0, 400.0),
    amplitude_v: float = 3.0,
    frequency_hz: float = 1e3,
    overrides: Mapping[str, float] | None = None,
    netlist: Path | str = FECAP_NETLIST,
    farm: Farm | None = None,
) -> BenchResult:
    """P-V loops over temperature; the activation field follows (300 K/T)^(1/n)."""
    runs = [_triangle(amplitude_v, frequency_hz, {**(overrides or {}), "tempk": t}) for t in temperatures_k]
    traces, numbers = [], []
    for t, wave in zip(temperatures_k, simulate_fecaps(runs, netlist, farm), strict=True):
        loop = _second_cycle(wave, frequency_hz)
        traces.append(_table({"temperature_k": t, "time_s": loop.time_s, **loop.signals}))
        numbers.append({"temperature_k": t, **_loop_row(loop)})
    return BenchResult("temperature", _stacked(traces), _table(numbers))


BENCHES: dict[str, Callable[..., BenchResult]] = {
    "pv": pv_loops,
    "minor": minor_loops,
    "pund": pund,
    "kinetics": kinetics,
    "forc": forc,
    "temperature": temperature,
}


def pulses(levels: Sequence[tuple[float, float]], edge_s: float, gap_s: float) -> tuple[Array, Array, Array]:
    """Time and voltage (n,) of rectangular pulses (level V, width s) with ramped edges, and the start of each pulse."""
    times, volts, starts = [0.0], [0.0], []
    for level, width in levels:
        starts.append(times[-1] + gap_s)
        for step, value in ((gap_s, 0.0), (edge_s, level), (width, level), (edge_s, 0.0)):
            times.append(times[-1] + step)
            volts.append(value)
    times.append(times[-1] + gap_s)
    volts.append(0.0)
    return np.array(times), np.array(volts), np.array(starts)


def _table(columns: Any) -> "pd.DataFrame":
    import pandas as pd  # a third of a second, which a page that shows one loop does not wait for

    return pd.DataFrame(columns)


def _stacked(tables: "Sequence[pd.DataFrame]") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


def _fine(netlist: Path | str, overrides: Mapping[str, float] | None) -> dict[str, float]:
    """`overrides`, with many groups where they do not say how many and the film is that of fecap.lib."""
    many = {"groups": FINE_GROUPS} if fecap_deck(netlist).has_groups else {}
    return many | dict(overrides or {})


def refuse_unset(wave: Waveform, time_s: float) -> None:
    """Raise `SimulationError` where the film is not wholly negative at `time_s`, behind the preset."""
    found = float(np.interp(time_s, wave.time_s, wave["polarization"]))
    if found > WHOLLY_SET:
        raise SimulationError(
            f"the preset of {-PRESET_V:g} V for {PRESET_S * 1e6:g} us leaves the film at a polarization of {found:.2g} "
            "instead of -1, and what is measured behind it starts elsewhere; let the film start there, with s0=-1"
        )


def _triangle(amplitude_v: float, frequency_hz: float, overrides: Mapping[str, float] | None) -> FeCAPRun:
    time = np.array([0.0, 0.25, 0.75, 1.25, 1.75, 2.0]) / frequency_hz
    voltage = amplitude_v * np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])
    return FeCAPRun(time, voltage, 1 / (SAMPLES_PER_CYCLE * frequency_hz), overrides or {})


def _second_cycle(wave: Waveform, frequency_hz: float) -> Waveform:
    return _between(wave, 0.75 / frequency_hz, 1.75 / frequency_hz)


def _between(wave: Waveform, start_s: float, stop_s: float) -> Waveform:
    inner = wave.time_s[(wave.time_s > start_s) & (wave.time_s < stop_s)]
    return wave.resampled(np.concatenate([[start_s], inner, [stop_s]]))


def _loop_row(loop: Waveform) -> dict[str, float]:
    found = loop_numbers(loop["voltage_v"], loop["charge_c_m2"])
    return {
        "pr_c_m2": found.pr_c_m2,
        "vc_plus_v": found.vc_plus_v,
        "vc_minus_v": found.vc_minus_v,
        "vc_v": found.vc_v,
        "ps_c_m2": found.ps_c_m2,
        "imprint_v": found.imprint_v,
    }


def _half_time(widths_s: "pd.Series[float]", fractions: "pd.Series[float]") -> float:
    """Pulse width that switches half the film, log-interpolated; NaN outside the measured widths."""
    widths, switched = np.log(widths_s.to_numpy()), fractions.to_numpy()
    if not switched.min() < 0.5 < switched.max():
        return float("nan")
    return float(np.exp(np.interp(0.5, switched, widths)))
