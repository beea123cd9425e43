"""The page Runs of the workbench: curves of runs, and a neuron beside SPICE as `bruno validate` has it."""

import numpy as np
import pytest
import torch

from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.workbench.runs import PAGE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of six FeLIF, as the workbench's."""
    torch.set_num_threads(1)
    config = RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 10},
        "network": {"hidden": [6], "neuron": "felif", "weight_std": 1.5, "bias_std": 0.1},
        "neuron": {"options": {"reset": "event", "current_limits": "envelope"}},
        "training": {"epochs": 2, "batch_size": 8},
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("start")
    train(config, folder / "runs" / "event")
    return Place(folder, folder / "workbench")


@pytest.fixture
def state(place, monkeypatch):
    monkeypatch.chdir(place.root)
    return State(choices={"runs": "runs/event", "piece": "2"})


def test_the_curve_is_that_of_the_run_and_a_neuron_does_in_spice_what_it_does_in_torch(place, state):
    curves = PAGE.model(state, place, None)
    assert curves.lines["curve", "a"][0].tolist() == [1.0, 2.0]
    said: list[str] = []
    found = PAGE.spice(state.with_choice("window", "8"), place, said.append)
    assert found is not None
    lines = found.lines
    when, who = lines["raster", "measured"]
    ends_ms, torch_v = lines["membrane", "measured"]
    time_ms, spice_v = lines["membrane", "spice"]
    index = int(found.said[0].split()[1])
    assert found.numbers["spikes"]["measured"] == f"{np.sum(who == index)} in torch"
    assert len(ends_ms) == 8
    assert time_ms[-1] == pytest.approx(8.0)
    quiet = np.isin(ends_ms - 0.5, when[who == index], invert=True)
    assert np.abs(np.interp(ends_ms, time_ms, spice_v) - torch_v)[quiet].max() < 0.15
    assert PAGE.tables(state, place)[0].rows[0][0] == "runs/event"
    assert len(said) > 2


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"runs": "runs/none"}, "no such file"),
        ({"runs": "../elsewhere"}, "outside"),
        ({"runs": " ".join(["runs/event"] * 5)}, "at most 4"),
    ],
)
def test_what_is_no_run_is_named(place, state, choices, said):
    with pytest.raises(InputError, match=said):
        PAGE.panels(State(choices=choices), place)


@pytest.mark.parametrize(("name", "value"), [("piece", "0"), ("neuron", "7"), ("layer", "hidden.9"), ("window", "0")])
def test_a_piece_or_a_neuron_that_is_not_there_is_named(place, state, name, value):
    with pytest.raises(InputError, match=r"1 to|hidden\.9"):
        PAGE.spice(State(choices={**state.choices, name: value}), place, lambda _: None)
