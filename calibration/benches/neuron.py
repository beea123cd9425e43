"""The neuron bench: current sweep, pulse trains, coincidence, inhibition, parameter effects, convergence.

Every bench takes the netlist, so the behavioural circuit (level A, `NEURON_NETLIST`) and the transistor circuit
(level B, `NEURON_CMOS_NETLIST`) see the same stimuli. Results are tables whose column names carry units.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bruno_spice.calibration.benches.convergence import spike_convergence
from bruno_spice.calibration.benches.fecap import BenchResult
from bruno_spice.calibration.benches.tolerance import tolerance_convergence
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.drive import scale_of, spike_charge_c
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NEURON_NETLIST,
    NEURON_VECTORS,
    NeuronRun,
    neuron_jobs,
    neuron_waveform,
    simulate_neurons,
)
from bruno_spice.calibration.circuits.measures import energy_j, first_spike_and_period
from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

NEURON_CMOS_NETLIST = NETLISTS / "testbenches" / "neuron_cmos.cir"
LEVELS = {"a": NEURON_NETLIST, "b": NEURON_CMOS_NETLIST}
PUBLISHED_CHARGE_C = 13.2e-12
"""Charge to the spike of the paper's neuron, 2 A Ps + C Vth: sets how long a DC run must be.

Another circuit's is measured, and the benches' currents are scaled with it where they are not given.
"""
SWEEP_A = (60e-12, 120e-12, 308e-12, 800e-12, 2e-9, 5e-9, 12e-9, 28e-9)
RISE_S = 10e-6


def current_sweep(
    currents_a: Sequence[float] | None = None,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    spikes: int = 2,
    farm: Farm | None = None,
) -> BenchResult:
    """First spike, period, rate and energy per spike from the supply at each DC current.

    Energy counts what the supply source delivers between two spikes; level A models no supply current but its
    mirrors', so only level B's is meant to be read.
    """
    values = overrides or {}
    scale, charge_c = _scale_and_charge(netlist, values, farm)
    currents_a = [scale * i for i in SWEEP_A] if currents_a is None else currents_a
    runs = [
        NeuronRun(Stimulus.dc(i), (spikes + 0.25) * (charge_c / max(i - 9e-12, 1e-12) + 3.5e-4), values)
        for i in currents_a
    ]
    traces, numbers = [], []
    jobs, farm = neuron_jobs(runs, netlist, (*NEURON_VECTORS, "i(vsupply)")), farm or Farm()
    for run, job, raw in zip(runs, jobs, run_jobs(jobs, farm), strict=True):
        wave = neuron_waveform(raw, run.stimulus, job, farm)
        current = float(run.stimulus.i_syn_a[-1])
        first, period = first_spike_and_period(wave.spike_times_s)
        energy = float("nan")
        if wave.spike_times_s.size > 1:
            start, stop = wave.spike_times_s[[0, -1]]
            intervals = wave.spike_times_s.size - 1
            energy = energy_j(raw.time_s, raw["v(vdd)"], -raw["i(vsupply)"], start, stop) / intervals
        traces.append(_frame({"i_dc_a": current}, wave))
        numbers.append(
            {
                "i_dc_a": current,
                "first_spike_s": first,
                "period_s": period,
                "rate_hz": 1 / period,
                "energy_per_spike_j": energy,
            }
        )
    return BenchResult("sweep", pd.concat(traces, ignore_index=True), pd.DataFrame(numbers))


def pulse_trains(
    rates_hz: Sequence[float] = (100.0, 200.0, 400.0, 800.0),
    amplitude_a: float | None = None,
    width_s: float = 1e-3,
    duration_s: float = 60e-3,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> BenchResult:
    """Spikes out against current pulses (10 nA) in, at several rates; pulses that would overlap merge."""
    if amplitude_a is None:
        amplitude_a = 10e-9 * _scale_and_charge(netlist, overrides or {}, farm)[0]
    runs = [
        NeuronRun(
            _bursts(np.arange(0, duration_s, 1 / rate), amplitude_a, min(width_s, 1 / rate)),
            duration_s,
            overrides or {},
        )
        for rate in rates_hz
    ]
    waves = simulate_neurons(runs, netlist, farm)
    traces = [_frame({"rate_in_hz": rate}, wave) for rate, wave in zip(rates_hz, waves, strict=True)]
    numbers = [
        {
            "rate_in_hz": rate,
            "charge_in_c": amplitude_a * min(width_s, 1 / rate) * rate * duration_s,
            "spikes": wave.spike_times_s.size,
            "rate_out_hz": wave.spike_times_s.size / duration_s,
        }
        for rate, wave in zip(rates_hz, waves, strict=True)
    ]
    return BenchResult("trains", pd.concat(traces, ignore_index=True), pd.DataFrame(numbers))


def coincidence(
    gaps_s: Sequence[float] = (1e-3, 10e-3, 30e-3, 50e-3, 100e-3),
    burst_a: float | None = None,
    width_s: float = 1e-3,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> BenchResult:
    """Two bursts with a gap between them: does the second still make the neuron spike?

    A burst brings half a spike's charge (6.75 nA). The membrane voltage leaks away within milliseconds, the
    polarization stays: that is the memory seen here.
    """
    if burst_a is None:
        burst_a = 6.75e-9 / PUBLISHED_CHARGE_C * _scale_and_charge(netlist, overrides or {}, farm)[1]
    runs = [
        NeuronRun(_bursts(np.array([0.0, width_s + gap]), burst_a, width_s), gap + 3 * width_s, overrides or {})
        for gap in gaps_s
    ]
    waves = simulate_neurons(runs, netlist, farm)
    traces, numbers = [], []
    for gap, wave in zip(gaps_s, waves, strict=True):
        before = wave.resampled([width_s + gap])
        traces.append(_frame({"gap_s": gap}, wave))
        numbers.append(
            {
                "gap_s": gap,
                "v_mem_before_v": before["v_mem_v"][0],
                "polarization_before": before["polarization"][0],
                "spikes": wave.spike_times_s.size,
            }
        )
    return BenchResult("coincidence", pd.concat(traces, ignore_index=True), pd.DataFrame(numbers))


def inhibition(
    inhibition_a: Sequence[float] | None = None,
    excitation_a: float | None = None,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> BenchResult:
    """Excitation (3 nA) with every second millisecond replaced by inhibition: spikes, floor, charge lost."""
    scale, _ = _scale_and_charge(netlist, overrides or {}, farm)
    excitation_a = 3e-9 * scale if excitation_a is None else excitation_a
    if inhibition_a is None:
        inhibition_a = [scale * i for i in (0.0, -0.5e-9, -1e-9, -2e-9, -5e-9)]
    steps = 30
    runs = []
    for current in inhibition_a:
        levels = np.where(np.arange(steps) % 2 == 0, excitation_a, current)
        runs.append(NeuronRun(Stimulus.steps(levels, name=f"inhibition {current:g} A"), steps * 1e-3, overrides or {}))
    waves = simulate_neurons(runs, netlist, farm)
    traces = [_frame({"inhibition_a": i}, wave) for i, wave in zip(inhibition_a, waves, strict=True)]
    numbers = [
        {
            "inhibition_a": i,
            "first_spike_s": first_spike_and_period(wave.spike_times_s)[0],
            "spikes": wave.spike_times_s.size,
            "v_mem_min_v": wave["v_mem_v"].min(),
        }
        for i, wave in zip(inhibition_a, waves, strict=True)
    ]
    return BenchResult("inhibition", pd.concat(traces, ignore_index=True), pd.DataFrame(numbers))


def parameter_effects(
    factors: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.2),
    names: Sequence[str] = ("vth", "area", "ileak", "ps", "ea"),
    current_a: float | None = None,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> BenchResult:
    """First spike and period at 2 nA while one deck parameter at a time is scaled by each of `factors`.

    Raises `NetlistError` where the deck gives one of `names` no number.
    """
    base = dict(overrides or {})
    nominal = _numbers(neuron_deck(netlist).with_params(base), names)
    conditions = [(name, factor) for name in names for factor in factors]
    scale, charge_c = _scale_and_charge(netlist, base, farm)
    current_a = 2e-9 * scale if current_a is None else current_a
    stop = 2.8 * charge_c * max(factors) / current_a
    runs = [
        NeuronRun(Stimulus.dc(current_a), stop, base | {name: factor * nominal[name]}) for name, factor in conditions
    ]
    waves = simulate_neurons(runs, netlist, farm)
    traces, numbers = [], []
    for (name, factor), wave in zip(conditions, waves, strict=True):
        first, period = first_spike_and_period(wave.spike_times_s)
        traces.append(_frame({"parameter": name, "factor": factor}, wave))
        numbers.append({"parameter": name, "factor": factor, "first_spike_s": first, "period_s": period})
    return BenchResult("effects", pd.concat(traces, ignore_index=True), pd.DataFrame(numbers))


BENCHES: dict[str, Callable[..., BenchResult]] = {
    "sweep": current_sweep,
    "trains": pulse_trains,
    "coincidence": coincidence,
    "inhibition": inhibition,
    "effects": parameter_effects,
    "convergence": spike_convergence,
    "tolerance": tolerance_convergence,
}


def _scale_and_charge(netlist: Path | str, overrides: Mapping[str, float], farm: Farm | None) -> tuple[float, float]:
    """The factor on the benches' currents, and the charge of a spike in C; known of the project's own circuits."""
    if not overrides and Path(netlist) in LEVELS.values():
        return 1.0, PUBLISHED_CHARGE_C
    charge_c = spike_charge_c(netlist, overrides, farm)
    return scale_of(charge_c), charge_c


def _bursts(starts_s: np.ndarray, amplitude_a: float, width_s: float) -> Stimulus:
    """Current pulses that start at `starts_s`; edges of 10 us, but pulses that touch run into one another."""
    edge = min(RISE_S, width_s / 10)
    edges = np.stack([starts_s, starts_s + edge, starts_s + width_s - edge, starts_s + width_s], axis=1).ravel()
    levels = np.tile([0.0, amplitude_a, amplitude_a, 0.0], starts_s.size)
    keep = np.concatenate([[True], np.diff(edges) > 1e-9])
    return Stimulus(edges[keep], levels[keep], name=f"{starts_s.size} bursts of {amplitude_a:g} A")


def _frame(keys: Mapping[str, float | str], wave: Waveform) -> pd.DataFrame:
    return pd.DataFrame({**keys, "time_s": wave.time_s, **wave.signals})


def _numbers(deck: Netlist, names: Sequence[str]) -> dict[str, float]:
    """The deck-level parameters `names`, in the netlist's units."""
    found = {}
    for name in names:
        if name not in deck.params:
            raise NetlistError(unknown_name(name, deck.params, f"{deck.path}: no .param"))
        value = deck.params[name].value
        if value is None:
            raise NetlistError(f"{deck.params[name].where}: .param {name} is an expression, which cannot be scaled")
        found[name] = value
    return found
