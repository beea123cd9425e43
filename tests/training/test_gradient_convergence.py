"""Where the ways through a millisecond agree in the limit: the 1 us Euler step is one approximation among others."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.neurons.felif import FeLIF

STEPS, BATCH, INPUTS, WIDTHS = 20, 4, 8, (6, 5)


def weight_gradient(card, surrogate, solver, accuracy):
    """Exact tangents' gradient by all weights of a recurrent two-layer net, float64, flattened."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = torch.randint(0, 2, (STEPS, BATCH, INPUTS), generator=generator).double()
    shapes = ((INPUTS, WIDTHS[0]), WIDTHS, (WIDTHS[0], WIDTHS[0]))
    weights = [normal(*shape).requires_grad_() for shape in shapes]
    neuron = FeLIF(card, "tangent", solver, surrogate, accuracy=accuracy).double()
    hidden, _ = neuron((x @ weights[0] * 0.5 + 0.3) * 1e-9, None, weights[2] * 1e-9)
    shown, _ = neuron((hidden.spikes @ weights[1] + 0.5) * 2e-9)
    loss = ((shown.spikes * normal(WIDTHS[1])).cumsum(0) / STEPS).pow(2).mean()
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, weights)])


@pytest.mark.parametrize("surrogate", ["charge", "voltage"])
def test_the_gradients_of_all_solvers_converge_to_one(felif_card: FeLIFCard, surrogate: str) -> None:
    limit = weight_gradient(felif_card, surrogate, "rosenbrock", 1e-7)

    def error(solver, accuracy):
        return float((weight_gradient(felif_card, surrogate, solver, accuracy) - limit).norm() / limit.norm())

    coarse, fine = error("euler", 1000), error("euler", 8000)
    assert 3 < coarse / fine < 16, "the microsecond Euler step is of first order"
    assert error("rosenbrock", 1e-4) < coarse
    assert error("logistic", 64) < 5e-3
    assert error("logistic", 20) < max(coarse, 1e-3), "the training default is as close as the microsecond Euler step"
