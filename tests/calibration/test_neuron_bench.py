import numpy as np
import pytest

from bruno_spice.calibration.benches.convergence import convergence, spike_convergence
from bruno_spice.calibration.benches.neuron import (
    NEURON_CMOS_NETLIST,
    coincidence,
    current_sweep,
    inhibition,
    parameter_effects,
    pulse_trains,
)
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, simulate_neurons
from bruno_spice.devices.stimulus import Stimulus


@pytest.fixture(scope="module")
def levels(farm):
    """Spikes of both levels at 100 pA and 1 nA (the first) and at 3 nA (two)."""
    runs = [NeuronRun(Stimulus.dc(i), t) for i, t in ((100e-12, 0.151), (1e-9, 14e-3), (3e-9, 9.4e-3))]
    return [simulate_neurons(runs, netlist, farm) for netlist in (NEURON_NETLIST, NEURON_CMOS_NETLIST)]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["100 pA", "1 nA", "3 nA"])
def test_transistor_neuron_spikes_when_the_behavioural_one_does(levels, which):
    behavioural, transistors = (level[which].spike_times_s for level in levels)
    assert behavioural.size == transistors.size > 0
    np.testing.assert_allclose(transistors, behavioural, rtol=0.05)


def test_transistor_neuron_writes_its_polarization_back(levels):
    wave = levels[1][2]
    after = wave.resampled([wave.spike_times_s[0] + 3.2e-4])
    assert after["polarization"][0] < -0.98
    assert after["v_mem_v"][0] < 0.1


def test_transistor_neuron_can_be_inhibited(farm):
    stimulus = Stimulus.steps([2e-9, 2e-9, -5e-9, -5e-9, -5e-9])
    wave = simulate_neurons([NeuronRun(stimulus, 5e-3)], NEURON_CMOS_NETLIST, farm)[0]
    assert wave.resampled([1.9e-3])["v_mem_v"][0] > 0.8
    assert -0.1 < wave.resampled([4.5e-3])["v_mem_v"][0] < 0.05


def test_a_spike_of_the_transistor_neuron_costs_at_least_its_charge_times_the_supply(farm):
    numbers = current_sweep((12e-9,), NEURON_CMOS_NETLIST, farm=farm).numbers
    energy = numbers["energy_per_spike_j"][0]
    assert 3.3 * (11e-12 + 2.2e-12 + 11e-12) < energy < 5e-9


def test_rate_rises_with_current_and_saturates_at_the_dead_time(farm):
    numbers = current_sweep((2e-9, 8e-9, 28e-9), farm=farm).numbers
    assert np.all(np.diff(numbers["rate_hz"]) > 0)
    np.testing.assert_allclose(numbers["period_s"] - numbers["first_spike_s"], 300e-6, rtol=0.05)


def test_halving_tolerance_and_step_moves_spikes_by_less_than_a_thousandth(farm):
    found = convergence(t_stop_s=15e-3, farm=farm)
    assert found.spikes_s.size == 2
    assert 0 < found.worst_shift < 1e-3


def test_no_numerical_step_makes_a_spike_of_its_own(farm):
    """A step that ends in the middle of the latch's flip must not reset the membrane without the plate pulse."""
    for current, stop in ((2e-9, 9e-3), (8.3e-9, 5e-3)):
        found = convergence(current, stop, farm=farm)
        expected = int((stop - 11e-12 / current) / (13.2e-12 / current + 3e-4)) + 1
        assert found.spikes_s.size == found.spikes_halved_s.size == expected


def test_polarization_remembers_a_burst_longer_than_the_membrane_does(farm):
    numbers = coincidence((1e-3, 100e-3), farm=farm).numbers
    assert numbers["v_mem_before_v"][1] < 0.2 * numbers["v_mem_before_v"][0]
    assert numbers["polarization_before"][1] == pytest.approx(numbers["polarization_before"][0], abs=0.02)
    assert list(numbers["spikes"]) == [1, 0]


def test_inhibition_delays_and_thins_out_spikes(farm):
    numbers = inhibition((0.0, -1e-9, -5e-9), farm=farm).numbers
    assert np.all(np.diff(numbers["first_spike_s"]) > 0)
    assert numbers["spikes"].iloc[-1] < numbers["spikes"].iloc[0]
    assert numbers["v_mem_min_v"].min() > -0.01


def test_denser_trains_make_more_spikes(farm):
    numbers = pulse_trains((200.0, 800.0), duration_s=20e-3, farm=farm).numbers
    assert numbers["spikes"].iloc[1] > 3 * numbers["spikes"].iloc[0]


def test_area_and_polarization_set_the_charge_to_the_spike_and_the_threshold_hardly_does(farm):
    table = parameter_effects((0.9, 1.1), ("area", "ps", "vth"), farm=farm).numbers
    first = table.pivot(index="parameter", columns="factor", values="first_spike_s")
    ratio = first[1.1] / first[0.9]
    assert ratio["area"] == pytest.approx(1.1 / 0.9, rel=0.02)
    assert 1.1 < ratio["ps"] < ratio["area"]
    assert 1.0 < ratio["vth"] < 1.05


def test_effects_are_those_of_the_circuit_as_it_is_set(farm):
    first = parameter_effects((0.8, 1.0), ("vth",), 20e-9, overrides={"vth": 2.5}, farm=farm).numbers["first_spike_s"]
    set_low = parameter_effects((1.0,), ("vth",), 20e-9, overrides={"vth": 2.0}, farm=farm).numbers["first_spike_s"]
    assert set_low[0] == pytest.approx(first[0], rel=1e-5)
    assert first[0] < 0.99 * first[1]


def test_spikes_converge_on_the_solution_of_the_equations(farm):
    """Two of the bench's 28 currents, one at which reltol = 1e-4 fires early, and with another film."""
    found = spike_convergence((6.62e-9, 20e-9), (), overrides={"groups": 12}, farm=farm).numbers
    assert list(found["spikes"]) == [1, 1]
    assert np.all(found["lowest_membrane_v"] > 2.49)
    assert found["first_error_fine"].abs().max() < 1e-4
    assert 0 < found["first_error_equations"].abs().max() < 1e-4
