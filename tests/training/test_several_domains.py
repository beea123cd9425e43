"""The default kernel with several domains, at the substeps that it takes by default, against the adaptive solver."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.neurons.felif import FeLIF
from tests.training.test_neurons import compare, three_domain_card

STEPS, BATCH, WIDTH = 40, 8, 50
NETWORK_RANGE_A = (-5e-9, 10e-9)


def tailed_card():
    """Most of a film in one domain, three small ones for the tails of its distribution, as `plateau.with_tails`."""
    card = FeLIFCard.published()
    shared = {name: card[name] for name in FeLIFCard.UNITS} | {
        "thickness_int": 4.36e-10,
        "eps_hzo": 40.35,
        "saturation_polarization": 0.2196,
        "tau_0": 1e-6,
        "alpha": 4.25,
        "v_floor": 0.0,
        "v_reset": 0.0,
        "t_refractory": 0.308e-3,
    }
    tails = ((1.677e8, 0.8236), (1.441e8, 0.0954), (1.120e8, 0.0144), (1.927e8, 0.0666))
    domains = {}
    for k, (activation, weight) in enumerate(tails, start=1):
        domains |= {f"activation_field_{k}": activation, f"offset_field_{k}": 0.0, f"domain_weight_{k}": weight}
    return FeLIFCard.from_values(shared | domains, source="test", domains=4)


def run(card, solver, dtype, accuracy=None):
    """Spikes, voltages and the gradient of a random loss under network-like currents."""
    generator = torch.Generator().manual_seed(1)
    low, high = NETWORK_RANGE_A
    current = torch.rand(STEPS, BATCH, WIDTH, generator=generator, dtype=torch.float64) * (high - low) + low
    read = torch.randn(STEPS, BATCH, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    current = current.to(dtype).requires_grad_()
    shown, _ = FeLIF(card, "tangent", solver, reset="event", accuracy=accuracy)(current)
    (gradient,) = torch.autograd.grad((shown.spikes * read).sum(), current)
    return shown.spikes.detach().double(), shown.voltage_v.detach().double(), gradient.double()


@pytest.mark.parametrize(
    ("card", "wrong_spikes", "voltage_v", "cosine", "length"),
    [(tailed_card(), 1e-3, 2e-3, 0.9999, 2e-3), (three_domain_card(), 5e-3, 8e-3, 0.99, 2e-2)],
    ids=["tails", "shares"],
)
def test_the_default_substeps_are_enough_for_several_domains(card, wrong_spikes, voltage_v, cosine, length):
    spikes, voltage, gradient = run(card, "rosenbrock", torch.float64, 1e-7)
    ours, our_voltage, our_gradient = run(card, "logistic", torch.float32)
    assert spikes.sum() > 500
    assert int((ours - spikes).abs().sum()) <= wrong_spikes * spikes.numel()
    alike = (ours == spikes).all(dim=0)
    quiet = alike & (spikes == 0)
    assert float((our_voltage - voltage)[quiet].pow(2).mean().sqrt()) < voltage_v
    direction, ratio = compare(our_gradient[:, alike].flatten(), gradient[:, alike].flatten())
    assert direction > cosine
    assert ratio == pytest.approx(1.0, abs=length)
