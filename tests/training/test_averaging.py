"""The running average of the weights, and runs with the circuit's reset and limits."""

from pathlib import Path

import pytest
import torch

from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.runs.averaging import WeightAverage
from bruno_spice.training.runs.evaluation import load_run
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train


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
