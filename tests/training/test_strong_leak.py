"""Tangents where the leak takes the membrane down within less than a substep, or pulls against inhibition."""

import pytest
import torch

from bruno_spice.training.neurons.felif import FeLIF, State
from tests.support.cards import one_domain_card

CURRENT_A = torch.tensor([-4.9, -1.0, 0.0, 5.0, 8.0, 20.0], dtype=torch.float64)[:, None] * 1e-9
VOLTAGE_V = torch.tensor([-0.02, 0.0, 0.005, 0.02, 0.5, 1.4], dtype=torch.float64)


def of_a_step(leak_a, solver, dtype, current_a=CURRENT_A):
    """dV'/dV, and dV'/dI over what the current alone brings, at the end of a millisecond, (currents, voltages)."""
    card = one_domain_card()
    neuron = FeLIF(card, "tangent", solver).to(dtype)
    neuron.set_devices({"leak_discharge": torch.tensor([leak_a], dtype=torch.float64)})
    voltage_v = VOLTAGE_V.to(dtype).expand(len(current_a), -1).clone().requires_grad_()
    current_a = current_a.to(dtype).expand(-1, len(VOLTAGE_V))[None].clone().requires_grad_()
    start = neuron.initial_state(*voltage_v.shape)
    _, end = neuron(current_a, State(voltage_v, start.domains, start.hold_ms, start.step_ms, start.spikes))
    end.voltage_v.sum().backward()
    assert not bool(torch.isnan(end.voltage_v).any())
    c_f = 1e-3 / float(neuron.constants()[0, 0])
    return voltage_v.grad.double(), current_a.grad[0].double() * c_f * 1e3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("leak_a", [1e-9, 5e-9, 20e-9])
def test_a_leak_never_makes_a_difference_grow(leak_a, dtype):
    """Where it pulled against inhibition each substep doubled it: 10^6 a millisecond."""
    by_v, _ = of_a_step(leak_a, "logistic", dtype)
    assert by_v.abs().max() <= 1.001


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_voltage_leaks_as_by_an_adaptive_solver_of_the_equations(dtype):
    """Where both pulled the same way dV'/dV was off by 0.24."""
    by_v, _ = of_a_step(0.2e-9, "logistic", dtype)
    true_by_v, _ = of_a_step(0.2e-9, "rosenbrock", torch.float64)
    assert (by_v - true_by_v).abs().max() < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_a_current_brings_leaks_too(dtype):
    """Where a current is balanced by the leak: it was 1.7 times too large."""
    balanced_a = torch.tensor([[0.05e-9]], dtype=torch.float64)
    _, by_i = of_a_step(0.2e-9, "logistic", dtype, balanced_a)
    _, true_by_i = of_a_step(0.2e-9, "rosenbrock", torch.float64, balanced_a)
    assert ((by_i / true_by_i)[:, :3] - 1.0).abs().max() < 0.15
