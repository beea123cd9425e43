"""The compiled BPTT is BPTT: torch's autograd through the same Euler steps gives the same spikes and gradients."""

import pytest
import torch

from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.fused_bptt import fused_bptt


@pytest.mark.parametrize("surrogate", ["charge", "voltage"])
def test_it_gives_the_gradient_of_autograd_through_every_substep(felif_card, surrogate, one_thread):
    torch.manual_seed(0)
    drive = torch.rand(6, 2, 5, dtype=torch.float64) * 12e-9
    score = torch.randn(6, 2, 5, dtype=torch.float64)
    neuron = FeLIF(felif_card, "bptt", solver="euler", accuracy=250, surrogate=surrogate)
    found = []
    for spikes_of in (lambda current: neuron(current)[0].spikes, lambda current: fused_bptt(neuron, current, 250)):
        current_a = drive.clone().requires_grad_()
        spikes = spikes_of(current_a)
        (spikes * score).sum().backward()
        found.append((spikes.detach(), current_a.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][0].sum() > 4
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-8, atol=1e-8 * float(found[0][1].abs().max()))
