"""ngspice, the twin and the film's groups against scipy's integration of the same equations."""

import numpy as np
import pytest

from bruno_spice.calibration.benches.fecap import FeCAPRun, simulate_fecaps
from bruno_spice.calibration.benches.reference import FILM_NETLIST, parameters, reference_film, reference_neuron
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.experiments import NeuronRun, simulate_neurons
from bruno_spice.devices.fecap.film import charge_density
from bruno_spice.devices.stimulus import Stimulus

LOOP_S = np.array([0.0, 0.25, 0.75, 1.25, 1.75, 2.0]) * 1e-3
LOOP_V = 2.5 * np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])


def test_first_spikes_of_ngspice_are_those_of_the_equations(ngspice):
    """Some of the 28 currents of `bruno simulate neuron-bench --testbench convergence`."""
    currents = (1.2e-9, 6.62e-9, 15.98e-9, 30e-9)
    runs = [NeuronRun(Stimulus.dc(i), 13.8e-12 / i + 1e-5) for i in currents]
    found = [wave.spike_times_s[0] for wave in simulate_neurons(runs, farm=ngspice)]
    expected = [reference_neuron(run.stimulus, run.t_stop_s, groups=24).spike_times_s[0] for run in runs]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_reset_and_plate_pulse_of_ngspice_are_those_of_the_equations(ngspice):
    drive, end = stimuli.network_like(3, milliseconds=8)
    spice = simulate_neurons([NeuronRun(drive, end)], farm=ngspice)[0]
    reference = reference_neuron(drive, end, groups=24, rtol=1e-5)
    assert spice.spike_times_s.size == 3
    np.testing.assert_allclose(spice.spike_times_s, reference.spike_times_s, atol=1e-6)
    late = np.linspace(spice.spike_times_s[-1] + 0.4e-3, end, 50)
    np.testing.assert_allclose(
        spice.resampled(late)["polarization"], reference.resampled(late)["polarization"], atol=2e-3
    )


def test_the_circuit_s_film_is_within_15_mv_of_the_converged_one():
    drive, end = Stimulus.dc(308e-12), 46e-3
    few, many = (reference_neuron(drive, end, groups=n, rtol=1e-5) for n in (24, 1024))
    until = np.linspace(0.0, min(few.spike_times_s[0], many.spike_times_s[0]), 2000)
    difference = few.resampled(until)["v_mem_v"] - many.resampled(until)["v_mem_v"]
    assert 2e-3 < np.sqrt(np.mean(difference**2)) < 15e-3
    assert few.spike_times_s[0] == pytest.approx(many.spike_times_s[0], rel=2e-4)


@pytest.mark.parametrize("state", [-1.0, 0.4])
@pytest.mark.parametrize("dead_layer_m", [0.0, 0.5e-9])
def test_netlist_twin_and_equations_agree_and_start_where_they_are_told(ngspice, dead_layer_m, state):
    """With a dead layer the film would depolarise before time begins, if the operating point let it."""
    values = {"tdl": dead_layer_m, "s0": state}
    spice = simulate_fecaps([FeCAPRun(LOOP_S, LOOP_V, 2e-6, values)], farm=ngspice)[0]
    known = parameters(FILM_NETLIST, values)
    reference = reference_film(LOOP_S, LOOP_V, known, groups=24)
    assert spice["polarization"][0] == pytest.approx(state, abs=1e-6)
    grid = np.linspace(0.0, LOOP_S[-1], 2001)
    charge = reference.resampled(grid)["charge_c_m2"]
    np.testing.assert_allclose(charge_density(grid, np.interp(grid, LOOP_S, LOOP_V), known), charge, atol=2e-4)
    found = spice.resampled(grid)["charge_c_m2"]
    np.testing.assert_allclose(found - found[0], charge, atol=1e-3)


def test_a_film_under_the_opposite_voltage_is_its_mirror_image():
    plus, minus = (
        charge_density(LOOP_S, sign * LOOP_V, parameters(FILM_NETLIST, {"s0": -sign})) for sign in (1.0, -1.0)
    )
    np.testing.assert_allclose(plus, -minus, atol=1e-9)
