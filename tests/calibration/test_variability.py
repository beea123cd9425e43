"""Spread of FeLIF parameters: known devices come back, and a varied netlist shows in the parameters it should."""

from dataclasses import replace

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.neuron.variability import (
    CURRENTS_A,
    TWO_SPIKES,
    fit_devices,
    neuron_variability,
    spread_of,
)
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus


def simulated(parameters):
    """Recordings of a FeLIF neuron itself, as if it were SPICE."""
    waves = []
    for current in CURRENTS_A:
        end = TWO_SPIKES * 16e-12 / current
        waves.append(Recording(Stimulus.dc(current), simulate(parameters, Stimulus.dc(current), end, dt_s=end / 20000)))
    return waves


def test_known_devices_come_back(felif_card):
    nominal = FeLIFParameters.from_card(felif_card)
    rng = np.random.default_rng(2)
    factors = 1 + 0.03 * rng.standard_normal((4, 5))
    devices = [
        replace(
            nominal,
            area=nominal.area * a,
            saturation_polarization=nominal.saturation_polarization * ps,
            leak_discharge=nominal.leak_discharge * leak,
            activation_field=nominal.activation_field * ea,
            v_threshold=nominal.v_threshold * vth,
        )
        for a, ps, leak, ea, vth in factors
    ]
    fits = fit_devices(felif_card, [simulated(device) for device in devices])
    assert fits.names == (
        "area", "saturation_polarization", "leak_discharge", "activation_field", "v_threshold", "t_refractory",
    )  # fmt: skip
    truth = [nominal.area, nominal.saturation_polarization, nominal.leak_discharge, 1.0, nominal.v_threshold]
    np.testing.assert_allclose(fits.values[:, :5], factors * truth, rtol=3e-3)
    sigma, correlation = spread_of(fits, felif_card.domains)
    assert set(sigma) == set(correlation.names) <= set(felif_card.parameters)
    np.testing.assert_allclose(np.diag(correlation.matrix), 1.0)


@pytest.fixture(scope="module")
def varied(felif_card, farm, tmp_path_factory):
    """The spread of a netlist of which only the activation field and the threshold vary."""
    deck = tmp_path_factory.mktemp("varied") / "mine.cir"
    deck.write_text(NEURON_NETLIST.read_text().replace("../", f"{NEURON_NETLIST.parents[1]}/"))
    deck.with_suffix(".variation.yaml").write_text(
        "parameters:\n  ea: {distribution: normal, relative_sigma: 0.04}\n  vth: {distribution: normal, sigma: 0.03}\n"
    )
    return neuron_variability(felif_card, deck, samples=8, farm=farm)


def test_what_varies_in_the_netlist_varies_in_the_card_and_the_rest_does_not(varied):
    sigma, _ = varied
    assert sigma["activation_field_1"] == pytest.approx(0.04, rel=0.15)
    assert sigma["v_threshold"] == pytest.approx(0.03 / 2.5, rel=0.15)
    assert sigma["area"] < 0.01
    assert sigma["saturation_polarization"] < 0.012


def test_spread_and_correlation_fit_into_a_card(varied, felif_card):
    sigma, correlation = varied
    card = type(felif_card).model_validate_json(
        felif_card.model_copy(update={"variability": sigma, "variability_correlation": correlation}).to_json()
    )
    assert card.variability == sigma
    assert card.variability_correlation == correlation


def test_too_few_samples_and_silent_devices_are_refused(felif_card, farm, tmp_path):
    with pytest.raises(InputError, match="at least 8"):
        neuron_variability(felif_card, samples=3, farm=farm)
    deck = tmp_path / "leaky.cir"
    deck.write_text(NEURON_NETLIST.read_text().replace("../", f"{NEURON_NETLIST.parents[1]}/"))
    deck.with_suffix(".variation.yaml").write_text("parameters: {ileak: {distribution: uniform, min: 9n, max: 11n}}")
    with pytest.raises(FitError, match="does not spike at 160 pA"):
        neuron_variability(felif_card, deck, samples=8, farm=farm)
