"""RESET of the filament: what the equation promises, on the committed card."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.rram.reset import ResetParameters, reset_conductance

LENGTH_M, RADIUS_M = 0.4e-9, 45e-9
FILAMENTS = (st.floats(0.36e-9, 0.44e-9), st.floats(41e-9, 49e-9))


@pytest.fixture(scope="module")
def reset(rram_card):
    return ResetParameters.from_card(rram_card)


def test_the_60_uA_state_resets_as_measured_in_the_prototype(reset):
    """design table of the JART cell: 0.9/1.0/1.2/1.5/2.0 V leave 123/88/52/29/15 uS of 167 uS."""
    after = reset_conductance(167e-6, np.array([0.9, 1.0, 1.2, 1.5, 2.0]), LENGTH_M, RADIUS_M, reset)
    np.testing.assert_allclose(after * 1e6, [123, 88, 52, 29, 15], rtol=0.05)


@given(st.floats(30e-6, 500e-6), st.floats(0.9, 1.99), *FILAMENTS)
def test_reset_never_raises_the_conductance_and_more_voltage_never_leaves_more(reset, g_s, volt, length, radius):
    after = reset_conductance(g_s, np.array([volt, volt * 1.005]), length, radius, reset)
    assert after[0] <= g_s * (1 + 1e-12)
    assert after[1] <= after[0] * (1 + 1e-12)


def test_reset_forgets_the_state_before_it(reset):
    after = reset_conductance(np.array([150e-6, 300e-6, 500e-6]), 1.5, LENGTH_M, RADIUS_M, reset)
    assert np.ptp(after) < 1e-3 * after.mean()


def test_a_more_resistive_device_stays_as_it_is(reset):
    assert reset_conductance(20e-6, 0.95, LENGTH_M, RADIUS_M, reset) == pytest.approx(20e-6, rel=1e-3)


def test_a_conductive_device_needs_more_voltage_to_start(reset):
    middle, high = reset_conductance(np.array([300e-6, 500e-6]), 0.9, LENGTH_M, RADIUS_M, reset)
    assert middle < 0.5 * 300e-6
    assert high > 0.5 * 500e-6


def test_torch_agrees_with_numpy_and_differentiates(reset):
    volts = torch.tensor([0.95, 1.3, 1.9], dtype=torch.float64, requires_grad=True)
    g_s = torch.tensor([200e-6, 400e-6, 30e-6], dtype=torch.float64, requires_grad=True)
    after = reset_conductance(g_s, volts, LENGTH_M, RADIUS_M, reset)
    expected = reset_conductance(g_s.detach().numpy(), volts.detach().numpy(), LENGTH_M, RADIUS_M, reset)
    np.testing.assert_allclose(after.detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(
        lambda v, g: 1e5 * reset_conductance(g * 1e-4, v, LENGTH_M, RADIUS_M, reset),
        (volts, (g_s.detach() * 1e4).requires_grad_()),
    )


def test_a_card_without_reset_says_so(rram_card):
    without = {name: p for name, p in rram_card.parameters.items() if not name.startswith("reset_")}
    with pytest.raises(EnvelopeError, match="no RESET model"):
        ResetParameters.from_card(rram_card.model_copy(update={"parameters": without}))
