"""What a spike hands on, and what the gradients see of it: docs/explanation/gradients.md says the same."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.rows import V_PER_P, WEIGHT, group_of
from bruno_spice.training.dynamics import surrogates
from bruno_spice.training.dynamics.by_devices import ConstantsGradient
from bruno_spice.training.neurons.felif import FeLIF
from tests.devices.nudges import CARD as TWO_DOMAINS
from tests.support.cards import one_domain_card

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


WAYS = [("tangent", "rosenbrock", 1e-8), ("bptt", "euler", 1000), ("checkpoint", "euler", 1000)]


@pytest.fixture
def no_surrogate(monkeypatch):
    """Spikes pass no gradient: what is left is the derivative of V, p and hold."""
    monkeypatch.setitem(surrogates.SHAPES, "tanh", torch.zeros_like)


@pytest.fixture(scope="module")
def true_slope():
    """dq/dq across a spike by finite differences."""
    start_v, step = torch.full((3,), START_V, dtype=torch.float64), 2e-3
    with torch.no_grad():
        exact = {"solver": "rosenbrock", "accuracy": 1e-9}
        ends = [charge_after(start_v + side * step, "event", **exact) for side in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step)


def slope_by(gradient, solver, accuracy, **options):
    start_v = torch.full((3,), START_V, dtype=torch.float64, requires_grad=True)
    options |= {"gradient": gradient, "solver": solver, "accuracy": accuracy}
    return torch.autograd.grad(charge_after(start_v, "event", **options).sum(), start_v)[0]


@pytest.mark.parametrize("way", [*WAYS, ("bruno", "rosenbrock", 1e-8)], ids=lambda way: way[0])
def test_a_gradient_that_stops_at_a_reset_sees_no_charge_pass_a_spike(way, true_slope):
    """A crossing that comes earlier lets the next interval begin earlier: the circuit hands all of it on."""
    torch.testing.assert_close(true_slope, torch.ones_like(true_slope), rtol=0, atol=5e-3)
    assert torch.equal(slope_by(*way), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_through_spikes_it_sees_the_charge_pass(way, true_slope):
    ours = slope_by(*way, through_spikes=True)
    torch.testing.assert_close(ours, true_slope, rtol=0, atol=1e-3 if way[0] == "tangent" else 2e-2)


def test_a_gradient_that_cannot_pass_a_spike_says_which_can():
    with pytest.raises(InputError, match="stops at a reset; through_spikes goes with tangent, bptt, checkpoint"):
        FeLIF(CARD, through_spikes=True)


def network(card, reset, generator, width=6, steps=24, recurrent_a=5e-10):
    """A layer, its inputs, and what of its outputs is looked at: any of V, P, hold."""
    options = {"gradient": "tangent", "solver": "rosenbrock", "accuracy": 1e-8, "shape": "tanh"}
    neuron = FeLIF(card, reset=reset, through_spikes=True, **options)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    current_a = (torch.rand(steps, 2, width, generator=generator, dtype=torch.float64) * 14 - 1) * 2e-9
    recurrent = random(width, width) * recurrent_a
    by_v, by_p, by_hold = random(steps, 2, width), random(steps, 2, width), random(2, width)

    def run(current_a, recurrent):
        out, end = neuron(current_a, recurrent_a=recurrent)
        looked = (by_v * out.voltage_v).sum() + (by_p * out.polarization).sum() + (by_hold * end.hold_ms).sum()
        return looked, out.spikes

    return neuron, run, current_a.requires_grad_(), recurrent.requires_grad_(), random


@pytest.mark.parametrize("reset", ["macro", "event", "delayed"])
@pytest.mark.parametrize("card", [one_domain_card(), TWO_DOMAINS], ids=lambda card: f"K={card.domains}")
def test_through_spikes_the_tangents_are_central_differences(no_surrogate, card, reset):
    """With recurrence, inhibition, and with event reset several spikes a millisecond; counts unchanged."""
    generator = torch.Generator().manual_seed(0)
    _, run, current_a, recurrent, random = network(card, reset, generator)
    looked, spikes = run(current_a, recurrent)
    by_current, by_recurrent = torch.autograd.grad(looked, (current_a, recurrent))
    assert spikes.sum() > 50
    assert reset != "event" or spikes.max() > 1
    for _ in range(4):
        step, turn = random(*current_a.shape) * 1e-13, random(*recurrent.shape) * 1e-13
        with torch.no_grad():
            (above, more), (below, fewer) = (run(current_a + s * step, recurrent + s * turn) for s in (1, -1))
        assert torch.equal(more, spikes)
        assert torch.equal(fewer, spikes)
        ours = (by_current * step).sum() + (by_recurrent * turn).sum()
        assert ours.item() == pytest.approx((above - below).item() / 2, rel=2e-3)


@pytest.mark.parametrize(
    ("card", "reset", "steps"),
    [(one_domain_card(), "event", 14), (one_domain_card(), "macro", 14), (TWO_DOMAINS, "event", 14)],
    ids=["K=1-event", "K=1-macro", "K=2-event"],
)
def test_through_spikes_every_device_parameter_is_a_central_difference(no_surrogate, monkeypatch, card, reset, steps):
    """All declared parameters, each neuron's own; the state before the first millisecond is theirs too."""
    monkeypatch.setattr(ConstantsGradient, "SUBSTEPS", {torch.float64: 64})  # half of the usual
    width = 8
    generator = torch.Generator().manual_seed(1)
    neuron = FeLIF(card, "tangent", "rosenbrock", accuracy=1e-9, reset=reset, through_spikes=True, shape="tanh")
    current_a = (torch.rand(steps, 1, width, generator=generator, dtype=torch.float64) * 14 - 1) * 2e-9
    by_v, by_p = torch.randn(2, steps, width, generator=generator, dtype=torch.float64)
    devices = {
        name: torch.nn.Parameter(torch.full((width,), each.value, dtype=torch.float64))
        for name, each in card.parameters.items()
    }
    neuron.set_devices(devices)

    def looked():
        out, _ = neuron(current_a)
        return (by_v * out.voltage_v[:, 0] + by_p * out.polarization[:, 0]).sum(0), out.spikes

    each_neuron, spikes = looked()
    each_neuron.sum().backward()
    assert spikes.sum() > 50
    assert (current_a < 0).any()
    true, ours = {}, {}
    with torch.no_grad():
        for name, value in devices.items():
            here, share = value.data.clone(), 1e-5
            step = share * (here.abs() if here.any() else torch.full_like(here, 1e-2))
            ends = []
            for side in (1, -1):
                value.data = here + side * step
                end, counted = looked()
                assert torch.equal(counted, spikes)
                ends.append(end)
            value.data = here
            true[name], ours[name] = (ends[0] - ends[1]) / (2 * share), value.grad * step / share
    largest = max(each.norm() for each in true.values())
    for name in devices:
        assert (ours[name] - true[name]).norm() < 1e-2 * true[name].norm() + 1e-4 * largest, name


@pytest.mark.parametrize("card", [one_domain_card(), CARD])
@pytest.mark.parametrize("reset", ["macro", "event"])
def test_the_single_precision_kernel_passes_spikes_as_the_reference_does(no_surrogate, reset, card):
    """At its default setting, in the trains that have the same spikes in the same milliseconds."""
    drive = torch.rand(10, 1, 130, generator=torch.Generator().manual_seed(2)) * 26e-9 - 2e-9
    looked = torch.randn(2, 10, 1, 130, generator=torch.Generator().manual_seed(3))

    def gradient(dtype, **options):
        current_a = drive.to(dtype, copy=True).requires_grad_()
        neuron = FeLIF(card, "tangent", reset=reset, through_spikes=True, shape="tanh", **options)
        out, _ = neuron(current_a)
        (looked[0] * out.voltage_v + looked[1] * out.polarization).sum().backward()
        return current_a.grad.double(), out.spikes

    ours, spikes = gradient(torch.float32, solver="logistic")
    true, counted = gradient(torch.float64, solver="rosenbrock", accuracy=1e-9)
    same = (spikes == counted).all(0)
    assert same.double().mean() > 0.97
    assert spikes.sum() > 500
    assert (ours - true)[:, same].norm() < 2e-2 * true[:, same].norm()


@pytest.mark.parametrize("reset", ["macro", "delayed"])
def test_a_reset_at_the_end_of_the_millisecond_forgets_the_charge(reset):
    with torch.no_grad():
        ends = [charge_after(torch.full((3,), START_V + side).double(), reset) for side in (-2e-3, 2e-3)]
    assert torch.equal(*ends)
