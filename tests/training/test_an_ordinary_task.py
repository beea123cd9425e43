"""The default neuron on a task as one would try it first: two recurrent layers, RRAM weights, five easy classes."""

import pytest
import torch
from torch import nn

from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.synapses.rram import RRAMLinear

CLASSES, CHANNELS, STEPS, SEQUENCES = 5, 12, 30, 200
HIDDEN = (32, 24)
UNIT_A = 10e-9
EPOCHS, BATCH = 7, 20


def sequences():
    """Noise of 0.2 spikes a millisecond, and 0.6 on the two channels of the class: (T, S, C), (S,)."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, CLASSES, (SEQUENCES,), generator=generator)
    rate = torch.full((SEQUENCES, CHANNELS), 0.2)
    for channel in (2 * label, 2 * label + 1):
        rate[torch.arange(SEQUENCES), channel] = 0.6
    return (torch.rand(STEPS, SEQUENCES, CHANNELS, generator=generator) < rate).float(), label


class Net(nn.Module):
    """Two recurrent layers of neurons and a readout of their mean rates."""

    def __init__(self, neuron, rram_card):
        super().__init__()
        sizes = (CHANNELS, *HIDDEN)
        self.into = nn.ModuleList(RRAMLinear(a, b, rram_card) for a, b in zip(sizes, HIDDEN, strict=False))
        self.back = nn.ModuleList(RRAMLinear(n, n, rram_card) for n in HIDDEN)
        self.neurons = nn.ModuleList(neuron() for _ in HIDDEN)
        self.out = RRAMLinear(HIDDEN[-1], CLASSES, rram_card)
        for layers, std in ((self.into, 0.5), (self.back, 0.05), ([self.out], 0.1)):
            for layer in layers:
                nn.init.normal_(layer.weight, std=std)

    def forward(self, x):
        for into, back, neuron in zip(self.into, self.back, self.neurons, strict=True):
            x = neuron(UNIT_A * into(x), None, UNIT_A * back.effective_weight().T)[0].spikes
        return self.out(x).mean(0)


def trained(neuron, rram_card, seed):
    """Accuracy in the last epoch, and the largest gradient norm before clipping at 1."""
    torch.manual_seed(seed)
    x, label = sequences()
    net = Net(neuron, rram_card)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    norms, right = [], 0
    for _ in range(EPOCHS):
        right = 0
        for some in torch.randperm(SEQUENCES).split(BATCH):
            logits = net(x[:, some])
            optimizer.zero_grad()
            nn.functional.cross_entropy(5 * logits, label[some]).backward()
            norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), 1.0)))
            optimizer.step()
            right += int((logits.argmax(1) == label[some]).sum())
    return right / SEQUENCES, max(norms)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore:the current runs from")
def test_the_default_neuron_learns_an_easy_task(felif_card, rram_card, seed):
    accuracy, largest = trained(lambda: FeLIF(felif_card), rram_card, seed)
    assert accuracy >= 0.97
    assert largest < 1e3


def gain(card, gradient, drive_a, dtype=torch.float32, **options):
    """d(first spike)/dI of one millisecond in 1/(10 nA), from a neuron half way to it."""
    neuron = FeLIF(card, gradient, **options).to(dtype)
    _, state = neuron(torch.full((5, 1, 1), 1.2e-9, dtype=dtype))
    current_a = torch.full((1, 1, 1), drive_a, dtype=dtype, requires_grad=True)
    out, _ = neuron(current_a, state)
    assert out.spikes.sum() >= 1
    (slope,) = torch.autograd.grad(out.spikes.sum(), current_a)
    return float(slope) * 10e-9


@pytest.mark.parametrize("drive_a", [15e-9, 60e-9, 300e-9])
@pytest.mark.parametrize("reset", ["macro", "event", "delayed"])
@pytest.mark.parametrize(
    ("solver", "dtype"),
    [("logistic", torch.float32), ("logistic", torch.float64), ("rosenbrock", torch.float64), ("euler", torch.float64)],
)
@pytest.mark.filterwarnings("ignore:the current runs from")
def test_a_crossing_early_in_the_millisecond_has_as_little_gradient_as_by_tangents(
    one_domain, reset, solver, dtype, drive_a
):
    # at ten times a card's currents the crossing lies early in the first of the default substeps: finer ones
    fine = {"accuracy": 16} if solver == "logistic" and drive_a > 100e-9 else {}
    options = {"reset": reset, "solver": solver, **fine}
    ours, exact = (gain(one_domain, name, drive_a, dtype, **options) for name in ("bruno", "tangent"))
    assert ours == pytest.approx(exact, rel=0.02)
    adaptive = gain(one_domain, "tangent", drive_a, torch.float64, reset=reset, solver="rosenbrock")
    assert exact == pytest.approx(adaptive, rel=0.15)
    assert gain(one_domain, "bruno-published", drive_a, dtype, reset=reset, solver=solver) > 0.6
