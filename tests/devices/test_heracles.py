"""HERACLES' neuron against scipy's integration of its equations, and the derivatives that training takes of it.

Measured: spike times within 2e-5 at constant currents; V within 5 mV rms, p within 2e-3.
"""

import numpy as np
import pytest
import torch

from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.experiments import pwl
from bruno_spice.devices.cards.base import HeraclesCard
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.models.heracles import HeraclesModel
from bruno_spice.devices.models.rows import P_RESET, V_RESET
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.training.dynamics import SOLVERS, step_back
from bruno_spice.training.dynamics.laws import rows_of, torch_laws
from bruno_spice.training.dynamics.membrane import Membrane
from bruno_spice.training.neurons.felif import FeLIF
from tests.support.heracles_reference import Neuron, simulate_neuron

CARD = HeraclesCard.published()
CHARGE_C = 16.9e-12
"""That a spike takes."""


def reference(stimulus: Stimulus, t_stop_s: float):
    return simulate_neuron(Neuron(supply_v=100.0), *pwl(stimulus, t_stop_s), t_stop_s)


@pytest.mark.parametrize("current_a", [308e-12, 2e-9, 10e-9, 30e-9])
def test_spikes_and_the_way_to_them_are_those_of_the_equations(current_a):
    end = 2.2 * CHARGE_C / (current_a - 10e-12) + 0.7e-3
    stimulus = Stimulus.dc(current_a)
    found, expected = simulate(CARD, stimulus, end, end / 2000, rtol=1e-9), reference(stimulus, end)
    assert expected.spike_times_s.size == 2
    np.testing.assert_allclose(found.spike_times_s, expected.spike_times_s, rtol=1e-3)
    away = np.min(np.abs(found.time_s[:, None] - expected.spike_times_s), axis=1) > 2e-3 * end
    time = found.time_s[away]
    v, p = (np.interp(time, expected.time_s, x) for x in (expected.voltage_v, expected.p))
    assert np.sqrt(np.mean((found["v_mem_v"][away] - v) ** 2)) < 10e-3
    np.testing.assert_allclose(found["polarization"][away], 2 * p - 1, atol=5e-3)


def test_a_network_s_input_with_inhibition_gives_the_spikes_of_the_equations():
    drive, end = stimuli.network_like(1, milliseconds=12)
    assert drive.i_syn_a.min() < 0
    found, expected = simulate(CARD, drive, end), reference(drive, end)
    assert expected.spike_times_s.size >= 4
    np.testing.assert_allclose(found.spike_times_s, expected.spike_times_s, rtol=1e-3)


WIDTH = 120
SETTINGS = [("rosenbrock", 1e-9, 2e-4), ("logistic", 32, 0.03), ("euler", 4000, 0.03)]


def one_step(solver: str, accuracy: float, v, p, i_a, tangents: bool):
    """One macro step from V (n,), p (1, n) under `i_a` (n,)."""
    state = Membrane(v.clone(), p.clone(), torch.zeros(WIDTH).double(), torch.full((WIDTH,), 1e-2).double())
    constants = FeLIF(CARD).constants()
    return state, SOLVERS[solver].run(HeraclesModel, constants, state, i_a, accuracy, False, tangents, None)


@pytest.fixture(scope="module")
def on_the_way():
    """V (n,), p (1, n) and currents (n,) of neurons that three milliseconds took to any polarization."""
    torch.manual_seed(0)
    constants = FeLIF(CARD).constants()
    i_a = torch.rand(WIDTH).double() * 6e-9 - 1e-9
    v, p = constants[V_RESET].expand(WIDTH).clone(), constants[P_RESET].expand(1, WIDTH).clone()
    for _ in range(3):
        state, _ = one_step("rosenbrock", 1e-9, v, p, i_a, False)
        v, p = state.v, state.p
    return v, p, i_a


@pytest.mark.parametrize(("solver", "accuracy", "allowed"), SETTINGS)
def test_tangents_of_a_macro_step_are_differences(on_the_way, solver, accuracy, allowed):
    v, p, i_a = on_the_way
    _, step = one_step(solver, accuracy, v, p, i_a, True)
    silent = step.spikes == 0
    assert silent.sum() > 50
    assert step.tangents is not None
    for column, (dv, dp, di) in enumerate(((1e-6, 0.0, 0.0), (0.0, 1e-6, 0.0), (0.0, 0.0, 1e-14))):
        ahead, _ = one_step("rosenbrock", 1e-10, v + dv, p + dp, i_a + di, False)
        behind, _ = one_step("rosenbrock", 1e-10, v - dv, p - dp, i_a - di, False)
        slopes = torch.stack([ahead.v - behind.v, (ahead.p - behind.p)[0]])[:, silent] / (2 * (dv + dp + di))
        error = (step.tangents[:, column, silent] - slopes).norm(dim=1) / slopes.norm(dim=1)
        assert error.max() < allowed, (column, error)


def test_the_coarse_jacobian_is_finite_everywhere():
    """Also in the wells and where a depletion layer vanishes, at any current."""
    count = 2001
    v = torch.linspace(-4.0, 4.0, count, dtype=torch.float64)[None]
    constants = FeLIF(CARD).constants()
    law = torch_laws(HeraclesModel)
    rows = rows_of(law, constants)
    edge = CARD["fixed_charge"] / float(rows[0].per_film_v)
    v[0, :2] = torch.tensor([edge, -edge])
    for level in (-1.0, -0.3, 0.99999, 1.0):
        p = torch.full((1, 1, count), level, dtype=torch.float64)
        for current_a in (-20e-9, 0.0, 20e-9):
            i_a = torch.full_like(v, current_a)
            by_v, kept, by_i = step_back.coarse_jacobian(law, rows, v, p, i_a, torch.ones_like(v))
            for each in (by_v, *kept, by_i):
                assert torch.isfinite(each).all()
                assert each.abs().max() < 1e12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("gradient", "setting"), [("bruno", {}), ("tangent", {}), ("bptt", {"solver": "euler", "accuracy": 300})], ids=str
)
def test_a_gradient_through_a_layer_is_finite_and_reaches_every_current(gradient, setting, dtype):
    torch.manual_seed(0)
    current_a = (torch.rand(4, 1, 16, dtype=dtype) * 24e-9 - 6e-9).requires_grad_()
    layer = FeLIF(CARD, gradient, **setting).to(dtype)
    out, _ = layer(current_a, recurrent_a=1e-9 * torch.randn(16, 16, dtype=dtype))
    assert out.spikes.sum() > 5
    (out.spikes.sum() + out.voltage_v.mean()).backward()
    assert torch.isfinite(current_a.grad).all()
    assert (current_a.grad != 0).double().mean() > 0.7
