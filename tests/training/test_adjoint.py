"""Whole sequences in one compiled call, forward and back, against the loops over their macro steps."""

import itertools

import pytest
import torch

from bruno_spice.training.dynamics import adjoint, gradients
from bruno_spice.training.dynamics.surrogates import SHAPES
from bruno_spice.training.neurons.felif import FeLIF
from tests.devices.nudges import CARD as TWO_DOMAINS
from tests.support.cards import one_domain_card
from tests.training.test_neurons import three_domain_card

ONE_DOMAIN = one_domain_card()


def step_by_step(monkeypatch):
    """Let layers take the loops."""
    monkeypatch.setattr(gradients, "goes_at_once", lambda plan, values: False)
    monkeypatch.setattr(adjoint, "sweeps_at_once", lambda plan, tape: False)


def sequence(card, **options):
    """What a layer shows, its state at the end, and gradients by current, start and recurrent weights, from every
    output; sequences of three lengths."""
    generator = torch.Generator().manual_seed(0)
    neuron = FeLIF(card, **options)
    current = ((torch.rand(12, 3, 130, generator=generator) * 12 - 1) * 1e-9).requires_grad_()
    recurrent = (torch.randn(130, 130, generator=generator) * 2e-10).requires_grad_()
    start = neuron.initial_state(3, 130)
    hold = (torch.rand(3, 130, generator=generator) * 3 - 1.5).clamp(min=0.0)
    hold = hold.requires_grad_(neuron.through_spikes and neuron.reset == "event")
    domains = (torch.rand(start.domains.shape, generator=generator) * 1.9 - 0.95).requires_grad_()
    v = torch.full((3, 130), 1.2, requires_grad=True)
    out, state = neuron(
        current, start._replace(voltage_v=v, domains=domains, hold_ms=hold), recurrent, torch.tensor([12, 9, 4])
    )
    assert out.spikes.sum() > 100
    loss = ((out.spikes - 0.3 * out.voltage_v + 0.2 * out.polarization).cumsum(0) ** 2).mean()
    (loss + 0.1 * state.voltage_v.sum() + state.hold_ms.sum() * hold.requires_grad).backward()
    found = [x.grad for x in (current, recurrent, v, domains, hold) if x.requires_grad]
    return [*out, *state[:3]], found


def cases():
    cards = [(ONE_DOMAIN, "charge", shape) for shape in SHAPES]
    cards += [
        (ONE_DOMAIN, "voltage", "tanh"),
        (TWO_DOMAINS, "charge", "tanh"),
        (three_domain_card(), "charge", "arctan"),
    ]
    all_of_them = itertools.product(cards, ("bruno", "tangent"), ("macro", "event", "delayed"))
    through = itertools.product(cards[-3:], ("tangent through spikes",), ("macro", "event"))
    for (card, surrogate, shape), gradient, reset in [*all_of_them, *through]:
        name = f"K={card.domains}-{surrogate}-{shape}-{gradient}-{reset}"
        yield pytest.param(card, surrogate, shape, gradient, reset, id=name)


@pytest.mark.parametrize(("card", "surrogate", "shape", "gradient", "reset"), list(cases()))
def test_a_sequence_at_once_is_that_of_its_steps(monkeypatch, card, surrogate, shape, gradient, reset):
    gradient, *through = gradient.split(maxsplit=1)
    options = {"surrogate": surrogate, "shape": shape, "gradient": gradient, "reset": reset,
               "through_spikes": bool(through), "current_limits": (-1e-9, 10e-9), "limit_slope": 0.5}  # fmt: skip
    shown, ours = sequence(card, **options)
    step_by_step(monkeypatch)
    shown_by_steps, truth = sequence(card, **options)
    assert torch.equal(shown[0], shown_by_steps[0])
    for one, other in zip(shown[1:], shown_by_steps[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-6)
    rounding = 1e-3 if through else 3e-5  # V' at a crossing is a small difference of large numbers
    for one, other in zip(ours, truth, strict=True):
        assert (one - other).abs().max() < rounding * other.abs().max()


@pytest.mark.parametrize("spread", [False, True], ids=["one device", "devices of their own"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 65), (7, 1, 300), (5, 2, 0), (0, 2, 3)], ids=str)
def test_any_size_goes_at_once(monkeypatch, shape, spread):
    neuron = FeLIF(TWO_DOMAINS, "tangent", reset="event")
    current = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 20e-9 - 2e-9
    if spread:
        neuron.set_devices({"v_threshold": 2.5 + 0.1 * torch.linspace(-1.0, 1.0, shape[2])})

    def run():
        leaf = current.clone().requires_grad_()
        out, state = neuron(leaf)
        (out.spikes.sum() + (out.voltage_v**2).sum() + state.domains.sum()).backward()
        with torch.no_grad():
            assert torch.equal(neuron(leaf)[0].voltage_v, out.voltage_v)
        return out.spikes, out.voltage_v.detach(), leaf.grad

    ours = run()
    step_by_step(monkeypatch)
    truth = run()
    assert torch.equal(ours[0], truth[0])
    torch.testing.assert_close(ours[1], truth[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        ours[2], truth[2], rtol=1e-4, atol=1e-4 * float(truth[2].abs().max() if truth[2].numel() else 0)
    )


def test_threads_make_no_difference():
    neuron = FeLIF(TWO_DOMAINS, "tangent", reset="event", current_limits=(-1e-9, 10e-9))
    generator = torch.Generator().manual_seed(3)
    current = torch.rand(6, 5, 70, generator=generator) * 20e-9 - 2e-9
    weights = torch.randn(70, 70, generator=generator) * 2e-10
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaves = [current.clone().requires_grad_(), weights.clone().requires_grad_()]
            out, _ = neuron(leaves[0], None, leaves[1], torch.tensor([6, 1, 6, 3, 2]))
            (out.spikes + out.voltage_v).sum().backward()
            found.append([*out, leaves[0].grad])
    finally:
        torch.set_num_threads(before)
    for each in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(each, found[0], strict=True))


@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
def test_frames_beyond_a_sequences_end_say_nothing_of_its_devices(gradient):
    lengths = torch.tensor([6, 3])
    current = torch.rand(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 9e-9

    def slope(mask):
        threshold = torch.nn.Parameter(torch.full((3,), 2.5, dtype=torch.float64))
        neuron = FeLIF(ONE_DOMAIN, gradient).double()
        neuron.set_devices({"v_threshold": threshold})
        out, _ = neuron(current, lengths=lengths)
        loss = ((out.spikes + out.voltage_v) * mask).sum()
        return torch.autograd.grad(loss, neuron.device_v_threshold)[0]

    within = (torch.arange(6)[:, None] < lengths)[..., None].double()
    torch.testing.assert_close(slope(torch.ones_like(within)), slope(within), rtol=1e-12, atol=0)


def test_every_shape_of_the_registry_is_compiled():
    from bruno_spice.devices.ferroelectric.simd.adjoint import SHAPES as COMPILED

    assert set(COMPILED) == set(SHAPES)
