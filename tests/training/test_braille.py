"""The Braille configurations as they come: they learn, and their rivals differ in the neuron alone."""

from pathlib import Path
from typing import Any

import pytest

from bruno_spice.training.networks.config_file import default_config
from bruno_spice.training.runs.evaluation import make_network
from bruno_spice.training.runs.folder import Cards
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks import Task, load_task


@pytest.mark.parametrize("neuron", ["felif", "rlif"])
def test_thirty_neurons_tell_letters_apart_after_three_passes_over_a_fifth_of_the_trials(
    neuron: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRUNO_DATA", str(data_folder))

    def fifth(*arguments: Any) -> Task:
        task = load_task(*arguments)
        task.parts["train"] = task.parts["train"][::5]
        monkeypatch.setattr(type(task), "floors", lambda self: {})
        return task

    monkeypatch.setattr("bruno_spice.training.runs.trainer.load_task", fifth)
    config = default_config("braille7").with_values(
        network__hidden=[30], training__epochs=3, training__batch_size=16, network__neuron=neuron
    )
    assert train(config, tmp_path / "run")["test"]["accuracy"] > 0.4, "chance is 0.14"


@pytest.mark.parametrize("name", ["braille7", "braille27"])
def test_a_rival_reads_the_same_input_with_the_same_weights(
    name: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRUNO_DATA", str(data_folder))
    config = default_config(name)
    task = load_task(name, config.task_options)
    assert task.training_examples(0, 0)[0].inputs.shape == (256, task.n_inputs)
    cards = Cards.of(config)
    felif = make_network(config, task, cards).synapses()
    rival = make_network(config.with_values(network__neuron="rlif"), task, cards).synapses()
    assert set(rival) - set(felif) == {"hidden.0.recurrent"}
    assert all(rival[layer].weight.shape == felif[layer].weight.shape for layer in felif)
