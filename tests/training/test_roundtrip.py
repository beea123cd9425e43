"""A trained network back in SPICE: the currents are torch's, the comparison is honest, the verdicts follow."""

import json
import re

import numpy as np
import pytest
import torch

from bruno_spice.calibration.cards.provenance import provenance
from bruno_spice.calibration.circuits.crossbar import CrossbarArray, CrossbarRun, crossbar_deck, simulate_crossbar
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NETLISTS, NeuronRun, neuron_jobs
from bruno_spice.calibration.errors import DoubtfulSpikesError, NetlistError, SimulationError
from bruno_spice.calibration.spice.farm import Farm, try_jobs
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.roundtrip import circuit as roundtrip_circuit
from bruno_spice.training.roundtrip.circuit import deck_overrides, find_circuit, stimulus
from bruno_spice.training.roundtrip.compare import Trial, per_step
from bruno_spice.training.roundtrip.crossbar import crossbar_run
from bruno_spice.training.roundtrip.decision import decisions
from bruno_spice.training.roundtrip.recorded import (
    as_circuit,
    choose_neurons,
    circuit_layers,
    neurons_replaced,
    record,
    run_network,
    spread_over_ranks,
)
from bruno_spice.training.runs.evaluation import load_run
from bruno_spice.training.runs.trainer import train

STEPS = 10


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of six recurrent FeLIF on RRAM weights, with the circuit's reset and limits."""
    torch.set_num_threads(1)
    config = RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": STEPS},
        "network": {"hidden": [6], "neuron": "felif", "weight_std": 1.5, "bias_std": 0.1},
        "neuron": {"options": {"reset": "event", "current_limits": "envelope"}},
        "training": {"epochs": 1, "batch_size": 8},
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "event"
    train(config, folder)
    return folder


@pytest.fixture
def recorded(run_folder):
    """The run's task, network and record of three test pieces."""
    _, task, network = load_run(run_folder)
    as_circuit(network)
    return task, network, record(network, task, "hidden.0", (0, 3, 5))


def test_the_recorded_current_is_that_of_the_programmed_conductances(recorded):
    _, network, seen = recorded
    run = crossbar_run(network, seen, range(6), {})
    current = sum(a.gain * a.rows_v @ (a.plus_s - a.minus_s).T for a in run.arrays) + run.bias_a
    low, high = run.limits_a
    expected = seen.current_a[:STEPS, 0]
    assert np.allclose(current.clip(low, high), expected, atol=2e-6 * np.abs(expected).max(), rtol=0)
    assert np.any(seen.spikes[:, 0] > 0), "without recurrent spikes this says little"
    assert seen.current_a.max() > 1e-9


def test_a_deck_is_driven_by_the_recorded_current(recorded):
    *_, seen = recorded
    drive = stimulus(seen, 1, 2)
    deck = neuron_jobs([NeuronRun(drive, STEPS * 1e-3)])[0].deck
    source = re.search(r"Istim inj 0 PWL\(([^)]*)\)", deck).group(1).replace("+", " ")
    time_s, current_a = np.array(source.split(), dtype=float).reshape(-1, 2).T
    middles_s = (np.arange(STEPS) + 0.5) * 1e-3
    assert np.allclose(np.interp(middles_s, time_s, current_a), seen.current_a[:STEPS, 1, 2], rtol=1e-8, atol=0)


def test_the_crossbars_currents_are_the_weighted_sums_within_the_limits():
    rng = np.random.default_rng(1)
    rows_v = 0.2 * (rng.random((4, 7)) < 0.5)
    rows_v[:, 2] = 0.0
    plus_s, minus_s = rng.uniform(50e-6, 500e-6, (2, 2, 7))
    low, high = -2e-9, 4e-9
    arrays = [CrossbarArray(name, rows_v, plus_s, minus_s, gain) for name, gain in (("in", 1e-4), ("rec", -3e-5))]
    run = CrossbarRun(arrays, np.array([1e-9, -0.5e-9]), (low, high))
    current = sum(a.gain * rows_v @ (plus_s - minus_s).T for a in arrays) + run.bias_a
    assert current.min() < low or current.max() > high, "the limits must act"
    middles_s = (np.arange(4) + 0.5) * 1e-3
    for n, wave in enumerate(simulate_crossbar(run, farm=Farm(workers=1))):
        assert np.allclose(wave.resampled(middles_s)["i_syn_a"], current[:, n].clip(low, high), rtol=1e-9, atol=1e-18)


def test_a_silent_row_is_left_out_of_the_crossbar():
    rows_v = np.array([[0.2, 0.0]])
    g_s = np.full((1, 2), 1e-4)
    text = crossbar_deck(CrossbarRun([CrossbarArray("in", rows_v, g_s, g_s, 1e-4)], np.zeros(1))).text
    assert "Xrow_in1 in1 inp1 inm1 crossbar_row" in text
    assert "in2" not in text


def test_a_testbench_without_a_placed_neuron_is_refused_by_the_crossbar(tmp_path):
    bench = tmp_path / "bare.cir"
    bench.write_text(
        "bare\nVsupply vdd 0 3.3\nIstim inj 0 PWL(0 0)\nR1 inj vm 1k\nR2 vm spk 1k\nR3 spk pn 1k\n.tran 1u 1m\n.end\n"
    )
    with pytest.raises(NetlistError, match="no subcircuit is placed"):
        crossbar_deck(CrossbarRun([CrossbarArray("in", np.ones((1, 1)), *np.ones((2, 1, 1)), 1.0)], np.zeros(1)), bench)


def test_neurons_are_spread_over_their_rates_and_silent_ones_come_last():
    rates = np.array([0.0, 50.0, 10.0, 0.0, 90.0, 30.0, 0.0, 70.0])
    assert choose_neurons(rates, 3) == [2, 1, 4, 0, 6]
    assert choose_neurons(rates, 20) == [2, 5, 1, 7, 4, 0, 6]
    assert spread_over_ranks(np.arange(77), 10) == [0, 8, 17, 25, 34, 42, 51, 59, 68, 76]


def test_the_decision_is_torchs_where_spice_does_the_same_and_another_where_not(recorded):
    task, network, seen = recorded
    neuron = circuit_layers(network)["hidden.0"]
    parameters = FeLIFParameters.from_card(neuron.card)

    def trials(time_shift_s):
        found = {}
        for index in range(6):
            found[index] = []
            for place, piece in enumerate(seen.pieces):
                drive = stimulus(seen, place, index)
                model = simulate(parameters, drive, STEPS * 1e-3)
                moved = Waveform(model.time_s, model.signals, model.spike_times_s + time_shift_s)
                found[index].append(Trial(piece, drive, seen.shown(STEPS, place, index), model, moved))
        return found

    same = decisions(network, task, seen, trials(0.0))
    assert same["agreement"] == {"answers_agree": 1.0}
    assert same["spice"]["cross_entropy"] == pytest.approx(same["torch"]["cross_entropy"], abs=2e-4)
    assert [row["piece"] for row in same["pieces"]] == [0, 3, 5]
    moved = decisions(network, task, seen, trials(4e-3))
    assert abs(moved["spice"]["cross_entropy"] - moved["torch"]["cross_entropy"]) > 2e-3
    again = record(network, task, "hidden.0", seen.pieces)
    assert torch.equal(again.logits, seen.logits)


def test_the_first_milliseconds_of_pieces_are_enough(recorded):
    task, network, seen = recorded
    short = record(network, task, "hidden.0", seen.pieces, milliseconds=4)
    assert np.array_equal(short.current_a, seen.current_a[:4])
    assert short.lengths.tolist() == [4, 4, 4]
    assert torch.equal(short.logits, seen.logits)
    assert np.allclose(short.rates_hz, seen.spikes[:4].sum((0, 1)) / 12e-3)
    with neurons_replaced(circuit_layers(network)["hidden.0"], [1], np.zeros((4, 3, 1)), np.zeros((4, 3, 1))):
        assert run_network(network, short.batch).logits.shape == seen.logits.shape


def test_a_neurons_own_device_scales_the_netlists_parameters(one_domain):
    neuron, circuit = FeLIF(one_domain), find_circuit(one_domain)
    assert deck_overrides(circuit, neuron, 0) == {}
    fields = one_domain["activation_field_1"] * torch.linspace(0.9, 1.1, 6, dtype=torch.float64)
    neuron.set_devices({"activation_field_1": fields})
    assert deck_overrides(circuit, neuron, 5) == pytest.approx({"ea": 1.65 * 1.1})
    neuron.set_devices({"alpha": torch.full((6,), 1.3)})
    with pytest.raises(InputError, match="differ in alpha"):
        deck_overrides(circuit, neuron, 0)


def test_domains_that_share_a_parameter_of_the_netlist_must_differ_by_one_factor(one_domain):
    values = {name: each.value for name, each in one_domain.parameters.items()}
    for name in ("activation_field", "offset_field", "domain_weight"):
        values[f"{name}_2"] = values[f"{name}_1"]
    card = FeLIFCard.from_values(values | {"domain_weight_1": 0.5, "domain_weight_2": 0.5}, source="test", domains=2)
    circuit, neuron = find_circuit(one_domain), FeLIF(card)

    def devices(**factors):
        neuron.set_devices({name: torch.tensor([card[name] * factor]) for name, factor in factors.items()})
        return deck_overrides(circuit, neuron, 0)

    assert devices(activation_field_1=1.1, activation_field_2=1.1) == pytest.approx({"ea": 1.65 * 1.1})
    with pytest.raises(InputError, match=r"at 1\.1, 0\.9 of the card's"):
        devices(activation_field_1=1.1, activation_field_2=0.9)
    with pytest.raises(InputError, match=r"one \.param ea for activation_field_1, activation_field_2"):
        devices(activation_field_2=1.1)


def test_a_card_without_a_netlist_and_a_changed_netlist_are_told(felif_card):
    with pytest.raises(InputError, match="--netlist"):
        find_circuit(FeLIFCard.published())
    assert find_circuit(felif_card).notes == ()
    other = felif_card.provenance.model_copy(update={"sha256": "0" * 64})
    (note,) = find_circuit(felif_card.model_copy(update={"provenance": other})).notes
    assert "changed since" in note


def test_a_neuron_that_is_a_bare_library_keeps_the_parameters_it_was_calibrated_at(recorded, felif_card, tmp_path):
    mine = tmp_path / "mine.lib"
    mine.write_text(
        f"* mine\n.include {NETLISTS}/circuits/felif_neuron.lib\n.subckt mine inj vm spk pl pn vdd vth=2.5 cextra=1f\n"
        "Xcore inj vm spk pl pn vdd felif_neuron vth={vth}\nCextra vm 0 {cextra}\n.ends\n"
    )
    origin = provenance(neuron_deck(mine), {"vth": 2.4}, "").model_copy(update={"netlist": str(mine)})
    card = felif_card.model_copy(update={"provenance": origin})
    assert find_circuit(card).notes == ()
    assert find_circuit(card, netlist=mine).overrides == {"vth": 2.4}
    neuron = circuit_layers(recorded[1])["hidden.0"]
    neuron.set_devices({"v_threshold": torch.full((6,), 1.1 * felif_card["v_threshold"], dtype=torch.float64)})
    assert deck_overrides(find_circuit(card), neuron, 0)["vth"] == pytest.approx(2.4 * 1.1)


def test_validate_from_run_to_report(bruno, run_folder):
    code, out, err = bruno("validate", run_folder, "--neurons", 2, "--pieces", 8, "--simulator", "auto", "--json")
    assert code == 0, err
    figures = json.loads(out)
    assert figures["spikes_matched_fraction"] >= 0.8
    assert abs(figures["rate_error"]) < 0.3
    assert len([row for row in figures["neurons"] if row["spikes_torch"]]) == 2
    assert all(row["kernel_matched_fraction"] > 0.9 for row in figures["neurons"])
    for row in figures["neurons"]:
        every_spike = row["spikes_matched"] == max(row["spikes_torch"], row["spikes_spice"])
        assert row["verdict"] == ("ok" if every_spike else "explained"), "within the envelope nothing is flagged"
        assert row["voltage_rms_v"] < figures["known_error"]["voltage_rms_v"]
    assert sum(figures["verdicts"].values()) == len(figures["neurons"])
    assert figures["crossbar"]["current_error_a"] < 1e-6 * 30e-9
    kept = json.loads((run_folder / "validation.json").read_text())
    assert kept.pop("sha256")
    assert kept == figures
    figure_of = {
        name: run_folder / "figures" / f"validation_{name}.png" for name in ("matched", "raster", "best", "worst")
    }
    assert all(path.stat().st_size > 10_000 for path in figure_of.values())
    assert not (run_folder / "figures" / "validation_median.png").exists(), "two neurons have no median"
    crossbar = run_folder / "figures" / "validation_crossbar.png", run_folder / "spice" / "crossbar.cir"
    assert all(path.exists() for path in crossbar)
    assert ".tran" in (run_folder / "spice" / "worst.cir").read_text()
    assert "In SPICE" in (run_folder / "report.html").read_text()
    code, out, _ = bruno("validate", run_folder, "--neurons", 2, "--pieces", 8, "--no-crossbar")
    assert code == 0
    assert not any(path.exists() for path in crossbar), "nothing of an earlier validation stays"
    assert "spikes found in SPICE within 1 ms of torch's" in out
    (run_folder / "best.safetensors").touch()
    weights = (run_folder / "best.safetensors").read_bytes()
    (run_folder / "best.safetensors").write_bytes(weights + b" ")
    assert bruno("report", run_folder)[0] == 0
    (run_folder / "best.safetensors").write_bytes(weights)
    assert "of an earlier training" in (run_folder / "report.html").read_text()


def test_trained_device_parameters_are_those_of_every_deck(bruno, run_folder, tmp_path):
    """Of the crossbar's too, or it would hold the untrained circuit against the trained neuron."""
    config = load_run(run_folder)[0].with_values(neuron__train={"v_threshold": None}, training__learning_rate=0.05)
    run = tmp_path / "trained"
    train(config, run)
    code, out, err = bruno("validate", run, "--neurons", 2, "--pieces", 2, "--simulator", "auto", "--json")
    assert code == 0, err
    assert json.loads(out)["crossbar"]["current_error_a"] < 1e-6 * 30e-9
    thresholds = {
        re.search(r"^\.param vth=(\S+)", path.read_text(), re.MULTILINE)[1] for path in (run / "spice").glob("*.cir")
    }
    assert len(thresholds) == 1
    assert float(thresholds.pop()) != 2.5


def test_a_layer_without_a_spike_is_refused_before_any_deck(bruno, run_folder, tmp_path, monkeypatch):
    run = tmp_path / "silent"
    silent = {"network__unit_current_a": 1e-15, "network__bias_std": 0.0}
    train(load_run(run_folder)[0].with_values(**silent), run)
    (run / "validation.json").write_text("earlier")
    monkeypatch.setattr(roundtrip_circuit, "try_jobs", None)
    code, _, err = bruno("validate", run)
    assert code == 2, err
    assert "no neuron of hidden.0 spikes on these pieces, so there is nothing to compare" in err
    assert (run / "validation.json").read_text() == "earlier"
    assert not (run / "spice").exists()


@pytest.mark.parametrize("mended", [True, False])
def test_doubtful_spikes_are_simulated_once_more(bruno, run_folder, monkeypatch, mended):
    """As in a calibration; what stays doubtful is a failed deck."""
    seen = set()

    def judge(waveform, deadline_s, label):
        if label not in seen or not mended:
            seen.add(label)
            raise DoubtfulSpikesError(f"{label}: twice")

    monkeypatch.setattr("bruno_spice.calibration.circuits.experiments.refuse_double_spikes", judge)
    command = ("validate", run_folder, "--neurons", 1, "--pieces", 2, "--milliseconds", 5, "--no-crossbar", "--json")
    code, out, err = bruno(*command)
    found = json.loads(out)
    assert code == 0, err
    assert re.search(r"(\d+) of \1 simulations had spikes early or twice; again with reltol=1e-06", err)
    assert found["decks_failed"] == (0 if mended else found["decks"])


def test_failed_decks_are_counted_and_score_nothing(bruno, run_folder, monkeypatch):
    code, out, err = bruno("validate", run_folder, "--neurons", 2, "--pieces", 2, "--no-crossbar", "--json")
    assert code == 0, err
    whole = json.loads(out)
    assert whole["decks_failed"] == 0
    rates = [row["rate_hz"] for row in whole["neurons"]]

    def failing(which):
        def jobs(*arguments):
            done = try_jobs(*arguments)
            return [SimulationError("no convergence") if which(place) else raw for place, raw in enumerate(done)]

        monkeypatch.setattr(roundtrip_circuit, "try_jobs", jobs)
        code, out, err = bruno("validate", run_folder, "--neurons", 2, "--pieces", 2, "--no-crossbar", "--json")
        assert code == 0, err
        return json.loads(out)

    some = failing(lambda place: place < 3)
    first, second = some["neurons"][:2]
    assert (some["decks_failed"], some["decks"]) == (3, whole["decks"])
    assert (first["decks_failed"], second["decks_failed"]) == (2, 1)
    assert {first["matched_fraction"], first["voltage_rms_v"], first["kernel_matched_fraction"]} == {None}
    assert some["lowest_matched_fraction"] == min(row["matched_fraction"] for row in some["neurons"][1:])
    assert [row["rate_hz"] for row in some["neurons"]] == rates, "a rate is torch's, whatever ngspice does"
    assert first["current_max_a"] == whole["neurons"][0]["current_max_a"] > 0
    assert [row["verdict"] for row in (first, second)] == ["flagged", "flagged"]
    assert "SPICE failed on 1 of 2 decks: no convergence" in second["reason"]
    assert f"SPICE failed on 3 of {whole['decks']} decks" in (run_folder / "report.html").read_text()

    none = failing(lambda place: True)
    assert (none["spikes_matched_fraction"], none["lowest_matched_fraction"], none["rate_error"]) == (None, None, None)
    code, out, err = bruno("validate", run_folder, "--neurons", 2, "--pieces", 2, "--no-crossbar")
    assert code == 0, err
    assert f"SPICE failed on {none['decks']} of {none['decks']} decks" in out


def test_output_neurons_of_the_macro_rule_are_validated_with_the_circuits_reset(bruno, run_folder, tmp_path):
    run = tmp_path / "macro"
    config = load_run(run_folder)[0].with_values(
        neuron__options={"current_limits": "envelope"},
        network__neuron="lif",
        network__output_neuron="felif",
        network__output_bias=1.0,
    )
    train(config, run)
    code, out, err = bruno("validate", run, "--neurons", 1, "--pieces", 1, "--milliseconds", 5)
    assert code == 0, err
    assert "output was trained with a reset at the end of the millisecond" in err
    assert "no crossbar deck: the output neurons read analogue features" in err
    assert "output in neuron.cir" in out


@pytest.mark.parametrize(
    ("changes", "arguments", "complaint"),
    [
        ({"network__neuron": "rlif"}, [], "no FeLIF neurons"),
        ({"network__neuron": "gru"}, [], "no FeLIF neurons"),
        ({}, ["--layer", "hidden.7"], "no FeLIF layer 'hidden.7'; it has hidden.0"),
        ({}, ["--netlist", "missing.cir"], "missing.cir"),
        (None, [], "no run here"),
    ],
)
def test_faults_of_the_user_are_one_sentence_and_exit_code_two(
    bruno, run_folder, tmp_path, changes, arguments, complaint
):
    run = run_folder
    if changes is None:
        run = tmp_path / "nothing"
    elif changes:
        run = tmp_path / "rival"
        train(load_run(run_folder)[0].with_values(**changes), run)
    code, _, err = bruno("validate", run, *arguments)
    assert code == 2, err
    assert complaint in err
    assert "Traceback" not in err


def test_the_training_kernel_spikes_as_the_cards_equations_do_over_the_whole_envelope(felif_card):
    span, steps = felif_card.envelope["i_syn"], 100
    current_a = np.random.default_rng(0).uniform(span.min, span.max, (steps, 20))
    current_a[:, 0] = 0.95 * span.max
    with torch.no_grad():
        out, _ = FeLIF(felif_card, reset="event")(torch.tensor(current_a, dtype=torch.float32)[:, None])
    counts = out.spikes[:, 0].numpy()
    drives = [Stimulus.steps(column) for column in current_a.T]
    truth = [per_step(simulate(felif_card, drive, steps * 1e-3).spike_times_s, steps) for drive in drives]
    expected = np.stack(truth, axis=1)
    assert np.abs(counts.sum(0) / expected.sum(0) - 1).max() < 0.02
    assert np.minimum(counts, expected).sum() / expected.sum() > 0.97
