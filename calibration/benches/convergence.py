"""How far the neuron's spikes in ngspice are from the solution of its equations.

Each drive is simulated as every neuron is, with `reltol` = 1e-6 (or a tenth of the deck's) and half the
maximum step, and, for level A, integrated by scipy with as many groups (`calibration.benches.reference`). Drives are
constant currents over the range of training and network-like input, whose every spike meets ngspice's steps at another
phase: a spike that a trial step sets early shows at some currents and not at others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bruno_spice.calibration.benches.fecap import BenchResult
from bruno_spice.calibration.benches.reference import parameters, reference_neuron
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import (
    NEURON_NETLIST,
    NeuronRun,
    neuron_job,
    neuron_waveform,
    tightened,
)
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import parse_spice_number
from bruno_spice.devices.waveform import Waveform

CURRENTS_A = tuple(float(i) for i in np.geomspace(1e-9, 30e-9, 28))
NETWORK_SEEDS = (1, 2)
FINE_RELTOL = 1e-6
LONGEST_FIRST_SPIKE_C = 13.8e-12
"""A constant current lasts until this much charge has flowed in: a little past the first spike."""


@dataclass(frozen=True)
class Convergence:
    """Spike times with the deck's options and with tolerance and step halved, and how far apart they are."""

    spikes_s: NDArray[np.float64]
    spikes_halved_s: NDArray[np.float64]

    @property
    def worst_shift(self) -> float:
        """Largest relative shift of a spike time; infinite where the numbers of spikes differ."""
        if self.spikes_s.size != self.spikes_halved_s.size:
            return float("inf")
        return float(np.max(np.abs(self.spikes_halved_s / self.spikes_s - 1)))


def convergence(
    current_a: float = 2e-9,
    t_stop_s: float = 22e-3,
    netlist: Path | str = NEURON_NETLIST,
    farm: Farm | None = None,
) -> Convergence:
    """Spike times with the deck's reltol and maximum step, and with both halved."""
    run = NeuronRun(Stimulus.dc(current_a), t_stop_s)
    deck = tightened(neuron_deck(netlist))
    jobs = [neuron_job(one, run) for one in (deck, finer(deck, 0.5 * _reltol(deck)))]
    farm = farm or Farm()
    waves = [neuron_waveform(r, run.stimulus, j, farm) for r, j in zip(run_jobs(jobs, farm), jobs, strict=True)]
    return Convergence(*(wave.spike_times_s for wave in waves))


def spike_convergence(
    currents_a: Sequence[float] = CURRENTS_A,
    network_seeds: Sequence[int] = NETWORK_SEEDS,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> BenchResult:
    """Spikes of the deck, of finer steps and, for the project's level A, of the equations themselves.

    A row of the traces is a spike, with its time in each of the three and the membrane's highest voltage before it. A
    row of the numbers is a drive, with the relative error of its first spike, the largest shift of a spike and the
    largest relative error of an interval between spikes, against each of the two.
    """
    drives = [(Stimulus.dc(i), LONGEST_FIRST_SPIKE_C / i + 1e-5) for i in currents_a]
    drives += [stimuli.network_like(seed) for seed in network_seeds]
    runs = [NeuronRun(stimulus, end, overrides or {}) for stimulus, end in drives]
    deck = tightened(neuron_deck(netlist))
    reltol = min(FINE_RELTOL, 0.1 * _reltol(deck))
    jobs = [neuron_job(deck, run) for run in runs]
    jobs += [neuron_job(finer(deck.with_params(run.overrides), reltol), replace(run, overrides={})) for run in runs]
    farm = farm or Farm()
    raws = zip([*runs, *runs], jobs, run_jobs(jobs, farm), strict=True)
    waves = [neuron_waveform(raw, run.stimulus, job, farm) for run, job, raw in raws]
    traces, numbers = [], []
    for run, wave, tight in zip(runs, waves, waves[len(runs) :], strict=False):
        spikes = {"deck": wave.spike_times_s, "fine": tight.spike_times_s}
        if Path(netlist) == NEURON_NETLIST:
            spikes["equations"] = equations(run)
        mean_a = float(np.mean(run.stimulus.at(np.linspace(1e-5, run.t_stop_s, 1000))))
        row: dict[str, str | float] = {
            "drive": run.stimulus.name,
            "i_mean_a": mean_a,
            "spikes": wave.spike_times_s.size,
        }
        row["lowest_membrane_v"] = min(_membrane_v(wave), default=float("nan"))
        for name in list(spikes)[1:]:
            row |= _errors(spikes["deck"], spikes[name], name)
        numbers.append(row)
        columns = {f"{name}_s": pd.Series(times) for name, times in spikes.items()}
        traces.append(pd.DataFrame({**columns, "membrane_v": pd.Series(_membrane_v(wave))}).assign(drive=row["drive"]))
    return BenchResult("convergence", pd.concat(traces, ignore_index=True), pd.DataFrame(numbers))


def finer(deck: Netlist, reltol: float) -> Netlist:
    """`deck` at `reltol` and half its maximum step. Raises `NetlistError` where it has none."""
    step_s = deck.t_max_s()
    if step_s is None:
        raise NetlistError(f"{deck.path}: its .tran gives no maximum step, so there is nothing to halve")
    return deck.with_options(reltol=reltol).with_tran(None, 0.5 * step_s)


def equations(run: NeuronRun) -> NDArray[np.float64]:
    """Spike times (n,) in s of the project's level A under `run`, by scipy."""
    values = {name: value for name, value in run.overrides.items() if name != "groups"}
    groups = int(run.overrides.get("groups", DEFAULT_GROUPS))
    return reference_neuron(run.stimulus, run.t_stop_s, parameters(overrides=values), groups).spike_times_s


def _errors(found: NDArray[np.float64], true: NDArray[np.float64], name: str) -> dict[str, float]:
    """Of `found` against `true` spike times; infinite where their numbers differ."""
    keys = [f"{what}_{name}" for what in ("first_error", "largest_shift_s", "interval_error")]
    if found.size != true.size:
        return dict.fromkeys(keys, float("inf"))
    if not found.size:
        return dict.fromkeys(keys, float("nan"))
    intervals = np.abs(np.diff(found) / np.diff(true) - 1)
    shift = np.abs(found - true)
    values = (float(found[0] / true[0] - 1), float(shift.max()), float(intervals.max(initial=0.0)))
    return dict(zip(keys, values, strict=True))


def _membrane_v(wave: Waveform) -> list[float]:
    """Highest membrane voltage within 20 us before each spike."""
    time, v_mem = wave.time_s, wave["v_mem_v"]
    return [float(v_mem[(time >= spike - 20e-6) & (time <= spike)].max()) for spike in wave.spike_times_s]


def _reltol(deck: Netlist) -> float:
    return parse_spice_number(deck.option("reltol") or "1e-3")
