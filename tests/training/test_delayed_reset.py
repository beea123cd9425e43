"""`reset="delayed"` is the neuron of BRUNO's authors: their equations and rule, integrated here by a plain loop."""

import numpy as np
import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.training.dynamics.laws import torch_laws
from bruno_spice.training.dynamics.unrolled import macro_step
from bruno_spice.training.neurons.felif import FeLIF

CARD = FeLIFCard.published()
NA = 1e-9


def authors(current_a: np.ndarray) -> np.ndarray:
    """Spikes (T, N) under `current_a` (T, N) in A: 1000 Euler steps of 1 us a millisecond, frozen once V > V_th; a
    spike is seen at the millisecond's end, and V = -1.5 V, P = -Ps replace the whole result of the next one."""
    eps_0, area, t_film, t_layer, eps_film, eps_layer = 8.8541878128e-12, 25e-12, 10e-9, 1.375e-9, 25.2, 33.0
    p_s, e_a, tau_0, alpha, i_0, v_t, i_dsc, v_th = 0.22, 12.7e8, 1e-13, 1.3, 1e-4, 0.32, 10e-12, 2.5
    whole = t_film * eps_layer + t_layer * eps_film
    capacitance = eps_0 * eps_film * area / t_film + 15e-15
    v, p = np.zeros(current_a.shape[1]), np.full(current_a.shape[1], -p_s)
    spikes = []
    for i_a in current_a:
        before = v > v_th
        for _ in range(1000):
            runs = (v <= v_th) & ~before
            field = eps_layer / whole * v - t_layer / (eps_0 * whole) * p
            tau = tau_0 * np.exp(np.minimum((e_a / (np.abs(field) + 5e-6)) ** alpha, 700.0))
            dp = np.clip(p + 1e-6 * (np.sign(field) * p_s - p) / tau, -p_s, p_s) - p
            leak = (i_0 * area * (np.exp(v / v_t) - 1.0) + i_dsc) * np.sign(v)
            dv = (1e-6 * (i_a - leak) - area * dp) / capacitance
            v, p = np.where(runs, np.maximum(v + dv, -5.0), v), np.where(runs, p + dp, p)
        v, p = np.where(before, -1.5, v), np.where(before, -p_s, p)
        spikes.append(v > v_th)
    return np.array(spikes).astype(int)


def ours(current_a: np.ndarray, solver: str, dtype: torch.dtype) -> np.ndarray:
    neuron = FeLIF(CARD, solver=solver, reset="delayed").to(dtype)
    out, _ = neuron(torch.tensor(current_a[:, None], dtype=dtype))
    return out.spikes[:, 0].round().int().numpy()


@pytest.fixture(scope="module")
def constant() -> tuple[np.ndarray, np.ndarray]:
    """Eight constant currents for 90 ms, and the spikes."""
    current_a = np.tile(np.array([0.308, 0.5, 0.8, 1.5, 3.0, 6.0, 12.0, 25.0]) * NA, (90, 1))
    return current_a, authors(current_a)


@pytest.fixture(scope="module", params=[(-5.0, 30.0), (-2.0, 5.0)], ids=str)
def network_like(request) -> tuple[np.ndarray, np.ndarray]:
    """Forty neurons, 40 ms, a new current each millisecond, uniform between two limits in nA; and the spikes."""
    current_a = np.random.default_rng(4).uniform(*request.param, (40, 40)) * NA
    return current_a, authors(current_a)


SOLVERS = [("euler", torch.float64), ("rosenbrock", torch.float64), ("logistic", torch.float64),
           ("logistic", torch.float32)]  # fmt: skip


@pytest.mark.parametrize(("solver", "dtype"), SOLVERS, ids=str)
def test_spikes_fall_in_the_authors_milliseconds_at_constant_currents(constant, solver, dtype):
    current_a, spikes = constant
    assert (np.flatnonzero(spikes[:, 0]) + 1).tolist() == [42, 88]
    np.testing.assert_array_equal(ours(current_a, solver, dtype), spikes)


@pytest.mark.parametrize(("solver", "dtype"), SOLVERS, ids=str)
def test_spikes_fall_in_the_authors_milliseconds_on_network_like_input(network_like, solver, dtype):
    current_a, spikes = network_like
    assert spikes.sum() > 100
    np.testing.assert_array_equal(ours(current_a, solver, dtype), spikes)


def test_the_unrolled_steps_follow_the_rule_too():
    current_a = np.random.default_rng(5).uniform(2.0, 30.0, (12, 6)) * NA
    found = FeLIF(CARD, "bptt", "euler", reset="delayed", accuracy=1000).double()
    with torch.no_grad():
        out, _ = found(torch.tensor(current_a[:, None]))
    spikes = authors(current_a)
    assert spikes.sum() > 5
    np.testing.assert_array_equal(out.spikes[:, 0].numpy(), spikes)


@pytest.mark.parametrize("gradient", ["tangent", "bruno"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_current_of_a_millisecond_that_the_reset_takes_has_no_gradient(gradient, dtype):
    current_a = torch.full((8, 1, 3), 20 * NA, dtype=dtype, requires_grad=True)
    out, _ = FeLIF(CARD, gradient, reset="delayed").to(dtype)(current_a)
    lost = torch.cat([torch.zeros_like(out.spikes[:1]), out.spikes[:-1]]) > 0
    assert lost.any()
    assert (out.voltage_v[lost] == CARD["v_reset"]).all()
    (out.voltage_v.cumsum(0) + out.spikes).sum().backward()
    assert (current_a.grad[lost] == 0).all()
    assert (current_a.grad[~lost][:3] != 0).all()


def test_the_gradient_through_the_rule_is_that_of_every_substep():
    def gradient(mode: str) -> torch.Tensor:
        current_a = torch.rand(9, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 12e-9
        current_a.requires_grad_()
        out, _ = FeLIF(CARD, mode, "euler", reset="delayed", accuracy=400).double()(current_a)
        assert out.spikes.sum() > 10
        ((out.spikes + 0.3 * out.voltage_v).cumsum(0) ** 2).mean().backward()
        return current_a.grad

    truth = gradient("bptt")
    torch.testing.assert_close(gradient("tangent"), truth, rtol=1e-7, atol=1e-9 * float(truth.abs().max()))


def test_a_held_millisecond_changes_nothing_in_the_unrolled_rule():
    constants = FeLIF(CARD).constants()
    v, p = torch.full((1, 2), -1.5).double(), torch.full((1, 1, 2), -1.0).double()
    law = torch_laws(FeLIFModel)
    window = macro_step(law, v, p, torch.ones(1, 2).double(), torch.full((1, 2), 30e-9).double(), constants, 50, False)
    assert torch.equal(window.v, v)
    assert torch.equal(window.p, p)
