"""Gradients by device parameters through the compiled adjoint, beside autograd through the same substeps in float64."""

import pytest
import torch

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric import pullback
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.training.dynamics.by_devices import ConstantsGradient
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks import devices
from tests.devices.nudges import SHOWN
from tests.support.cards import one_domain_card

SUBSTEPS = 24
CARDS = {"K=1": one_domain_card(), "K=2": SHOWN["felif"].card, "HERACLES": SHOWN["heracles"].card}
RESETS = {
    "macro": {"reset": "macro"},
    "event": {"reset": "event"},
    "delayed": {"reset": "delayed"},
    "macro, through": {"reset": "macro", "through_spikes": True},
    "event, through": {"reset": "event", "through_spikes": True},
}
WIDTH = 40


@pytest.fixture
def same_substeps(monkeypatch):
    monkeypatch.setattr(ConstantsGradient, "SUBSTEPS", {torch.float32: SUBSTEPS})


def gradients(card, solver, options, width=WIDTH):
    """By every declared parameter, per 1 of its value (2 % of a volt for one that is 0), and the spikes: with
    recurrence, inhibition, sequences of two lengths, and all outputs looked at."""
    generator = torch.Generator().manual_seed(0)
    neuron = FeLIF(card, "tangent", solver, accuracy=SUBSTEPS, **options)
    values = {
        name: torch.nn.Parameter(torch.full((width,), each.value, dtype=torch.float64))
        for name, each in card.parameters.items()
    }
    neuron.set_devices(values)
    current_a = (torch.rand(10, 2, WIDTH, generator=generator) * 14 - 2) * 1e-9
    recurrent = torch.randn(WIDTH, WIDTH, generator=generator) * 1e-10
    out, _ = neuron(current_a, recurrent_a=recurrent, lengths=torch.tensor([10, 7]))
    looked = torch.randn(3, 10, 2, WIDTH, generator=generator)
    (looked[0] * out.spikes + looked[1] * out.voltage_v + looked[2] * out.polarization).sum().backward()
    return {name: value.grad * (value.detach().abs() + (value == 0.0)) for name, value in values.items()}, out.spikes


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("card", CARDS)
def test_every_parameter_of_every_neuron_is_as_by_autograd(same_substeps, card, reset):
    """To rounding. Through spikes but for a tenth of the neurons: of one that grazes the threshold, V' at the crossing
    is a small difference of large numbers."""
    ours, spikes = gradients(CARDS[card], "logistic", RESETS[reset])
    truth, _ = gradients(CARDS[card], f"{devices.__file__}:AUTOGRAD", RESETS[reset])
    assert spikes.sum() > 100
    through = RESETS[reset].get("through_spikes")
    for name, true in truth.items():
        error = (ours[name] - true).abs().sort().values[: int(0.9 * WIDTH) if through else WIDTH]
        assert error.norm() <= (1e-2 if through else 3e-4) * true.norm() + 1e-12, name


def test_time_made_up_for_after_a_short_hold_is_as_by_autograd(same_substeps):
    card = CARDS["K=1"].with_values(t_refractory=5e-6)
    ours, spikes = gradients(card, "logistic", RESETS["event"])
    truth, _ = gradients(card, f"{devices.__file__}:AUTOGRAD", RESETS["event"])
    assert spikes.sum() > 100
    for name, true in truth.items():
        assert (ours[name] - true).norm() <= 3e-4 * true.norm() + 1e-12, name


def test_one_value_for_all_neurons_has_the_sum_of_their_gradients():
    each, _ = gradients(CARDS["K=2"], "logistic", RESETS["macro"])
    shared, _ = gradients(CARDS["K=2"], "logistic", RESETS["macro"], 1)
    for name in each:
        torch.testing.assert_close(
            shared[name], each[name].sum()[None], rtol=1e-4, atol=1e-6 * float(each[name].norm())
        )


def test_a_law_that_has_no_derivative_here_is_named_and_goes_through_torch(monkeypatch, same_substeps):
    truth, _ = gradients(CARDS["K=1"], f"{devices.__file__}:AUTOGRAD", RESETS["macro"])
    monkeypatch.setattr(pullback, "undifferentiated", lambda model: "the law Mine.ln_rate says 'max(size)'")
    with pytest.warns(UserWarning, match=r"go through torch, a hundred times as slow: the law Mine.ln_rate says 'max"):
        ours, _ = gradients(CARDS["K=1"], "logistic", RESETS["macro"])
    assert all(torch.equal(ours[name], truth[name]) for name in truth)


def test_what_of_a_law_has_no_derivative_is_said():
    class Mine(FeLIFModel):
        @staticmethod
        def ln_rate(size, x):
            return x.ln_rate - sum((size, x.alpha))

    assert pullback.undifferentiated(FeLIFModel) is None
    assert "the law Mine.ln_rate says 'sum((size, x.alpha))', which" in str(pullback.undifferentiated(Mine))


@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
def test_a_share_of_the_milliseconds_has_the_whole_gradient_in_the_mean(gradient):
    """Of each parameter and neuron: the mean over draws within four standard errors, and a half of the milliseconds
    known better than a tenth."""

    def drawn(share, draws):
        torch.manual_seed(1)
        neuron = FeLIF(CARDS["K=1"], gradient, "logistic", reset="event", device_gradient_share=share)
        value = torch.nn.Parameter(torch.tensor([CARDS["K=1"].parameters["area"].value] * 5, dtype=torch.float64))
        neuron.set_devices({"area": value})
        current_a = torch.rand(20, 6, 5, generator=torch.Generator().manual_seed(0)) * 6e-9
        found = []
        for _ in range(draws):
            value.grad = None
            neuron(current_a, lengths=torch.tensor([20, 13, 20, 7, 20, 1]))[0].spikes.sum().backward()
            found.append(value.grad * value.detach())
        return torch.stack(found)

    whole, half, tenth = drawn(1.0, 1)[0], drawn(0.5, 200), drawn(0.1, 200)
    for found in (half, tenth):
        error = (found.mean(0) - whole).abs()
        assert (error < 4.0 * found.std(0) / 200**0.5).all()
    assert (half.std(0) < 0.6 * tenth.std(0)).all()
    assert (half.std(0) > 0.0).all()


def test_a_share_goes_with_gradients_that_do_not_go_through_all_substeps():
    with pytest.raises(InputError, match="gradient 'bptt' goes through all substeps of euler"):
        FeLIF(CARDS["K=1"], "bptt", device_gradient_share=0.5)
    with pytest.raises(InputError, match="device_gradient_share must lie above 0 and up to 1, not 0"):
        FeLIF(CARDS["K=1"], device_gradient_share=0.0)


@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
def test_what_follows_a_sequence_counts_for_nothing(gradient):
    """Neither padding nor a step behind the last: recurrent sequences together, padded, and each alone."""

    def found(current_a, lengths=None):
        neuron = FeLIF(CARDS["K=1"], gradient, "logistic", reset="event")
        value = torch.nn.Parameter(torch.tensor([CARDS["K=1"].parameters["area"].value], dtype=torch.float64))
        neuron.set_devices({"area": value})
        recurrent = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)) * 1e-9
        neuron(current_a, recurrent_a=recurrent, lengths=lengths)[0].voltage_v.sum(0)[:, 0].sum().backward()
        return value.grad * value.detach()

    current_a = torch.rand(12, 2, 5, generator=torch.Generator().manual_seed(0)) * 12e-9
    alone = found(current_a[:12, :1]) + found(current_a[:7, 1:])
    padded = torch.where(torch.arange(12)[:, None, None] < torch.tensor([12, 7])[:, None], current_a, 9e-9)
    out = found(padded, torch.tensor([12, 7]))
    assert alone.abs() > 0.0
    torch.testing.assert_close(out, alone, rtol=1e-4, atol=0.0)
