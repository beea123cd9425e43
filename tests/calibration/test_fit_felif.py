"""Known truth comes back: transients of the model itself, fitted as if they were SPICE's."""

from dataclasses import replace

import numpy as np
import pytest

from bruno_spice.calibration.circuits.recording import Recording, measure_spikes
from bruno_spice.calibration.circuits.stimuli import constant
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fitting.least_squares import Free
from bruno_spice.calibration.neuron.calibrate import start_parameters
from bruno_spice.calibration.neuron.fit import Scales, fit_in_stages, fit_neuron, free_parameters, with_values
from bruno_spice.calibration.neuron.start import MOST_DOMAINS, closed_form_start, with_tails
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

CURRENTS_A = (80e-12, 308e-12, 1e-9, 5e-9, 30e-9)
SPREAD = {
    "eps_hzo": 0.2,
    "saturation_polarization": 0.1,
    "alpha": 0.03,
    "leak_discharge": 0.3,
    "leak_density": 0.5,
    "thickness_int": 0.2,
    "activation_field_1": 0.03,
}


def truth(card, rng):
    """The committed neuron with every fitted parameter drawn anew."""
    nominal = FeLIFParameters.from_card(card)
    drawn = {f.name: f.start * np.exp(SPREAD[f.name] * rng.uniform(-1, 1)) for f in free_parameters(nominal)}
    return with_values(nominal, drawn), drawn


def recordings(parameters, currents_a=CURRENTS_A):
    """Transients of the model, with a sample at each spike as SPICE's step control puts it there."""
    out = []
    for current in currents_a:
        stimulus, end = constant(current)
        wave = simulate(parameters, stimulus, end, dt_s=end / 20000, rtol=1e-9)
        at = np.searchsorted(wave.time_s, wave.spike_times_s)
        signals = {
            "v_mem_v": np.insert(wave["v_mem_v"], at, parameters.v_threshold),
            "polarization": np.insert(wave["polarization"], at, wave["polarization"][at - 1]),
        }
        out.append(
            Recording(stimulus, Waveform(np.insert(wave.time_s, at, wave.spike_times_s), signals, wave.spike_times_s))
        )
    return out


def noisy(recording, rng, scales):
    """Band-limited noise: each value holds for 20 samples, so that interpolation between samples does not smooth it."""
    wave = recording.spice

    def noise(sigma):
        return np.repeat(rng.normal(0, sigma, wave.time_s.size // 20 + 1), 20)[: wave.time_s.size]

    signals = {
        "v_mem_v": wave["v_mem_v"] + noise(scales.voltage_v),
        "polarization": wave["polarization"] + noise(scales.polarization),
    }
    jitter = np.exp(rng.normal(0, scales.spike_time, wave.spike_times_s.size))
    return Recording(recording.stimulus, Waveform(wave.time_s, signals, wave.spike_times_s * jitter))


def test_the_spikes_give_threshold_and_dead_time(one_domain):
    parameters = replace(FeLIFParameters.from_card(one_domain), t_refractory=271e-6, v_threshold=2.3)
    measured = measure_spikes(recordings(parameters))
    assert measured.v_threshold == pytest.approx(2.3, rel=5e-3)
    assert measured.t_refractory == pytest.approx(271e-6, rel=5e-3)
    assert measured.v_reset == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_parameters_come_back_to_four_digits_without_noise(one_domain, seed):
    parameters, drawn = truth(one_domain, np.random.default_rng(seed))
    start = replace(FeLIFParameters.from_card(one_domain), t_refractory=parameters.t_refractory)
    result, _ = fit_neuron(recordings(parameters), start, scales=Scales(5e-3, 2e-3, 1e-4))
    for name, value in drawn.items():
        assert result.values[name] == pytest.approx(value, rel=1e-4), name


def test_the_stages_find_the_truth_from_the_published_film(one_domain):
    parameters, drawn = truth(one_domain, np.random.default_rng(7))
    data = recordings(parameters)
    result, _, _ = fit_in_stages(data, start_parameters(measure_spikes(data)))
    assert result.values["saturation_polarization"] == pytest.approx(drawn["saturation_polarization"], rel=5e-3)
    assert result.values["eps_hzo"] == pytest.approx(drawn["eps_hzo"], rel=2e-2)


@pytest.mark.parametrize("seed", range(3))
def test_the_charge_balance_gives_capacitance_charge_and_leak_without_a_search(one_domain, seed):
    parameters, _ = truth(one_domain, np.random.default_rng(seed))
    data = recordings(parameters)
    found = closed_form_start(data, start_parameters(measure_spikes(data)))
    assert found.eps_hzo == pytest.approx(parameters.eps_hzo, rel=0.02)
    assert found.saturation_polarization == pytest.approx(parameters.saturation_polarization, rel=0.01)
    assert found.leak_discharge == pytest.approx(parameters.leak_discharge, rel=0.05)
    assert found.thickness_int == pytest.approx(parameters.thickness_int, rel=0.25)


@pytest.mark.parametrize("domains", range(2, MOST_DOMAINS + 1))
def test_a_film_with_tails_keeps_the_coercive_field_and_its_weights_add_up(one_domain, domains):
    one = FeLIFParameters.from_card(one_domain)
    many = with_tails(recordings(one, (308e-12, 3e-9, 30e-9)), one, domains)
    assert many.domains == domains
    assert many.domain_weight.sum() == pytest.approx(1.0)
    assert many.domain_weight[0] > 0.5
    assert many.activation_field @ many.domain_weight == pytest.approx(one.activation_field[0], rel=0.05)
    spikes = [simulate(x, Stimulus.dc(1e-9), 40e-3).spike_times_s[0] for x in (one, many)]
    assert spikes[1] == pytest.approx(spikes[0], rel=0.02)


def test_with_noise_the_truth_lies_within_one_curvature_error_in_two_thirds_of_the_cases(one_domain):
    scales = Scales(voltage_v=5e-3, polarization=2e-3, spike_time=1e-4)
    rng = np.random.default_rng(11)
    inside = total = 0
    for _ in range(15):
        parameters, drawn = truth(one_domain, rng)
        clean = recordings(parameters, (308e-12, 3e-9, 30e-9, 80e-12))
        result, _ = fit_neuron([noisy(r, rng, scales) for r in clean], parameters, free_near(parameters), scales)
        errors = result.stderr_curvature
        inside += sum(abs(result.values[name] - value) < errors[name] for name, value in drawn.items())
        total += len(drawn)
    assert total >= 100
    assert 0.60 <= inside / total <= 0.76


def free_near(parameters):
    return [replace(f, start=f.start * 1.003) for f in free_parameters(parameters)]


def test_two_domains_come_back_with_their_fields_and_weights(one_domain):
    nominal = FeLIFParameters.from_card(one_domain)
    two = replace(
        nominal,
        thickness_int=3e-10,
        tau_0=5e-7,
        alpha=4.0,
        activation_field=np.array([1.3e8, 2.0e8]),
        offset_field=np.array([-0.1e8, 0.1e8]),
        domain_weight=np.array([0.3, 0.7]),
    )
    asked = ("activation_field_1", "activation_field_2", "domain_weight_2", "saturation_polarization")
    free = [replace(f, start=f.start * 1.05, max=10.0 * f.start) for f in free_parameters(two) if f.name in asked]
    _, fitted = fit_neuron(recordings(two), two, free)
    np.testing.assert_allclose(fitted.domain_weight, [0.3, 0.7], rtol=1e-4)
    np.testing.assert_allclose(fitted.activation_field, two.activation_field, rtol=1e-4)


def test_what_the_data_do_not_identify_is_said_so(one_domain):
    nominal = FeLIFParameters.from_card(one_domain)
    near = [f for f in free_near(nominal) if f.name == "saturation_polarization"]
    free = [*near, Free("e_soft", 1e-5, 1e-8, 1e-2)]
    result, _ = fit_neuron(recordings(nominal, (1e-9, 3e-9, 10e-9)), nominal, free)
    assert "'e_soft'" in result.doubt
    assert result.values["saturation_polarization"] == pytest.approx(nominal.saturation_polarization, rel=1e-3)


def test_a_silent_transient_is_named():
    silent = Recording(
        Stimulus.dc(1e-12), Waveform(np.linspace(0, 1, 5), {"v_mem_v": np.zeros(5), "polarization": -np.ones(5)})
    )
    with pytest.raises(FitError, match="no spike in SPICE under dc 1e-12 A"):
        measure_spikes([silent])
