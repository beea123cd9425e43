import sys

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NEURON_NETLIST,
    NeuronRun,
    neuron_deck,
    neuron_job,
    neuron_waveform,
    simulate_neurons,
)
from bruno_spice.calibration.circuits.recording import refuse_double_spikes, refuse_early_spikes
from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice.farm import run_jobs
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

TIME_S = np.linspace(0.0, 10e-3, 20001)


def ramps(levels_v, slopes=None):
    """A membrane that climbs to each of `levels_v` (V) at its slope (V/s) and falls to 0 within a microsecond."""
    slopes = np.broadcast_to(2.5e3 if slopes is None else slopes, len(levels_v))
    ends_s = np.cumsum(np.array(levels_v) / slopes + 1e-6) - 1e-6
    starts_s = ends_s - levels_v / slopes
    corners = np.stack([starts_s, ends_s], axis=1).ravel()
    v_mem = np.interp(TIME_S, corners, np.stack([0 * starts_s, levels_v], axis=1).ravel())
    return Waveform(TIME_S, {"v_mem_v": v_mem}, ends_s)


def test_a_spike_before_the_threshold_is_refused_and_named(monkeypatch):
    with pytest.raises(
        SimulationError, match=r"^mine: 1 of 3 spikes .* spike 2 at 1\.9.* ms with the membrane at 2\.36 of"
    ):
        refuse_early_spikes(ramps([2.5, 2.36, 2.5]), 2.5, "mine")
    with pytest.raises(SimulationError, match="1 of 1 spikes"):
        refuse_early_spikes(ramps([2.4576]), 2.5, "mine")
    monkeypatch.setitem(sys.modules, "scipy.stats", None)  # an ordinary circuit does not wait for it
    refuse_early_spikes(ramps([2.5, 2.495, 2.505]), 2.5, "mine")
    refuse_early_spikes(Waveform(TIME_S, {"v_mem_v": 0 * TIME_S}), 2.5, "silent")


def test_without_a_threshold_in_the_netlist_the_spikes_are_held_against_each_other():
    with pytest.raises(SimulationError, match=r"at 1\.17 of 1\.2 V"):
        refuse_early_spikes(ramps([1.2, 1.2, 1.17, 1.2]), None, "mine")
    refuse_early_spikes(ramps([1.2, 1.17]), None, "two spikes tell nothing")


def test_a_comparator_that_is_off_by_an_offset_or_takes_its_time_is_believed():
    refuse_early_spikes(ramps([2.47, 2.47, 2.47]), 2.5, "offset")
    refuse_early_spikes(ramps([1.0]), 2.5, "another threshold")
    slopes = np.array([1e3, 10e3, 3e3, 6e3, 2e3])
    slow = 2.5 + 5e-6 * slopes
    for known in (2.5, None):
        refuse_early_spikes(ramps(slow, slopes), known, "slow comparator")
    slow[3] -= 0.02
    with pytest.raises(SimulationError, match="1 of 5 spikes"):
        refuse_early_spikes(ramps(slow, slopes), None, "slow comparator")


def test_a_spike_within_the_dead_time_is_refused_as_one_that_comes_twice():
    double = Waveform(TIME_S, {"v_mem_v": 0 * TIME_S}, np.array([1e-3, 2e-3, 2.003e-3, 4e-3]))
    with pytest.raises(SimulationError, match=r"^mine: 1 of 4 spikes come twice: spike 3 at 2.003 ms, 3 µs after"):
        refuse_double_spikes(double, 300e-6, "mine")
    refuse_double_spikes(double, None, "a circuit that names no dead time")
    refuse_double_spikes(double, 10e-6, "a short one")


def test_ngspice_fires_early_at_a_loose_tolerance_and_is_found_out(tmp_path, ngspice):
    """The latch set by a trial step: at reltol = 1e-4 and 6.62 nA the spike comes at 2.459 V of 2.5 V."""
    text = NEURON_NETLIST.read_text().replace("../", f"{NETLISTS}/")
    loose = tmp_path / "loose.cir"
    loose.write_text(text.replace("reltol=1e-5", "reltol=1e-4"))
    run = NeuronRun(Stimulus.dc(6.62e-9), 2.2e-3)
    assert simulate_neurons([run], farm=ngspice)[0].spike_times_s.size == 1
    job = neuron_job(neuron_deck(loose), run)
    with pytest.raises(SimulationError, match="1 of 1 spikes come before"):
        neuron_waveform(run_jobs([job], ngspice)[0], run.stimulus, job)
