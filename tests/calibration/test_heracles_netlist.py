"""The HERACLES capacitor and its neuron in ngspice against scipy's integration of the same equations.

Measured, with ngspice 39: spike times within 2.5e-5 at constant currents and 0.1 us on a network-like input; the charge
of a P-V loop within 1e-4 of its swing (rms), or 3e-4 for a minor loop.
"""

import numpy as np
import pytest
from scipy.constants import elementary_charge

from bruno_spice.calibration.benches.fecap import FeCAPRun, simulate_fecaps
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.experiments import NETLISTS, NeuronRun, pwl, simulate_neurons
from bruno_spice.devices.stimulus import Stimulus
from tests.support.heracles_reference import Capacitor, Neuron, simulate_capacitor, simulate_neuron

NEURON = NETLISTS / "testbenches" / "neuron_heracles.cir"
LOOP = NETLISTS / "testbenches" / "heracles_pv.cir"


def reference(stimulus, t_stop_s, neuron=None):
    return simulate_neuron(neuron or Neuron(), *pwl(stimulus, t_stop_s), t_stop_s)


def triangle(amplitude_v, frequency_hz):
    return np.array([0.0, 0.25, 0.75, 1.25, 1.75, 2.0]) / frequency_hz, amplitude_v * np.array([0, 1, -1, 1, -1, 0])


def crossings_v(voltage, polarization):
    """The voltages at which the polarization passes zero."""
    at = np.flatnonzero(polarization[:-1] * polarization[1:] < 0)
    share = polarization[at] / (polarization[at] - polarization[at + 1])
    return voltage[at] + share * (voltage[at + 1] - voltage[at])


@pytest.mark.parametrize("netlist", [NEURON, NETLISTS / "circuits" / "neuron_heracles.lib"], ids=lambda p: p.suffix)
def test_spikes_at_constant_currents_are_those_of_the_equations(ngspice, netlist):
    runs = [NeuronRun(Stimulus.dc(i), 2.15 * 16.9e-12 / i + 1e-3) for i in (308e-12, 2e-9, 10e-9)]
    for run, wave in zip(runs, simulate_neurons(runs, netlist, ngspice), strict=True):
        expected = reference(run.stimulus, run.t_stop_s).spike_times_s
        assert expected.size == 2
        np.testing.assert_allclose(wave.spike_times_s, expected, rtol=2e-4)


def test_membrane_on_its_way_to_the_spike_is_that_of_the_equations(ngspice):
    run = NeuronRun(Stimulus.dc(308e-12), 55e-3)
    wave, expected = simulate_neurons([run], NEURON, ngspice)[0], reference(run.stimulus, run.t_stop_s)
    time = np.linspace(0, run.t_stop_s, 500)
    found = wave.resampled(time)
    voltage, p = (np.interp(time, expected.time_s, x) for x in (expected.voltage_v, expected.p))
    assert np.sqrt(np.mean((found["v_mem_v"] - voltage) ** 2)) < 2e-3
    np.testing.assert_allclose(found["polarization"], 2 * p - 1, atol=2e-3)


def test_network_like_input_with_inhibition_gives_the_spikes_of_the_equations(ngspice):
    drive, end = stimuli.network_like(1, milliseconds=20)
    assert drive.i_syn_a.min() < 0
    spice, expected = simulate_neurons([NeuronRun(drive, end)], NEURON, ngspice)[0], reference(drive, end)
    assert spice.spike_times_s.size == 10
    np.testing.assert_allclose(spice.spike_times_s, expected.spike_times_s, atol=1e-6)


def test_no_spike_comes_before_the_membrane_is_at_the_threshold(ngspice):
    """The 28th came 77 mV early, and the run was refused, before steps shrank towards `vth`."""
    drive, end = stimuli.network_like(12, milliseconds=50)
    spice, expected = simulate_neurons([NeuronRun(drive, end)], NEURON, ngspice)[0], reference(drive, end)
    np.testing.assert_allclose(spice.spike_times_s, expected.spike_times_s, atol=5e-6)


def test_inhibition_stops_at_ground_and_leaves_the_polarization(ngspice):
    time = np.array([0, 0.01, 5, 5.001, 12, 12.001]) * 1e-3
    drive = Stimulus(time, np.array([0, 2, 2, -5, -5, 2]) * 1e-9)
    spice, expected = simulate_neurons([NeuronRun(drive, 20e-3)], NEURON, ngspice)[0], reference(drive, 20e-3)
    np.testing.assert_allclose(spice.spike_times_s, expected.spike_times_s, atol=1e-6)
    held = spice.resampled(np.array([6e-3, 11.9e-3]))
    np.testing.assert_allclose(held["v_mem_v"], 0.0, atol=5e-3)
    np.testing.assert_allclose(held["polarization"], 0.3507, atol=1e-3)


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        ({"tint": 1.5e-9}, Neuron(Capacitor(t_int_m=1.5e-9))),
        ({"cpar": 0.0}, Neuron(c_parallel_f=0.0)),
        ({"ndepl": 1.05e28, "qfix": 0.098}, Neuron(Capacitor(n_depl_m3=1.05e28, q_fix_c_m2=0.098))),
        ({"tempk": 350.0, "wb": 0.9, "de": 6e-9}, Neuron(Capacitor(temperature_k=350.0, w_b_ev=0.9, d_e_m=6e-9))),
        ({"area": 5e-12, "ps": 0.2}, Neuron(Capacitor(area_m2=5e-12, p_s_c_m2=0.2))),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_parameters_mean_the_same_in_both(ngspice, overrides, changed):
    run = NeuronRun(Stimulus.dc(10e-9), 1.9e-3, overrides)
    wave, expected = simulate_neurons([run], NEURON, ngspice)[0], reference(run.stimulus, run.t_stop_s, changed)
    np.testing.assert_allclose(wave.spike_times_s[0], expected.spike_times_s[0], rtol=5e-4)
    time = np.linspace(0, 0.99 * wave.spike_times_s[0], 200)
    found = wave.resampled(time)["v_mem_v"]
    np.testing.assert_allclose(found, np.interp(time, expected.time_s, expected.voltage_v), atol=10e-3)


@pytest.mark.parametrize(("amplitude_v", "frequency_hz"), [(3.0, 1e3), (3.0, 1e5), (1.2, 1e3)])
def test_pv_loop_is_that_of_the_equations(ngspice, amplitude_v, frequency_hz):
    time, voltage = triangle(amplitude_v, frequency_hz)
    wave = simulate_fecaps([FeCAPRun(time, voltage, 2e-3 / frequency_hz)], LOOP, ngspice)[0]
    expected = simulate_capacitor(Capacitor(), time, voltage, 0.0)
    charge = expected.d_c_m2 - expected.d_c_m2[0]
    found = np.interp(expected.time_s, wave.time_s, wave["charge_c_m2"])
    assert np.sqrt(np.mean((found - charge) ** 2)) < 1e-3 * np.ptp(charge)
    np.testing.assert_allclose(
        crossings_v(wave["voltage_v"], wave["polarization"]),
        crossings_v(expected.voltage_v, 2 * expected.p - 1),
        atol=2e-3,
    )


def test_loop_is_shifted_by_the_offset_field_and_otherwise_symmetric(ngspice):
    """A positive voltage switches to +1, and `eoff` > 0 asks for more of it."""
    time, voltage = triangle(3.0, 1e3)
    runs = [FeCAPRun(time, voltage, 2e-6, {"eoff": e}) for e in (0.0, 2e7)]
    centred, shifted = (
        crossings_v(w["voltage_v"], w["polarization"])[2:] for w in simulate_fecaps(runs, LOOP, ngspice)
    )
    assert centred[0] == pytest.approx(-centred[1], rel=1e-3)
    assert centred[0] > 0
    assert shifted.mean() == pytest.approx(2e7 * 9.8e-9, rel=0.06)


def test_short_pulses_of_an_ideal_source_converge(ngspice):
    """The terminal current is a derivative: at an abstol of 1e-14 ngspice ends at a corner of a third of these."""
    runs = []
    for width in (1e-7, 1e-6, 1e-4):
        steps = np.array([1e-6] + [x * width for _ in range(4) for x in (0.1, 1.0, 0.1, 1.0)])
        levels = np.array([0.0, 0.0] + [x for a in (-3, 3, 3, -3) for x in (a, a, 0, 0)])
        runs.append(FeCAPRun(np.cumsum([0.0, *steps]), levels, width / 200))
    for wave in simulate_fecaps(runs, LOOP, ngspice):
        assert wave["polarization"].max() > 0.99
        assert wave["polarization"][-1] < -0.99


def test_the_neuron_integrates_charge_up_to_the_displacement_of_its_threshold():
    """Switching is over before the threshold, so that only V(D, p = 1) = V_th says when a spike comes."""
    neuron = Neuron(leak_a=0.0)
    device = neuron.capacitor
    d_start, d_spike = (device.displacement(device.v_fe_at(v, p), p) for v, p in ((0.0, 0.0), (3.5, 1.0)))
    charge = device.area_m2 * (d_spike - d_start) + neuron.c_parallel_f * neuron.v_threshold_v
    spikes = simulate_neuron(neuron, [0.0], [2e-9], 9e-3).spike_times_s
    assert spikes[0] == pytest.approx(charge / 2e-9, rel=1e-6)


def test_depletion_of_the_reference_in_closed_form():
    """At p = 1: t = (eps0 eps E + Q_fix)/(q n), in series with the ferroelectric; its field opposes P at V = 0."""
    device = Capacitor()
    d = device.displacement(1.0, 1.0)
    charge = device.c_fe_f_m2 * 1.0 + device.q_fix_c_m2
    thickness = charge / (elementary_charge * device.n_depl_m3)
    assert thickness == pytest.approx(70.3e-12, rel=1e-3)
    assert device.voltage(1.0, 1.0) == pytest.approx(1.0 + d * thickness / (8.8541878e-12 * 3.6), rel=1e-9)
    assert device.v_fe_at(0.0, 0.0) == pytest.approx(0.2730, abs=1e-4)
    assert device.v_fe_at(0.0, 1.0) == pytest.approx(-0.2730, abs=1e-4)
    step = 1e-6
    for v_fe, p in ((0.3, 0.1), (0.8, 0.6), (1.9, 1.0), (-0.7, 0.3)):
        by_v_fe = (device.voltage(v_fe + step, p) - device.voltage(v_fe - step, p)) / (2 * step)
        by_p = (device.voltage(v_fe, p + step) - device.voltage(v_fe, p - step)) / (2 * step)
        assert device.slopes(v_fe, p) == pytest.approx((by_v_fe, by_p), rel=1e-5)
