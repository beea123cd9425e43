"""How a simulator's spikes come to those of the equations as its tolerance and its longest step get smaller.

Every installed simulator runs the neuron at each `reltol` and longest step; level A is held against scipy's integration
of the same equations (`calibration.benches.reference`), another netlist against the finest run of the same simulator.
What is refused elsewhere is counted here: spikes before the membrane is at the threshold, spikes that come twice, and
runs that end in an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bruno_spice.calibration.benches.convergence import equations
from bruno_spice.calibration.benches.fecap import BenchResult
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, neuron_job
from bruno_spice.calibration.circuits.recording import EARLY_V, WITHIN_DEAD_TIME
from bruno_spice.calibration.circuits.spike_output import spike_times
from bruno_spice.calibration.errors import CalibrationError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm, try_jobs
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

RELTOLS = (1e-3, 1e-4, 1e-5, 1e-6)
STEPS_S = (80e-6, 20e-6, 5e-6)
DRIVES = ((Stimulus.dc(6.62e-9), 4.8e-3), stimuli.network_like(3, milliseconds=8))
"""A current at which ngspice's latch is set early at 1e-4, and an input like a network's."""
USUAL = "ngspice"
Array = NDArray[np.float64]


def tolerance_convergence(
    reltols: Sequence[float] = RELTOLS,
    steps_s: Sequence[float] = STEPS_S,
    netlist: Path | str = NEURON_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    drives: Sequence[stimuli.Run] = DRIVES,
) -> BenchResult:
    """Errors of spike times by simulator, reltol and longest step: each installed one, or the farm's where it is not
    the usual ngspice.

    A row of the traces is a drive at one setting; of the numbers, a setting, with the worst of its drives: the largest
    error of a spike time in s (infinite where the numbers of spikes differ), early and double spikes, failed runs, and
    the time points that it took.
    """
    farm = farm or Farm()
    own = Path(netlist) == NEURON_NETLIST
    runs = [NeuronRun(stimulus, end, overrides or {}) for stimulus, end in drives]
    true = [equations(run) for run in runs] if own else []
    settings = [(reltol, step) for step in steps_s for reltol in reltols]
    deck = neuron_deck(netlist).with_params(overrides or {})
    decks = {(r, s): deck.with_options(reltol=r).with_tran(None, s) for r, s in settings}
    v_threshold, dead_s = deck.value("vth"), deck.value("tref")
    rows = []
    for name in _installed() if farm.simulator == USUAL else [farm.simulator]:
        jobs = [neuron_job(decks[s], replace(run, overrides={})) for s in settings for run in runs]
        outcomes = iter(try_jobs(jobs, replace(farm, simulator=name, progress=farm.progress and name)))
        found = {s: [next(outcomes) for _ in runs] for s in settings}
        finest = found[min(reltols), min(steps_s)]
        references = true or [_spikes(each) for each in finest]
        for (reltol, step), outcome in found.items():
            for run, reference, each in zip(runs, references, outcome, strict=True):
                keys = {"simulator": name, "t_max_s": step, "reltol": reltol, "drive": run.stimulus.name}
                rows.append(keys | _row(each, reference, v_threshold, dead_s))
    traces = pd.DataFrame(rows)
    worst = {"error_s": "max", "early": "sum", "double": "sum", "failed": "sum", "points": "sum"}
    numbers = traces.groupby(["simulator", "t_max_s", "reltol"], sort=False).agg(worst).reset_index()
    return BenchResult("tolerance", traces, numbers)


def _installed() -> list[str]:
    found = []
    for name in SIMULATORS:
        try:
            SIMULATORS.find(name).installed()
        except SimulationError:
            continue
        found.append(name)
    return found


def _spikes(outcome: Waveform | CalibrationError) -> Array:
    return spike_times(outcome) if isinstance(outcome, Waveform) else np.empty(0)


def _row(
    outcome: Waveform | CalibrationError, true_s: Array, v_threshold: float | None, dead_s: float | None
) -> dict[str, float]:
    if isinstance(outcome, CalibrationError):
        return {"spikes": 0, "error_s": np.inf, "early": 0, "double": 0, "failed": 1, "points": 0}
    spikes = spike_times(outcome)
    before = [outcome["v(vm)"][(outcome.time_s >= s - 20e-6) & (outcome.time_s <= s)].max() for s in spikes]
    early = 0 if v_threshold is None else sum(v < v_threshold - EARLY_V for v in before)
    double = 0 if dead_s is None else int(np.sum(np.diff(spikes) < WITHIN_DEAD_TIME * dead_s))
    error_s = float(np.max(np.abs(spikes - true_s), initial=0.0)) if spikes.size == true_s.size else np.inf
    return {
        "spikes": spikes.size,
        "error_s": error_s,
        "early": early,
        "double": double,
        "failed": 0,
        "points": outcome.time_s.size,
    }
