"""BRUNO's way back through a millisecond: an implicit Euler step, against autograd's equations and exact tangents."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.training.dynamics.laws import flow, stacked, torch_laws
from bruno_spice.training.dynamics.step_back import implicit_back
from bruno_spice.training.neurons.felif import FeLIF

CARD = FeLIFCard.load("calibrated")
RESETS = pytest.mark.parametrize("reset", ["event", "macro"])


def likeness(ours, truth):
    """Cosine and ratio of norms."""
    return float(torch.cosine_similarity(ours, truth, dim=0)), float(ours.norm() / truth.norm())


@pytest.mark.parametrize(("i_a", "h_ms"), [(5e-9, 1.0), (20e-9, 0.3), (-2e-9, 0.7), (0.3e-9, 0.0)])
def test_a_step_back_is_the_solution_of_its_linear_equations(i_a, h_ms):
    """mu = (1 - h A)^-T lam with A = df/dx by autograd."""
    law, x = torch_laws(FeLIFModel), stacked(torch_laws(FeLIFModel), FeLIF(CARD).constants()[:, None])
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        v = torch.rand(1, 1, generator=generator).double() * 2.4
        p = torch.rand(CARD.domains, 1, 1, generator=generator).double() * 1.9 - 1
        lam = torch.randn(1 + CARD.domains, generator=generator).double()
        current = torch.full_like(v, i_a)

        def f(state, current=current):
            return flow(law, x, state[:1, None], state[1:, None, None], current).flatten()

        slopes = torch.autograd.functional.jacobian(f, torch.cat([v[None], p]).flatten())
        truth = torch.linalg.solve((torch.eye(len(lam)).double() - h_ms * slopes).T, lam)
        ours = implicit_back(law, x, v, v, p, current, torch.full_like(v, h_ms), lam[:1, None], lam[1:, None, None])
        torch.testing.assert_close(torch.cat([ours.v[None], ours.p]).flatten(), truth, rtol=1e-6, atol=1e-9)


@RESETS
def test_what_is_read_out_of_spikes_and_voltage_has_the_gradient_of_tangents(reset):
    def gradient(name):
        generator = torch.Generator().manual_seed(0)
        x = (torch.rand(40, 4, 20, generator=generator) < 0.2).float()
        into = (torch.randn(20, 48, generator=generator) * 0.5 + 0.2).requires_grad_()
        among = (torch.randn(48, 48, generator=generator) * 0.15).requires_grad_()
        of_spikes, of_voltage = (torch.randn(48, 10, generator=generator) * 0.2 for _ in range(2))
        wanted = (torch.rand(40, 4, 10, generator=generator) < 0.3).float()
        out, _ = FeLIF(CARD, name, reset=reset, current_limits="envelope")(x @ into * 5e-9, None, among * 5e-9)
        assert out.spikes.mean() > 0.1
        logits = out.spikes @ of_spikes + out.voltage_v @ of_voltage
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, [into, among])])

    truth = gradient("tangent")
    cosine, ratio = likeness(gradient("bruno"), truth)
    assert cosine > 0.99
    assert 0.95 < ratio < 1.02
    cosine, ratio = likeness(gradient("bruno-published"), truth)
    assert cosine < 0.98
    assert ratio > 1.5


@RESETS
def test_parameters_of_the_film_have_gradients_close_to_those_of_tangents(reset):
    names = ("area", "alpha", "activation_field_1", "leak_density", "leak_discharge", "v_threshold")

    def gradients(name):
        generator = torch.Generator().manual_seed(1)
        current_a = torch.rand(30, 4, 16, generator=generator, dtype=torch.float64) * 8e-9
        neuron = FeLIF(CARD, name, reset=reset).double()
        mine = {each: torch.full((16,), CARD[each], dtype=torch.float64, requires_grad=True) for each in names}
        neuron.set_devices(mine)
        out, _ = neuron(current_a)
        later = torch.linspace(0, 1, 30, dtype=torch.float64)[:, None, None]
        loss = (out.spikes * later).sum() + 0.1 * out.voltage_v.square().sum()
        return torch.autograd.grad(loss, list(mine.values()))

    for name, ours, truth in zip(names, gradients("bruno"), gradients("tangent"), strict=True):
        cosine, ratio = likeness(ours, truth)
        assert cosine > 0.99, name
        assert 0.95 < ratio < 1.2, name
