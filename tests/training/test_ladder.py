"""What a network reads of the past: ladders on its inputs, and output weights that change from window to window."""

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.ladder import ladder
from bruno_spice.training.networks.network import Network, SharedDropout
from bruno_spice.training.runs.evaluation import make_network
from bruno_spice.training.runs.folder import Cards
from bruno_spice.training.tasks import load_task


def network(**settings: object) -> Network:
    config = RunConfig().with_values(
        task="pulses",
        synapse__kind="float",
        network__neuron="lif",
        network__hidden=[5],
        **{f"network__{name}": value for name, value in settings.items()},
    )
    return make_network(config, load_task(config.task), Cards.of(config)).eval()


def test_each_stage_passes_the_whole_event_on_a_time_constant_later() -> None:
    event = torch.zeros(300, 1, 2)
    event[10, 0, 1] = 3.0
    taps = ladder(event, stages=4, tau_steps=6.0)
    assert taps.shape == (300, 1, 8)
    on, off = taps[:, 0, 1::2], taps[:, 0, 0::2]
    assert torch.equal(off, torch.zeros_like(off))
    assert torch.equal(on[:10], torch.zeros_like(on[:10]))
    assert on.sum(0).tolist() == pytest.approx([3.0] * 4, rel=1e-4)
    centre = (on * torch.arange(300)[:, None]).sum(0) / 3.0
    assert centre.diff().tolist() == pytest.approx([6.0] * 3, abs=1e-2)
    assert centre[0] == pytest.approx(10 + 5, abs=1e-2)


def test_a_ladder_of_one_step_is_a_shift_register() -> None:
    inputs = torch.rand(20, 2, 3)
    taps = ladder(inputs, stages=3, tau_steps=1.0).view(20, 2, 3, 3)
    for stage in range(3):
        assert torch.equal(taps[stage:, :, stage], inputs[: 20 - stage])


def test_hidden_layer_and_skip_read_every_tap() -> None:
    net = network(input_stages=3)
    assert net.hidden[0].synapse.weight.shape == (5, 6)
    assert net.skip is not None
    assert net.skip.weight.shape == (2, 6)
    assert net(torch.rand(7, 4, 2)).logits.shape == (7, 4, 2)


def test_each_window_is_read_with_its_own_weights_and_the_last_has_no_end() -> None:
    net = network(readout_windows=3, window_steps=4, input_skip=False, readout_gain=2.0)
    out = net(torch.rand(17, 2, 2) * 3)
    features = 2.0 * torch.cat([out.features[name] for name in net.config.readout], dim=-1)
    weight = net.readout.weight.view(3, 2, -1)
    for window, steps in enumerate((slice(0, 4), slice(4, 8), slice(8, 17))):
        expected = features[steps] @ weight[window].T + net.output_bias
        assert torch.allclose(out.logits[steps], expected, atol=1e-6)
    assert torch.isfinite(net(torch.rand(3, 2, 2)).logits).all()


def test_dropout_of_whole_sequences_takes_a_neuron_out_of_all_of_its_frames() -> None:
    torch.manual_seed(0)
    dropped = SharedDropout(0.5, whole_sequence=True)(torch.ones(6, 8, 10))
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert sorted(dropped.unique().tolist()) == [0.0, 2.0]


def test_felif_finds_the_order_of_two_events_through_its_ladder() -> None:
    """Which of two channels came first, in one update after the other: counts alone cannot tell."""
    torch.manual_seed(0)
    first = torch.arange(40) % 2
    inputs = torch.zeros(30, 40, 2)
    at = torch.randint(2, 12, (40,))
    rows = torch.arange(40)
    inputs[at, rows, first] = 1.0
    inputs[at + 8, rows, 1 - first] = 1.0
    config = RunConfig().with_values(
        synapse__kind="float", neuron__gradient="tangent", network__hidden=[12], network__recurrent=False,
        network__input_skip=False, network__dropout=0.0, network__input_stages=3, network__unit_current_a=40e-9,
        network__readout_gain=5.0, neuron__options={"current_limits": "envelope"},
    )  # fmt: skip
    from bruno_spice.training.networks.network import build_network

    net = build_network(config, 2, 2, FeLIFCard.load("data/calibrated/felif.json"), None)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(net(inputs).logits.mean(0), first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (net(inputs).logits.mean(0).argmax(-1) == first).float().mean() >= 0.95
