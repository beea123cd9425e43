"""What a spike hands on, and what the gradients see of it: docs/explanation/gradients.md says the same."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.models.rows import V_PER_P, WEIGHT, group_of
from bruno_spice.training.neurons.felif import FeLIF

CARD = FeLIFCard.load("data/calibrated/felif.json")
START_V = 2.3
CURRENTS_A = torch.tensor([5e-9, 8e-9, 11e-9], dtype=torch.float64)


def charge_after(start_v: torch.Tensor, reset: str, **options: object) -> torch.Tensor:
    """q/C = V + (A Ps/C) p, (3,) in V, a millisecond in whose first tenth each neuron spikes."""
    neuron = FeLIF(CARD, reset=reset, **options).double()
    state = neuron.initial_state(1, 3)
    state = state._replace(voltage_v=start_v[None], domains=torch.full_like(state.domains, 0.9999))
    out, end = neuron(CURRENTS_A[None, None], state)
    assert (out.spikes == 1).all()
    constants = neuron.constants()
    weight = constants[group_of(WEIGHT, CARD.domains)]
    return end.voltage_v[0] + constants[V_PER_P] * (weight * end.domains[:, 0]).sum(0)


@pytest.mark.parametrize(
    ("gradient", "solver", "accuracy"),
    [("tangent", "rosenbrock", 1e-8), ("bruno", "rosenbrock", 1e-8), ("bptt", "euler", 1000)],
)
def test_charge_passes_a_spike_of_the_circuit_whole_but_no_gradient_sees_it(gradient, solver, accuracy):
    """A crossing that comes earlier lets the next interval begin earlier."""
    start_v = torch.full((3,), START_V, dtype=torch.float64, requires_grad=True)
    options = {"gradient": gradient, "solver": solver, "accuracy": accuracy}
    seen = torch.autograd.grad(charge_after(start_v, "event", **options).sum(), start_v)[0]
    assert torch.equal(seen, torch.zeros(3, dtype=torch.float64))
    with torch.no_grad():
        step = 2e-3
        exact = {"solver": "rosenbrock", "accuracy": 1e-9}
        ends = [charge_after(start_v + side * step, "event", **exact) for side in (1, -1)]
    true = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close(true, torch.ones_like(true), rtol=0, atol=5e-3)


@pytest.mark.parametrize("reset", ["macro", "delayed"])
def test_a_reset_at_the_end_of_the_millisecond_forgets_the_charge(reset):
    with torch.no_grad():
        ends = [charge_after(torch.full((3,), START_V + side).double(), reset) for side in (-2e-3, 2e-3)]
    assert torch.equal(*ends)
