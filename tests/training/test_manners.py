"""What a layer, a run and a sweep do where something is odd: they say so, and nothing is lost."""

import csv
import json

import pytest
import torch

from bruno_spice.devices.cards.base import FeLIFCard, NeuronCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.training.networks.config import RunConfig, parse_config
from bruno_spice.training.networks.network import build_network
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.lif import LIF
from bruno_spice.training.progress import Silent
from bruno_spice.training.runs import trainer
from bruno_spice.training.runs.evaluation import evaluate
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import load_sweep, sweep
from bruno_spice.training.synapses.rram import RRAMLinear
from bruno_spice.training.tasks.classification import Classification

CARD = FeLIFCard.published()
CONFIG = RunConfig.model_validate(
    {
        "task": "pulses",
        "task_options": {"trials": 40, "steps": 6},
        "network": {"hidden": [4], "neuron": "lif"},
        "training": {"epochs": 2, "batch_size": 8},
    }
)
LAYERS = pytest.mark.parametrize("layer", [FeLIF(CARD), LIF()], ids=["FeLIF", "LIF"])


class Heard(Silent):
    """Keeps every line."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


def stop_at(number):
    """A reporter that ends the process at its `number`-th step as a kill would: nothing more is saved."""

    class Killed(BaseException):
        pass

    class Kills(Silent):
        left = number

        def advance(self):
            self.left -= 1
            if self.left == 0:
                raise Killed

    return Kills(), Killed


@LAYERS
@pytest.mark.parametrize(
    ("lengths", "complaint"),
    [
        (torch.tensor([3]), r"lengths must be \(B,\) = \(2,\), a number a sequence, not \(1,\)"),
        (torch.tensor([[3], [3]]), r"not \(2, 1\)"),
        (torch.tensor([3.0, 2.0]), r"whole numbers of steps, not torch\.float32"),
        (torch.tensor([True, False]), r"whole numbers of steps, not torch\.bool"),
        (torch.tensor([3, 7]), r"within 0\.\.\.T = 4, not within 3\.\.\.7"),
        (torch.tensor([-1, 2]), r"within 0\.\.\.T = 4, not within -1\.\.\.2"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(layer, lengths, complaint):
    with pytest.raises(InputError, match=complaint):
        layer(torch.full((4, 2, 3), 5e-9), None, None, lengths)


@LAYERS
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_sequence_of_no_step_gives_no_output_and_the_state_that_it_began_with(layer, recurrent):
    weights = torch.zeros(3, 3) if recurrent else None
    _, before = layer(torch.full((4, 2, 3), 5e-9), None, weights)
    out, after = layer(torch.zeros(0, 2, 3), before, weights)
    assert {tuple(each.shape) for each in out if each is not None} == {(0, 2, 3)}
    for kept, now in zip(before, after, strict=True):
        torch.testing.assert_close(now, kept)


def test_a_network_answers_a_sequence_of_no_step_with_none(felif_card, rram_card):
    for neuron in ("felif", "lif"):
        config = CONFIG.with_values(network__neuron=neuron, network__input_stages=2, network__output_neuron=neuron)
        network = build_network(config, 2, 3, felif_card, rram_card)
        assert network(torch.zeros(0, 5, 2)).logits.shape == (0, 5, 3)
        with pytest.raises(InputError, match=r"the network's lengths must be \(B,\)"):
            network(torch.zeros(4, 5, 2), torch.tensor([4]))


def test_parameters_in_bfloat16_train_while_devices_stay_in_float32(felif_card, rram_card):
    torch.manual_seed(0)
    config = CONFIG.with_values(
        network__neuron="felif",
        network__hidden=[6, 5],
        network__unit_current_a=2e-8,
        neuron__options={"current_limits": "envelope"},
    )
    network = build_network(config, 2, 3, felif_card, rram_card)
    inputs = (torch.rand(12, 4, 2) < 0.5).float()
    exact = network.eval()(inputs)
    coarse = network.bfloat16()(inputs.bfloat16())
    assert network.hidden[0].synapse.weight.dtype == torch.bfloat16
    states = {name: each.dtype for name, each in network.named_buffers() if each.is_floating_point()}
    assert torch.bfloat16 not in states.values()
    first, second = (float(each.spikes["hidden.0"].detach().sum()) for each in (exact, coarse))
    assert first > 0
    assert abs(second / first - 1) < 0.1
    coarse.logits.square().sum().backward()
    for name, each in network.named_parameters():
        assert each.grad is not None, name
        assert bool(torch.isfinite(each.grad).all()), name


def test_read_noise_can_be_left_out_of_evaluation_alone(rram_card):
    for quiet in (False, True):
        config = CONFIG.with_values(synapse__read_noise_in_eval=not quiet)
        network = build_network(config, 2, 2, None, rram_card)
        array = network.readout
        with torch.no_grad():
            array.weight.fill_(0.1)
        for training in (False, True):
            array.train(training)
            first, second = array.effective_weight(), array.effective_weight()
            assert torch.equal(first, second) == (quiet and not training)
    assert RRAMLinear(3, 2, rram_card, noisy_eval=False).noisy_eval is False


def test_options_of_a_neuron_take_suffixes():
    raw = {"neuron": {"options": {"tau_s": "20m", "c_membrane_f": "4p", "current_limits": ["-5n", "30n"],
                                  "shape": "tanh"}}, "synapse": {"options": {"sigma": "50m"}}}  # fmt: skip
    config = parse_config(raw, "here")
    assert config.neuron.options == {
        "tau_s": 0.02, "c_membrane_f": 4e-12, "current_limits": [-5e-9, 30e-9], "shape": "tanh"
    }  # fmt: skip
    assert config.synapse.options == {"sigma": 0.05}
    network = build_network(
        CONFIG.with_values(neuron__options={"tau_s": "20m"}, synapse__kind="float"), 2, 2, None, None
    )
    assert network.hidden[0].neuron.tau_s == 0.02


def test_calibrated_is_a_card_wherever_one_is_loaded(tmp_path, monkeypatch, felif_card, rram_card):
    monkeypatch.chdir(tmp_path)  # no data/calibrated here: those that come with the package
    assert FeLIFCard.load("calibrated") == felif_card == NeuronCard.load("calibrated")
    assert RRAMCard.load("calibrated") == rram_card
    assert FeLIF("calibrated").card == felif_card
    felif_card.with_values(v_threshold=2.4).save(tmp_path / "data" / "calibrated" / "felif.json")
    assert FeLIFCard.load("calibrated")["v_threshold"] == 2.4


def test_floors_that_fail_lose_no_result(tmp_path, monkeypatch):
    def broken(task):
        raise ZeroDivisionError("no sequence of that kind")

    monkeypatch.setattr(Classification, "floors", broken)
    heard = Heard()
    result = train(CONFIG, tmp_path / "run", reporter=heard)
    assert "accuracy" in result["test"]
    assert (result["floors"], result["floors_failed"]) == ({}, "ZeroDivisionError: no sequence of that kind")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    assert any("floors could not be computed (ZeroDivisionError" in line for line in heard.lines)


def test_a_run_killed_in_its_first_epoch_resumes_to_the_very_same_numbers(tmp_path):
    whole = train(CONFIG, tmp_path / "whole")
    reporter, killed = stop_at(2)
    with pytest.raises(killed):
        train(CONFIG, tmp_path / "run", reporter=reporter)
    assert not (tmp_path / "run" / "result.json").exists()
    assert train(CONFIG, tmp_path / "run", resume=True)["test"] == whole["test"]


def test_a_killed_run_loses_no_more_than_what_came_after_its_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "SAVE_EVERY_S", 0.0)
    reporter, killed = stop_at(3)
    with pytest.raises(killed):
        train(CONFIG, tmp_path / "run", reporter=reporter)
    state = json.loads((tmp_path / "run" / "checkpoint.json").read_text())
    assert (state["epoch"], state["batch"], state["step"]) == (0, 2, 2)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "run", lambda self, stop: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(CONFIG, tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").exists()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    heard = Heard()
    assert "accuracy" in train(CONFIG, tmp_path / "run", resume=True, reporter=heard)["test"]
    assert any("stopped before its first checkpoint" in line for line in heard.lines)


TASK = """
import numpy as np
from bruno_spice.training.tasks.classification import classification

def made():
    rng = np.random.default_rng({seed})
    classes = np.arange(40) % 2
    pulses = (rng.random((40, 6, 1)) < np.where(classes == 0, 0.7, 0.1)[:, None, None]).astype(np.float32)
    return classification(list(pulses), classes, ["many", "few"], "made")
"""


def test_changed_data_are_noticed_on_resume_and_on_evaluation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TASK.format(seed='int(np.loadtxt("seed.txt"))'))
    (tmp_path / "seed.txt").write_text("0")
    config = CONFIG.with_values(task="mine.py:made", task_options={})
    result = train(config, "run")
    assert set(result["data"]) == {"train", "valid", "test"}
    heard = Heard()
    evaluate("run", reporter=heard, trust_code=True)
    assert not any("the data of" in line for line in heard.lines)
    (tmp_path / "seed.txt").write_text("17")
    evaluate("run", reporter=heard, trust_code=True)
    assert any("data of train and valid and test are not those" in line for line in heard.lines)
    with pytest.raises(InputError, match="the data of train and valid and test are others now"):
        train(config.with_values(training__epochs=3), "run", resume=True)


def test_a_changed_card_is_noticed_on_resume_and_on_evaluation(tmp_path, rram_card):
    rram_card.save(tmp_path / "cell.json")
    config = CONFIG.with_values(synapse__card=str(tmp_path / "cell.json"))
    result = train(config, tmp_path / "run")
    heard = Heard()
    evaluate(tmp_path / "run", reporter=heard)
    assert heard.lines == []
    rram_card.with_values(read_voltage=0.25).save(tmp_path / "cell.json")
    assert evaluate(tmp_path / "run", reporter=heard)["test"] == result["test"]
    train(config.with_values(training__epochs=3), tmp_path / "run", resume=True, reporter=heard)
    said = [line for line in heard.lines if "the rram card has changed since the run was begun" in line]
    assert len(said) == 2


def test_a_sweep_goes_on_past_a_run_that_breaks_and_says_so(tmp_path):
    (tmp_path / "base.yaml").write_text(CONFIG.with_values(training__epochs=1, synapse__kind="float").to_yaml())
    path = tmp_path / "sweep.yaml"
    path.write_text(f"config: {tmp_path / 'base.yaml'}\nseeds: [0, 1]\ngrid: {{task_options.trials: [1, 40]}}\n")
    heard = Heard()
    rows = sweep(load_sweep(path), tmp_path / "runs", heard)
    assert [row["settings"]["task_options.trials"] for row in rows] == [40, 1]
    assert "broken" not in rows[0]
    assert rows[1]["broken"].startswith("seed 0: ")
    assert "; seed 1: " in rows[1]["broken"]
    assert any(line.startswith("task_options.trials 1, seed 0 broke: ") for line in heard.lines)
    table = list(csv.DictReader((tmp_path / "runs" / "table.csv").read_text().splitlines()))
    assert (table[0]["broken"], table[1]["valid_accuracy_mean"]) == ("", "")
    path.write_text(f"config: {tmp_path / 'base.yaml'}\ngrid: {{task_options.trials: [1]}}\n")
    with pytest.raises(BrunoError, match="every run broke; the first one: seed 0: "):
        sweep(load_sweep(path), tmp_path / "runs", heard)
