"""The running average of the weights, and training pieces that are transposed."""

from pathlib import Path

import pytest
import torch

from devices.errors import InputError
from training.averaging import WeightAverage
from training.config import RunConfig
from training.evaluation import load_run
from training.runs import RunFolder
from training.tasks.chorales import Chorales, example, load
from training.trainer import train


def test_the_average_follows_the_weights_and_gives_them_back() -> None:
    network = torch.nn.Linear(2, 1, bias=False)
    start = network.weight.detach().clone()
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        network.weight += 1.0
    average.update(1000)
    with average.in_place():
        torch.testing.assert_close(network.weight, start + 0.1)
    torch.testing.assert_close(network.weight, start + 1.0)
    average.update(0)  # early on, the average forgets fast
    torch.testing.assert_close(average.values["weight"], start + 0.1 + 0.9 * 0.9)


def test_a_run_keeps_its_average_and_goes_on_with_it(small_config: RunConfig, tmp_path: Path) -> None:
    config = small_config.with_values(training__average_decay=0.9, training__schedule="constant")
    train(config, tmp_path / "whole")
    train(config.with_values(training__epochs=2), tmp_path / "parts")
    train(config, tmp_path / "parts", resume=True)
    train(small_config.with_values(training__schedule="constant"), tmp_path / "plain")
    whole, parts, plain = (
        [row["valid"] for row in RunFolder(tmp_path / name).read_metrics()] for name in ("whole", "parts", "plain")
    )
    assert whole == parts != plain
    kept, last = (load_run(tmp_path / name)[2].state_dict() for name in ("whole", "plain"))
    assert any(not torch.equal(kept[name], last[name]) for name in kept)


@pytest.fixture
def few() -> Chorales:
    torch.manual_seed(0)
    pieces = [torch.zeros(12, 88) for _ in range(3)]
    for lowest, piece in zip((2, 30, 84), pieces, strict=True):
        piece[torch.rand(12) < 0.7, lowest] = 1
        piece[torch.rand(12) < 0.7, lowest + 3] = 1
    made = [example(piece.numpy().astype("uint8")) for piece in pieces]
    return Chorales({"train": made, "valid": made, "test": made}, "made up", {}, transpose=4)


def test_transposition_moves_whole_pieces_within_the_keyboard_and_repeats_itself(few: Chorales) -> None:
    shifts = set()
    for epoch in range(30):
        for one, other in zip(few.parts["train"], few.training_examples(1, epoch), strict=True):
            first, moved = (int(torch.nonzero(each.inputs.amax(0))[0]) for each in (one, other))
            shift = moved - first
            shifts.add((first, shift))
            assert torch.equal(other.inputs, one.inputs.roll(shift, 1))
            assert torch.equal(other.target, one.target.roll(shift, 1))
            low, high = shift, shift + int(torch.nonzero(one.inputs.amax(0))[-1])
            assert low >= -first
            assert high < 88
    assert {shift for first, shift in shifts if first == 30} == set(range(-4, 5))
    assert {shift for first, shift in shifts if first == 2} == set(range(-2, 5))
    assert {shift for first, shift in shifts if first == 84} == set(range(-4, 1))
    again = few.training_examples(1, 7)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(again, few.training_examples(1, 7), strict=True))
    assert any(not torch.equal(a.inputs, b.inputs) for a, b in zip(again, few.training_examples(1, 8), strict=True))


def test_pieces_stay_as_they_are_unless_transposition_is_asked_for(few: Chorales) -> None:
    few.transpose = 0
    assert few.training_examples(0, 3) is few.parts["train"]
    with pytest.raises(InputError, match="transpose must lie within"):
        load(transpose=13)


@pytest.mark.parametrize("gradient", ["bruno", "tangent"])
def test_felif_with_the_circuits_reset_and_limits_learns(
    small_config: RunConfig, gradient: str, tmp_path: Path
) -> None:
    card = {"reset": "event", "current_limits": "envelope", "limit_slope": 1.0}
    config = small_config.with_values(network__neuron="felif", neuron__gradient=gradient, neuron__options=card)
    result = train(config, tmp_path / "run")
    losses = [row["train"]["loss"] for row in RunFolder(tmp_path / "run").read_metrics()]
    assert losses[-1] < 0.9 * losses[0]
    assert result["test"]["accuracy"] > result["floors"]["chance"]["accuracy"]
