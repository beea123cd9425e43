"""HERACLES through the whole loop: netlist -> ngspice -> fit -> card -> network -> back into ngspice."""

import pytest
import torch

from bruno_spice.calibration.circuits.experiments import NETLISTS
from bruno_spice.calibration.neuron.calibrate import calibrate_neuron
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.models.heracles import HeraclesModel
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.roundtrip.validate import Options, validate_run
from bruno_spice.training.runs.trainer import train

DECK = NETLISTS / HeraclesModel.netlist
PARAMS = {
    "saturation_polarization": "ps",
    "barrier": "wb",
    "switching_distance": "de",
    "fixed_charge": "qfix",
    "depletion_density": "ndepl",
    "leak_discharge": "ileak",
}


@pytest.fixture(scope="module")
def calibrated(farm):
    return calibrate_neuron(DECK, model=HeraclesModel, network_traces=2, farm=farm)


def test_the_netlist_s_parameters_come_back(calibrated):
    assert not calibrated.card.doubt
    deck = Netlist.load(DECK)
    for name, param in PARAMS.items():
        assert calibrated.card[name] == pytest.approx(deck.value(param), rel=0.02), name


def test_held_out_first_spikes_come_within_a_hundredth_and_network_like_ones_all(calibrated):
    rows = [row for row in calibrated.card.validation["stimuli"] if row["first_spike_error"] is not None]
    assert len(rows) >= 6
    assert max(abs(row["first_spike_error"]) for row in rows) < 0.01
    assert calibrated.card.validation["network_like"]["matched_fraction"] > 0.99


def test_a_network_of_such_neurons_trains_and_spikes_alike_in_spice(calibrated, farm, tmp_path):
    torch.set_num_threads(1)
    card = calibrated.card.save(tmp_path / "heracles.json")
    config = RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 20},
        "network": {"hidden": [6], "neuron": "heracles", "weight_std": 1.5, "bias_std": 0.1},
        "neuron": {"card": str(card), "options": {"reset": "event", "current_limits": "envelope"}},
        "training": {"epochs": 1, "batch_size": 8},
    })  # fmt: skip
    result = train(config, tmp_path / "run")
    assert result["test"]["accuracy"] >= 0.0
    found = validate_run(tmp_path / "run", Options(neurons=6, pieces=4, crossbar=False), farm, lambda _: None).figures
    assert found["spikes_torch"] > 20
    assert found["spikes_matched_fraction"] >= 0.95
