"""What an array of RRAM devices does to a weight."""

import csv
import io

import numpy as np
import pytest
import torch

from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.rram.filament import RRAMParameters, conductance, levels, read_noise
from bruno_spice.training.synapses.base import FloatLinear, Synapse
from bruno_spice.training.synapses.rram import RRAMLinear
from bruno_spice.training.synapses.uniform import UniformLinear


def filled(layer: Synapse, seed: int = 0) -> Synapse:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
    return layer


def ideal(card: RRAMCard, scheme: str = "differential", bits: int = 3) -> RRAMLinear:
    layer = filled(RRAMLinear(30, 20, card, bits=bits, scheme=scheme, spread=False, noisy_reads=False))
    assert isinstance(layer, RRAMLinear)
    return layer


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("scheme", ["differential", "offset"])
def test_without_spread_and_noise_the_weights_are_whole_steps(rram_card: RRAMCard, scheme: str, bits: int) -> None:
    layer = ideal(rram_card, scheme, bits)
    steps = (layer.effective_weight().detach() / layer.scale() * layer.steps_per_scale).double()
    assert torch.allclose(steps, steps.round(), atol=2e-3)
    count = 2 ** (bits + 1) - 1 if scheme == "differential" else 2**bits
    assert len(steps.round().unique()) <= count
    if bits <= 3:
        assert len(steps.round().unique()) == count


@pytest.mark.parametrize("scheme", ["differential", "offset"])
def test_more_bits_come_closer_to_the_latent_weight(rram_card: RRAMCard, scheme: str) -> None:
    errors = []
    for bits in (2, 4, 6):
        layer = filled(RRAMLinear(40, 40, rram_card, bits, scheme, clip=None, spread=False, noisy_reads=False))
        errors.append(float((layer.effective_weight() - layer.weight).detach().std()))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_the_gradient_passes_straight_through_to_the_latent_weight(rram_card: RRAMCard) -> None:
    layer, inputs = filled(RRAMLinear(6, 4, rram_card)), torch.randn(5, 6)
    layer(inputs).sum().backward()
    assert torch.allclose(layer.weight.grad, inputs.sum(0).expand(4, 6), atol=1e-5)


def test_a_device_is_off_in_the_same_direction_at_every_level(rram_card: RRAMCard) -> None:
    torch.manual_seed(1)
    layer = RRAMLinear(25, 25, rram_card, noisy_reads=False)
    length, radius = layer.length_m[0].double().numpy(), layer.radius_m[0].double().numpy()
    p, programmable = RRAMParameters.from_card(rram_card), levels(rram_card, 3)
    off = [
        (conductance(i, length, radius, p) / g - 1).ravel()
        for i, g in zip(programmable.i_prog_a, programmable.conductance_s, strict=True)
    ]
    assert np.corrcoef(off[2], off[4])[0, 1] > 0.95
    assert off[4].std() > 0.002


def test_a_chip_stays_until_it_is_redrawn_and_the_seed_decides_which(rram_card: RRAMCard) -> None:
    def chip(seed: int) -> RRAMLinear:
        torch.manual_seed(seed)
        layer = RRAMLinear(8, 8, rram_card, noisy_reads=False)
        filled(layer)
        return layer

    layer = chip(3)
    first = layer.effective_weight().detach()
    assert torch.equal(first, layer.effective_weight().detach())
    assert torch.equal(first, chip(3).effective_weight().detach())
    layer.redraw()
    assert not torch.equal(first, layer.effective_weight().detach())


def test_read_noise_has_the_size_the_card_says(rram_card: RRAMCard) -> None:
    torch.manual_seed(0)
    layer = RRAMLinear(300, 300, rram_card, spread=False)
    p, programmable = RRAMParameters.from_card(rram_card), levels(rram_card, 3)
    for level in (0, 7):
        g_s = layer._read(torch.full((300, 300), programmable.i_prog_a[level]), layer.length_m[0], layer.radius_m[0])
        expected = read_noise(programmable.conductance_s[level], p.length_mean, p)
        assert float(g_s.std()) == pytest.approx(expected, rel=0.02)


def test_stochastic_rounding_is_right_on_average_and_off_in_evaluation(rram_card: RRAMCard) -> None:
    torch.manual_seed(0)
    layer = RRAMLinear(1, 400, rram_card, stochastic=True, clip=None, spread=False, noisy_reads=False)
    with torch.no_grad():
        layer.weight.fill_(0.3)
        layer.weight[0] = 1.0
    drawn = torch.cat([layer.effective_weight().detach()[1:] for _ in range(20)])
    assert float(drawn.mean()) == pytest.approx(0.3, abs=0.005)
    assert len(layer.eval().effective_weight().detach()[1:].unique()) == 1


def test_the_programming_table_says_what_the_array_computes(rram_card: RRAMCard) -> None:
    torch.manual_seed(0)
    for scheme, polarities in (("differential", {"+", "-"}), ("offset", {"+", "ref"})):
        layer = filled(RRAMLinear(5, 3, rram_card, scheme=scheme, noisy_reads=False))
        rows = list(csv.DictReader(io.StringIO(layer.programming_table())))
        assert {row["polarity"] for row in rows} == polarities
        assert len(rows) == (30 if scheme == "differential" else 20)
        weights = np.zeros((3, 5))
        for row in rows:
            g_s, column, line = float(row["g_expected_s"]), int(row["column"]), int(row["row"])
            if row["polarity"] == "ref":
                weights[:, line] -= g_s
            else:
                weights[column, line] += g_s if row["polarity"] == "+" else -g_s
        weights *= float(layer.scale()) / (layer.g_step_s * layer.steps_per_scale)
        assert np.allclose(weights, layer.effective_weight().detach().numpy(), atol=1e-4)


def test_the_papers_quantiser_has_seven_levels_at_three_bits() -> None:
    layer = UniformLinear(50, 50, bits=3).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-2, 2, 2500).reshape(50, 50))
    steps = layer.effective_weight().detach() / 2 * 3
    assert sorted(set(steps.round().flatten().tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    with pytest.raises(InputError, match="at least 2 bits"):
        UniformLinear(2, 2, bits=1)


def test_float_weights_are_themselves() -> None:
    layer = filled(FloatLinear(4, 3))
    assert layer.effective_weight() is layer.weight


def test_an_unknown_scheme_is_refused(rram_card: RRAMCard) -> None:
    with pytest.raises(InputError, match="unknown scheme 'single'"):
        RRAMLinear(2, 2, rram_card, scheme="single")
