"""Sweeps over settings and seeds; neurons that differ."""

import csv
import os
import signal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bruno_spice.devices.cards.parts import Covariance
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.training.networks.config import NeuronConfig, RunConfig
from bruno_spice.training.networks.network import build_network
from bruno_spice.training.neurons.spread import sample_parameters
from bruno_spice.training.progress import Interrupted, Silent
from bruno_spice.training.runs.folder import Cards
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.studies.sweep import SearchRange, load_sweep, sweep, table_csv
from tests.training.test_neurons import three_domain_card

pytestmark = pytest.mark.filterwarnings("ignore:the current runs from")


def plan_file(tmp_path, small_config, text):
    (tmp_path / "base.yaml").write_text(small_config.with_values(training__epochs=1, synapse__kind="float").to_yaml())
    path = tmp_path / "sweep.yaml"
    path.write_text(f"config: {tmp_path / 'base.yaml'}\n{text}")
    return path


def test_a_grid_tries_every_combination_with_every_seed_and_does_not_repeat(small_config, tmp_path):
    path = plan_file(tmp_path, small_config, "seeds: [0, 1]\ngrid: {network.neuron: [lif, gru]}")
    rows = sweep(load_sweep(path), tmp_path / "runs")
    assert {row["settings"]["network.neuron"] for row in rows} == {"lif", "gru"}
    assert rows[0]["valid_accuracy_mean"] >= rows[1]["valid_accuracy_mean"]
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 4
    table = list(csv.DictReader((tmp_path / "runs" / "table.csv").read_text().splitlines()))
    assert float(table[0]["test_cross_entropy_std"]) > 0
    times = {each: each.stat().st_mtime_ns for each in (tmp_path / "runs").glob("*/result.json")}
    assert sweep(load_sweep(path), tmp_path / "runs") == rows
    assert times == {each: each.stat().st_mtime_ns for each in times}


def test_a_search_stays_in_its_range(small_config, tmp_path):
    path = plan_file(
        tmp_path, small_config, "search: {training.learning_rate: {low: 1m, high: 1e-2, log: true}}\ntrials: 2"
    )
    rows = sweep(load_sweep(path), tmp_path / "runs")
    assert all(1e-3 <= row["settings"]["training.learning_rate"] <= 1e-2 for row in rows)


def test_a_sweep_runs_again_with_other_cards(small_config, tmp_path, felif_card):
    felif_card.save(tmp_path / "felif.json")
    text = f"settings: {{neuron.card: {tmp_path / 'felif.json'}, training.epochs: 1}}\ngrid: {{seed: [0]}}\n"
    path = plan_file(tmp_path, small_config, text)
    sweep(load_sweep(path), tmp_path / "runs")
    felif_card.with_values(v_threshold=2.4).save(tmp_path / "felif.json")
    sweep(load_sweep(path), tmp_path / "runs")
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 2


def test_a_range_with_whole_ends_is_searched_in_whole_numbers():
    assert SearchRange(low=2, high=8).whole
    assert not SearchRange(low=2.0, high=8).whole
    assert not SearchRange(low="1e-3", high="1e-2").whole


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seeds: [0]", "either a grid or a search"),
        ("gird: {a: [1]}", r"unknown key 'gird'; did you mean 'grid'\?"),
        ("search: {seed: {low: 1, hihg: 2}}", r"unknown key 'search\.seed\.hihg'; did you mean 'high'\?"),
        ("search: {seed: {low: 2, high: 1}}", r"search\.seed: low must be below high, not 2 and 1$"),
        ("search: {seed: {low: 0, high: 1, log: true}}", "needs low above 0, not 0"),
        ("grid: {training.epochs: [1], training.epochz: [1]}", r"^grid: unknown key 'training\.epochz'; did you mean"),
        ("grid: {training.epochs: [1], trainings.epochs: [1]}", "grid: a setting names 'trainings'"),
        ("grid: {training.epochs: [1, 0]}", r"grid: training\.epochs: .* greater than or equal to 1 \(it is 0\)"),
        ("grid: {neuron.card: [calibrated, none.json]}", r"none\.json: no such card"),
        ("search: {synapse.bits: {low: 1, high: 9}}", r"search: synapse\.bits: .* \(it is 9\)"),
        ("settings: {seedd: 1}\ngrid: {seed: [1]}", "settings: unknown key 'seedd'"),
        ("seeds: [0, -1]\ngrid: {training.epochs: [1]}", "seeds: seed: "),
    ],
)
def test_faults_of_a_sweep_file_are_named_before_the_first_run(small_config, tmp_path, text, complaint):
    path = plan_file(tmp_path, small_config, text)
    with pytest.raises(InputError, match=complaint) as caught:
        sweep(load_sweep(path), tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


class StopsAtOnce(Silent):
    def advance(self):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stopped_sweep_says_how_it_goes_on(small_config, tmp_path, capfd):
    path = plan_file(tmp_path, small_config, "grid: {network.neuron: [lif, gru]}")
    with pytest.raises(Interrupted, match=r"^stopped on request; the same `bruno sweep` command goes on$"):
        sweep(load_sweep(path), tmp_path / "runs", StopsAtOnce())
    assert "Traceback" not in "".join(capfd.readouterr())
    assert len(sweep(load_sweep(path), tmp_path / "runs")) == 2


def test_sigmas_by_name_give_that_spread(felif_card):
    drawn = sample_parameters(felif_card, {"area": 0.05, "c_parallel": 0.1}, 20000, np.random.default_rng(0))
    for name, sigma in (("area", 0.05), ("c_parallel", 0.1)):
        assert drawn[name].mean() == pytest.approx(felif_card[name], rel=0.005)
        assert drawn[name].std() / felif_card[name] == pytest.approx(sigma, rel=0.03)


def test_the_ambiguity_of_the_fit_is_no_spread_of_devices_and_called_so():
    with pytest.raises(ValidationError, match="'covariance' is now called fit_ambiguity"):
        NeuronConfig(spread="covariance")
    assert NeuronConfig(spread="fit_ambiguity").spread == "fit_ambiguity"


def test_a_card_that_is_not_believed_trains_only_where_it_is_named(felif_card, tmp_path, monkeypatch):
    path = tmp_path / "data" / "calibrated" / "felif.json"
    felif_card.model_copy(update={"fit": {"believed": False, "doubt": "it is loose"}}).save(path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CardError, match=r"it is loose.*neuron\.card"):
        Cards.of(RunConfig())
    assert Cards.of(RunConfig(neuron=NeuronConfig(card=str(path)))).neuron.doubt == "it is loose"


def test_the_ambiguity_of_the_fit_gives_correlated_parameters(felif_card):
    drawn = sample_parameters(felif_card, "fit_ambiguity", 20000, np.random.default_rng(0))
    names, correlation = felif_card.correlation()
    assert np.corrcoef([drawn[name] for name in names]) == pytest.approx(correlation, abs=0.03)


def test_the_card_s_spread_keeps_its_correlations(felif_card):
    drawn = sample_parameters(felif_card, "card", 20000, np.random.default_rng(0))
    names = felif_card.variability_correlation.names
    columns = np.array([drawn[name] for name in names])
    np.testing.assert_allclose(np.corrcoef(columns), felif_card.variability_correlation.matrix, atol=0.03)
    sigma = [felif_card.variability[name] for name in names]
    np.testing.assert_allclose(columns.std(axis=1) / columns.mean(axis=1), sigma, rtol=0.04)


def test_a_spread_that_the_card_does_not_hold_is_refused(felif_card):
    bare = felif_card.model_copy(update={"variability": {}})
    with pytest.raises(InputError, match="nothing of variability"):
        sample_parameters(bare, "card", 3, np.random.default_rng(0))
    with pytest.raises(InputError, match="names 'aera'"):
        sample_parameters(bare, {"aera": 0.1}, 3, np.random.default_rng(0))


def test_the_weights_of_the_domains_add_up_whatever_is_drawn():
    names = ["domain_weight_2", "domain_weight_3"]
    card = three_domain_card().model_copy(
        update={"covariance": Covariance(names=names, matrix=[[4e-4, 1e-4], [1e-4, 1e-4]])}
    )
    for spread in ("fit_ambiguity", {"domain_weight_3": 0.2}):
        drawn = sample_parameters(card, spread, 50, np.random.default_rng(0))
        whole = drawn["domain_weight_1"] + drawn.get("domain_weight_2", 0.5) + drawn["domain_weight_3"]
        np.testing.assert_allclose(whole, 1.0, rtol=1e-12)
        assert drawn["domain_weight_1"].std() > 1e-3


def test_a_spread_that_reaches_beyond_zero_is_refused(felif_card):
    with pytest.raises(InputError, match="the spread of 'tau_0' reaches beyond zero"):
        sample_parameters(felif_card, {"tau_0": 0.5}, 400, np.random.default_rng(0))
    drawn = sample_parameters(three_domain_card(), {"offset_field_1": 0.9}, 400, np.random.default_rng(0))
    assert drawn["offset_field_1"].min() < 0.0 < drawn["offset_field_1"].max()


def test_neurons_of_a_chip_differ_and_another_chip_has_others(small_config, felif_card, rram_card):
    config = small_config.with_values(
        network__neuron="felif", network__recurrent=False, neuron__spread={"area": 0.1}, synapse__kind="float"
    )
    torch.manual_seed(0)
    network = build_network(config, 2, 2, felif_card, rram_card)
    with torch.no_grad():
        network.hidden[0].synapse.weight.fill_(0.02)
        network.hidden[0].bias.fill_(0.02)
    inputs = torch.ones(30, 1, 2)

    def voltage():
        return network(inputs).features["voltage"].detach()[:, 0]

    first = voltage()
    assert first.std(1).max() > 1e-3
    assert torch.equal(first, voltage())
    network.redraw()
    assert not torch.equal(first, voltage())


def test_sampled_neurons_are_part_of_the_checkpoint(small_config, tmp_path):
    config = small_config.with_values(
        network__neuron="felif", neuron__spread={"area": 0.1}, synapse__redraw_every=4, training__epochs=1,
        task_options={"trials": 40, "steps": 4},
    )  # fmt: skip
    result = train(config, tmp_path / "run")
    from bruno_spice.training.runs.evaluation import evaluate

    assert evaluate(tmp_path / "run")["test"] == result["test"]


def test_a_cell_that_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers():
    text = table_csv([{"settings": {"=key": "=cmd|'/c calc'!A1", "@a": "plain"}, "valid_x_mean": -1.5, "odd": "+1"}])
    assert text.splitlines() == ["'=key,'@a,valid_x_mean,odd", "'=cmd|'/c calc'!A1,plain,-1.5,'+1"]
