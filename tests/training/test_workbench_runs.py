"""The page Runs of the workbench: curves of runs, and a neuron beside SPICE as `bruno validate` has it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bruno_spice.calibration.circuits.origin import circuit_of
from bruno_spice.calibration.workbench.page import Drawing, spice_key
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.session import Session
from bruno_spice.calibration.workbench.state import History, Memory, State
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import Output
from bruno_spice.training.roundtrip.circuit import find_circuit
from bruno_spice.training.roundtrip.recorded import run_network
from bruno_spice.training.runs.evaluation import load_run
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks.base import Batch
from bruno_spice.training.workbench.runs import PAGE, _in_torch


def config_of(neuron):
    """Six neurons on ten milliseconds of pulses."""
    of_neuron = {"options": {"reset": "event", "current_limits": "envelope"}} if neuron == "felif" else {}
    return RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 10},
        "network": {"hidden": [6], "neuron": neuron, "weight_std": 1.5, "bias_std": 0.1},
        "neuron": of_neuron,
        "training": {"epochs": 2, "batch_size": 8},
    })  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of six FeLIF, as the workbench's, one of LIF and one of a GRU."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("start")
    for name, neuron in (("event", "felif"), ("lif", "lif"), ("gru", "gru")):
        train(config_of(neuron), folder / "runs" / name)
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


def silent(_):
    """What a job tells nobody."""


def test_training_loss_and_score_are_what_the_run_wrote(place, state):
    rows = RunFolder(place.root / "runs" / "event").read_metrics()
    lines = PAGE.model(state, place, None).lines
    metric = RunFolder(place.root / "runs" / "event").read_result()["metric"]
    assert lines["loss", "a"][1].tolist() == [row["train"]["loss"] for row in rows]
    assert lines["curve", "a"][1].tolist() == [row["valid"][metric] for row in rows]


def test_a_run_that_goes_on_is_shown_as_far_as_it_is(place, state):
    shutil.copytree("runs/event", "runs/half")
    Path("runs/half/result.json").unlink()
    first, _ = Path("runs/half/metrics.jsonl").read_text().splitlines()
    Path("runs/half/metrics.jsonl").write_text(first + "\n")
    both = State(choices={"runs": "runs/half runs/event"})
    found = PAGE.model(both, place, None)
    assert [len(found.lines["curve", role][0]) for role in ("a", "b")] == [1, 2]
    assert "1 epochs so far" in found.said[0]
    assert PAGE.tables(both, place)[0].rows[0][3] == "not ended: 1 epochs"
    assert {panel.name for panel in PAGE.panels(both, place)} >= {"curve", "loss"}
    on_piece = PAGE.spice(both.with_choice("window", "5"), place, silent)
    assert ("raster", "measured") in on_piece.lines
    Path("runs/half/metrics.jsonl").unlink()
    assert len(PAGE.model(both, place, None).lines["curve", "a"][0]) == 0


@pytest.mark.parametrize(("name", "said"), [("lif", "hidden.0 on test piece 2; it is no circuit"), ("gru", "spikes")])
def test_what_a_network_without_a_circuit_does_is_shown(place, state, name, said):
    found = PAGE.spice(state.with_choice("runs", f"runs/{name}"), place, silent)
    assert said in found.said[0]
    _, task, network = load_run(Path("runs") / name)
    batch = task.collate([task.parts["test"][1]])
    spikes = run_network(network, batch).spikes
    assert bool(spikes) == (("raster", "measured") in found.lines) == (name == "lif")
    if spikes:
        when, who = found.lines["raster", "measured"]
        steps = int(batch.lengths[0])
        assert len(when) == int(spikes["hidden.0"][:steps, 0].sum())
        assert set(who) <= set(range(1, 7))
    with pytest.raises(InputError, match=r"hidden\.9"):
        PAGE.spice(State(choices={"runs": f"runs/{name}", "layer": "hidden.9"}), place, silent)


def test_where_spice_fails_spikes_are_shown_and_why(place, state, monkeypatch):
    monkeypatch.setattr("bruno_spice.training.roundtrip.circuit.run_trials", lambda *_: ({}, {0: ["no convergence"], **{
        n: ["no convergence"] for n in range(6)}}, []))  # fmt: skip
    found = PAGE.spice(state, place, silent)
    assert ("raster", "measured") in found.lines
    assert found.said[-1] == "SPICE: no convergence"


def test_a_card_of_a_run_reads_no_netlist_elsewhere(place, state, tmp_path, monkeypatch):
    outside = tmp_path / "mine.cir"
    outside.write_text("* mine\n")
    card = FeLIFCard.load("runs/event/cards/felif.json")
    origin = card.provenance.model_copy(update={"netlist": str(outside)})
    strange = card.model_copy(update={"provenance": origin})
    with pytest.raises(InputError, match="elsewhere"):
        find_circuit(strange, inside=place.root)
    assert find_circuit(card, inside=place.root).overrides == {}
    where = "bruno_spice.training.roundtrip.circuit.circuit_of"
    monkeypatch.setattr(where, lambda _, *given: circuit_of(strange, *given))
    assert "elsewhere" in PAGE.spice(state, place, silent).said[-1]


def test_chords_are_drawn_of_a_network_without_a_circuit():
    class Two(torch.nn.Linear):
        def forward(self, inputs, lengths):
            return Output(torch.tensor([[[4.0, -4.0]], [[-4.0, 4.0]]]))

    batch = Batch(torch.zeros(2, 1, 3), torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]), torch.ones(2, 1))
    task = SimpleNamespace(lowest_midi_key=60, parts={"test": [None]}, collate=lambda _: batch)
    found = _in_torch(Two(1, 1), task, 0, "", State())
    x, y = found.lines["roll", "measured"]
    assert (x.tolist(), y.tolist()) == ([1.0, 2.0], [60.0, 60.0])
    predicted = found.lines["roll", "model"][1]
    assert predicted[~np.isnan(predicted)].tolist() == [60.0, 60.0, 61.0, 61.0]


def test_a_second_run_is_nothing_to_the_simulator(state, place):
    more = state.with_choice("runs", "runs/event runs/lif")
    assert spice_key(PAGE, more, place) == spice_key(PAGE, state, place)
    assert spice_key(PAGE, state.with_choice("neuron", "3"), place) != spice_key(PAGE, state, place)


def test_what_was_simulated_stays_where_another_run_is_added(state, place, monkeypatch):
    begun = []
    monkeypatch.setattr("bruno_spice.calibration.workbench.session.Job", lambda *given: begun.append(given))
    session = Session(PAGE, place, Memory(History(state)), silent, silent, silent, silent)
    session.ask(json.dumps({"do": "drawn"}))
    line = np.arange(3.0), np.arange(3.0)
    session._hear("spice", session._jobs["spice"], ("done", Drawing({("membrane", "spice"): line})))
    session.ask(json.dumps({"do": "choose", "name": "runs", "value": "runs/event runs/lif"}))
    assert (session.problem, session.notice, len(begun)) == ("", "", 1)
    assert session.simulated.lines
    assert ("curve", "b") in session.model.lines


def test_the_first_view_needs_no_torch_nor_what_draws_reports():
    """What takes seconds to import comes with what needs it."""
    code = """
import sys
from pathlib import Path
from bruno_spice.calibration.workbench import PAGES
from bruno_spice.calibration.workbench.page import answer
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
place = Place(Path.cwd(), Path.cwd() / "workbench")
heavy = {"torch", "plotly", "matplotlib", "pandas", "lmfit", "scipy.optimize", *sys.argv[1:]}
for name, more in {"fecap": {"pydantic"}, "cards": set(), "runs": set()}.items():
    page = PAGES[name]
    page.choices(State(), place), page.knobs(State(), place), page.panels(State(), place), page.tables(State(), place)
    answer(page, State(), place, None)
    print(*(heavy | more) & {*sys.modules})
"""
    for again in ([], ["numba"]):  # what films and cards say first is remembered: no kernel is loaded for it then
        found = subprocess.run([sys.executable, "-P", "-c", code, *again], capture_output=True, text=True, check=True)
        assert found.stdout.split() == []
