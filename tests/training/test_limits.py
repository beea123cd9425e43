"""Saturating input mirrors: what lies beyond the limits reaches neither the solver nor, unless asked, the gradient."""

import warnings

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.parts import Range
from bruno_spice.devices.errors import InputError
from bruno_spice.training.dynamics.limits import CurrentLimits
from bruno_spice.training.neurons.base import State
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.lif import LIF

LOW_A, HIGH_A = -0.5e-9, 4e-9
CARD = FeLIFCard.published().with_values(v_floor=0.0, v_reset=0.0, t_refractory=0.25e-3)
CARD = CARD.model_copy(update={"envelope": {"i_syn": Range(min=LOW_A, max=HIGH_A, unit="A")}})
STEPS, BATCH, WIDTH = 6, 3, 3
SUBSTEPS = 10
FINE = {"solver": "euler", "accuracy": SUBSTEPS}


def inputs(dtype=torch.float64):
    """Currents of which a good part lies beyond the limits, recurrent weights, and domains to start from."""
    torch.manual_seed(4)
    current_a = (torch.rand(STEPS, BATCH, WIDTH).double() * 8 - 2.5) * 1e-9
    recurrent_a = torch.randn(WIDTH, WIDTH).double() * 2e-9
    domains = torch.rand(1, BATCH, WIDTH).double() * 1.9 - 1
    return [x.to(dtype) for x in (current_a, recurrent_a, domains)]


def run(neuron, limits=None, lengths=None):
    """Gradient by current and recurrent weights, and the outputs; `limits`: apply them outside, step by step."""
    current_a, recurrent_a, domains = inputs(neuron._precision.dtype)
    current_a.requires_grad_()
    recurrent_a.requires_grad_()
    state = neuron.initial_state(BATCH, WIDTH)._replace(domains=domains)
    if limits is None:
        out, _ = neuron(current_a, state, recurrent_a, lengths)
        shown = out
    else:
        parts = []
        for i_a in current_a:
            total_a = limits.clamp(i_a + state.spikes @ recurrent_a)
            part, state = neuron(total_a[None], state)
            parts.append(part)
        shown = type(parts[0])(*(torch.cat(column) for column in zip(*parts, strict=True)))
    loss = ((shown.spikes + 0.1 * shown.voltage_v).cumsum(0) ** 2).mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, (current_a, recurrent_a))]), shown


@pytest.mark.parametrize(("reset", "slope"), [("macro", 0.0), ("event", 0.3)])
@pytest.mark.parametrize(
    ("gradient", "options"),
    [("bruno", FINE), ("tangent", FINE), ("bptt", FINE), ("checkpoint", FINE), ("coarse", {}), ("tangent", {})],
)
def test_limits_within_a_layer_are_a_clamp_before_it(gradient, options, slope, reset):
    """A layer with limits equals one without them that is fed, step by step, the clamped sum."""
    limited = FeLIF(CARD, gradient, reset=reset, **options, current_limits="envelope", limit_slope=slope).double()
    free = FeLIF(CARD, gradient, reset=reset, **options).double()
    ours, shown = run(limited)
    truth, expected = run(free, CurrentLimits(LOW_A, HIGH_A, slope))
    assert torch.equal(shown.spikes, expected.spikes)
    assert torch.equal(shown.current_a, expected.current_a)
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-12 * float(truth.abs().max()))


@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
@pytest.mark.parametrize("reset", ["macro", "event"])
def test_limits_act_in_the_fast_kernel_too(gradient, reset):
    ours, shown = run(FeLIF(CARD, gradient, reset=reset, current_limits="envelope"))
    truth, expected = run(FeLIF(CARD, gradient, reset=reset), CurrentLimits(LOW_A, HIGH_A))
    assert torch.equal(shown.spikes, expected.spikes)
    assert shown.current_a.max() <= HIGH_A * (1 + 1e-6)
    torch.testing.assert_close(ours, truth, rtol=1e-4, atol=1e-6 * float(truth.abs().max()))


@pytest.mark.parametrize("reset", ["macro", "event"])
def test_tangents_are_those_of_every_substep_while_limits_act(reset):
    options = {"reset": reset, "current_limits": "envelope"}
    fine = {"solver": "euler", "accuracy": 150}
    lengths = torch.tensor([STEPS, 4, 2])
    truth, expected = run(FeLIF(CARD, "bptt", **fine, **options).double(), lengths=lengths)
    assert expected.spikes.sum() > 5
    ours, shown = run(FeLIF(CARD, "tangent", **fine, **options).double(), lengths=lengths)
    assert torch.equal(shown.spikes, expected.spikes)
    torch.testing.assert_close(ours, truth, rtol=1e-9, atol=1e-12 * float(truth.abs().max()))


@pytest.mark.parametrize("gradient", ["tangent", "bptt"])
def test_finite_differences_agree_on_both_sides_of_the_limits(gradient):
    neuron = FeLIF(CARD, gradient, solver="euler", accuracy=20, current_limits=(-0.1e-9, 0.25e-9)).double()
    v, p = torch.tensor([[0.4, 0.2, 0.3]]).double(), torch.tensor([[[-0.5, -0.9, -0.7]]]).double()
    start = neuron.initial_state(1, 3)._replace(voltage_v=v, domains=p)

    def smooth(current_na, recurrent_na):
        spiked = start._replace(spikes=torch.ones(1, 3).double())
        one, state = neuron(current_na[:1] * 1e-9, spiked, recurrent_na * 1e-9)
        two, state = neuron(current_na[1:] * 1e-9, state)
        assert one.spikes.sum() + two.spikes.sum() == 0
        return (one.voltage_v**2 + two.voltage_v**2).sum() + (state.domains * state.voltage_v).sum()

    current_na = torch.tensor([[[0.2, 0.5, -0.05]], [[-0.3, 0.1, 0.2]]]).double().requires_grad_()
    recurrent_na = torch.tensor([[0.01, 0.02, -0.3], [0.0, 0.0, 0.0], [0.02, -0.01, 0.0]]).double().requires_grad_()
    assert torch.autograd.gradcheck(smooth, (current_na, recurrent_na), eps=1e-5, atol=1e-7, rtol=1e-4)
    by_current = torch.autograd.grad(smooth(current_na, recurrent_na), current_na)[0]
    beyond = torch.tensor([[[False, True, True]], [[True, False, False]]])
    assert torch.all((by_current == 0) == beyond)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_beyond_the_limits_reaches_the_neurons_and_no_warning_comes(dtype):
    neuron = FeLIF(CARD, current_limits="envelope").to(dtype)
    current_a, recurrent_a, _ = inputs(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out, _ = neuron(current_a, None, recurrent_a)
    before = torch.cat([torch.zeros_like(out.spikes[:1]), out.spikes[:-1]])
    total_a = current_a + before @ recurrent_a
    assert (total_a > HIGH_A).float().mean() > 0.1
    assert (total_a < LOW_A).float().mean() > 0.1
    torch.testing.assert_close(out.current_a, total_a.clamp(LOW_A, HIGH_A), rtol=1e-6, atol=0)
    again, _ = FeLIF(CARD).to(dtype)(out.current_a)
    assert torch.equal(again.voltage_v, out.voltage_v)


def test_recurrence_counts_in_the_envelope_warning():
    neuron = FeLIF(CARD)
    state = neuron.initial_state(1, 2)._replace(spikes=torch.ones(1, 2))
    with pytest.warns(UserWarning, match=r"6e-09 A.*4e-09 A"):
        neuron(torch.zeros(1, 1, 2), state, torch.full((2, 2), 3e-9))


def test_lif_shows_its_current_too():
    current_a, recurrent_a, _ = (x * 5 for x in inputs())
    zeros = torch.zeros(BATCH, WIDTH).double()
    start = State(zeros, zeros[None], zeros, zeros, zeros + 1)
    out, _ = LIF()(current_a, start, recurrent_a, torch.tensor([STEPS, STEPS, 3]))
    before = torch.cat([start.spikes[None], out.spikes[:-1]])
    assert out.spikes.sum() > 5
    torch.testing.assert_close(out.current_a[:, :2], (current_a + before @ recurrent_a)[:, :2])
    assert torch.all(out.current_a[3:, 2] == 0)


def test_numbers_with_suffixes_are_limits_too():
    assert FeLIF(CARD, current_limits=["-5n", "30n"]).limits == CurrentLimits(-5e-9, 30e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"current_limits": "magic"}, "none, envelope or"),
        ({"current_limits": (1e-9,)}, "none, envelope or"),
        ({"current_limits": (3e-9, 1e-9)}, "rise from low to high"),
        ({"current_limits": ("a lot", 1e-9)}, "'a lot' is not a number"),
        ({"current_limits": "envelope", "limit_slope": 2.0}, "limit_slope"),
        ({"card": FeLIFCard.published(), "current_limits": "envelope"}, "no envelope"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        FeLIF(**{"card": CARD, **options})
