import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.rram.filament import (
    RRAMParameters,
    conductance,
    current_range,
    levels,
    programming_current,
    read_noise,
    sample_geometry,
)

LENGTH_M, RADIUS_M = 0.4e-9, 45e-9


def test_conductance_reads_like_the_equation(rram_card):
    p = RRAMParameters.from_card(rram_card)
    a, b, u = 0.36 / 0.40, 49 / 45, np.log(50 / 100)
    power = p.c_0 + p.c_1 * u + p.c_2 * u**2
    disc = np.exp(power + (p.c_length + p.c_length_cross * u) * np.log(a) + (p.c_radius + p.c_cross * u) * np.log(b))
    expected = 1 / (p.r_series + p.r_area / b**2 + disc)
    assert conductance(50e-6, 0.36e-9, 49e-9, p) == pytest.approx(expected, rel=1e-12)


@given(st.floats(15e-6, 299e-6), st.floats(0.36e-9, 0.44e-9), st.floats(41e-9, 49e-9))
def test_more_programming_current_gives_more_conductance(rram_card, current, length, radius):
    p = RRAMParameters.from_card(rram_card)
    assert conductance(current * 1.003, length, radius, p) > conductance(current, length, radius, p)


def test_a_device_that_was_never_programmed_stays_at_its_high_resistive_state(rram_card):
    p = RRAMParameters.from_card(rram_card)
    assert conductance(1e-9, LENGTH_M, RADIUS_M, p) == p.g_hrs


@given(st.floats(60e-6, 480e-6))
def test_the_inverse_undoes_the_conductance(rram_card, g_s):
    p = RRAMParameters.from_card(rram_card)
    current = programming_current(g_s, p, current_range(rram_card))
    assert conductance(current, p.length_mean, p.radius_mean, p) == pytest.approx(g_s, rel=1e-12)


def test_a_conductance_out_of_reach_is_refused_with_the_numbers(rram_card):
    with pytest.raises(EnvelopeError, match="nan S is outside"):
        programming_current([1e-4, np.nan], RRAMParameters.from_card(rram_card), current_range(rram_card))
    with pytest.raises(EnvelopeError, match="5 mS is outside"):
        programming_current(5e-3, RRAMParameters.from_card(rram_card), current_range(rram_card))


def test_eight_levels_are_even_in_conductance_and_need_25_to_204_microampere(rram_card):
    eight = levels(rram_card, bits=3)
    np.testing.assert_allclose(eight.conductance_s, np.linspace(50e-6, 500e-6, 8))
    np.testing.assert_allclose(eight.i_prog_a[[0, -1]], [25e-6, 204e-6], rtol=0.03)


def test_torch_and_numpy_agree_and_torch_differentiates(rram_card):
    p = RRAMParameters.from_card(rram_card)
    current = torch.tensor([30e-6, 100e-6], dtype=torch.float64, requires_grad=True)
    g = conductance(current, LENGTH_M, RADIUS_M, p)
    np.testing.assert_allclose(g.detach().numpy(), conductance(np.array([30e-6, 100e-6]), LENGTH_M, RADIUS_M, p))
    g.sum().backward()
    step = 1e-9
    up, down = (conductance(current.detach().numpy() + s, LENGTH_M, RADIUS_M, p) for s in (step, -step))
    np.testing.assert_allclose(current.grad.numpy(), (up - down) / (2 * step), rtol=1e-5)


def test_sampled_filaments_have_the_cards_spread_and_stay_in_the_box(rram_card):
    p = RRAMParameters.from_card(rram_card)
    length, radius = sample_geometry(20000, p, np.random.default_rng(0))
    assert length.min() >= 0.36e-9 * 0.999999
    assert length.max() <= 0.44e-9 * 1.000001
    # a normal truncated at two sigma keeps 0.88 of its standard deviation
    assert np.std(length) / p.length_mean == pytest.approx(0.88 * p.length_sigma, rel=0.02)
    assert np.std(radius) / p.radius_mean == pytest.approx(0.88 * p.radius_sigma, rel=0.02)
    assert abs(np.corrcoef(length, radius)[0, 1]) < 0.03


def test_read_noise_is_worst_at_low_conductance_and_never_below_its_floor(rram_card):
    p = RRAMParameters.from_card(rram_card)
    g = np.linspace(20e-6, 600e-6, 50)
    relative = read_noise(g, LENGTH_M, p) / g
    assert np.all(np.diff(relative) < 0)
    assert relative[-1] == pytest.approx(p.read_noise_floor, rel=0.05)
    expected = 0.762 * (1 - 50e-6 * 1605) ** 2 / (50e-6 * 1.25e5)
    assert read_noise(50e-6, LENGTH_M, p) / 50e-6 == pytest.approx(np.hypot(expected, p.read_noise_floor))
