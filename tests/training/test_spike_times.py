"""When within its millisecond a neuron spikes: against the transient of the circuit's equations."""

import numpy as np
import pytest
import torch

from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.training.neurons.felif import FeLIF


def steps_a(seed=0, steps=40, width=4):
    rng = np.random.default_rng(seed)
    return rng.uniform(-3e-9, 28e-9, (steps, width))


@pytest.mark.parametrize(
    ("options", "tolerance_ms"),
    [({"solver": "rosenbrock", "accuracy": 1e-7}, 1e-3), ({}, 0.02), ({"gradient": "tangent"}, 0.02),
     ({"gradient": "bptt"}, 0.02)],
)  # fmt: skip
def test_with_the_circuits_reset_the_first_crossing_of_a_millisecond_is_that_of_the_transient(
    felif_card, options, tolerance_ms
):
    current_a = steps_a(steps=6 if options.get("gradient") == "bptt" else 40)
    dtype = torch.float32 if options.get("gradient", "bruno") != "bptt" and "solver" not in options else torch.float64
    out, _ = FeLIF(felif_card, reset="event", **options)(torch.tensor(current_a, dtype=dtype)[:, None])
    found, first = [], []
    for n in range(current_a.shape[1]):
        drive = Stimulus.steps(current_a[:, n], name="steps")
        spikes_ms = 1e3 * simulate(NeuronParameters.from_card(felif_card), drive, len(current_a) * 1e-3).spike_times_s
        for t in range(len(current_a)):
            inside = spikes_ms[(spikes_ms >= t) & (spikes_ms < t + 1)]
            if inside.size and out.spikes[t, 0, n] == inside.size:  # else one slipped over the edge
                first.append(inside[0] - t)
                found.append(float(out.crossing_ms[t, 0, n]))
    assert len(found) > 2 * len(current_a)
    assert np.abs(np.array(found) - np.array(first)).max() < tolerance_ms
    assert np.ptp(first) > 0.5
    assert bool(((out.crossing_ms > 0) == (out.spikes > 0)).all())


@pytest.mark.parametrize("gradient", ["bruno", "bptt"])
@pytest.mark.parametrize("reset", ["macro", "delayed"])
def test_with_the_macro_reset_the_crossing_is_that_of_a_neuron_let_run(felif_card, gradient, reset):
    """One that is put back at the end of its millisecond starts the next like a fresh one; so of each first spike."""
    current_a = torch.tensor(steps_a(1, 6, 6), dtype=torch.float64).abs()
    out, _ = FeLIF(felif_card, gradient, reset=reset)(current_a[:, None])
    for n in range(6):
        drive = Stimulus.steps(current_a[:, n].numpy(), name="steps")
        first_ms = 1e3 * simulate(NeuronParameters.from_card(felif_card), drive, 6e-3).spike_times_s[0]
        t = int(torch.nonzero(out.spikes[:, 0, n])[0])
        assert t + float(out.crossing_ms[t, 0, n]) == pytest.approx(first_ms, abs=0.01)


def test_ended_sequences_have_no_crossing_and_gradients_stay_as_they_are(felif_card):
    current_a = torch.tensor(steps_a(2, 10, 3), dtype=torch.float32)[:, None].repeat(1, 2, 1).requires_grad_()
    out, _ = FeLIF(felif_card, "tangent", reset="event")(current_a, None, None, torch.tensor([4, 10]))
    assert not out.crossing_ms.requires_grad
    assert not out.crossing_ms[4:, 0].any()
    assert out.crossing_ms[4:, 1].any()
    torch.testing.assert_close(out.crossing_ms[:4, 0], out.crossing_ms[:4, 1])
    out.spikes.sum().backward()
    assert current_a.grad.abs().sum() > 0
