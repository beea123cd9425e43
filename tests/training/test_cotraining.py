"""Devices trained beside the weights: within bounds, resumed like weights, handed on as a proposed card."""

import json

import pytest
import torch
from torch import nn

from bruno_spice.calibration.neuron.twins import settings
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError, ProposedCard
from bruno_spice.training.networks.config import RunConfig, parse_config
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.shared import SharedDevices
from bruno_spice.training.roundtrip.circuit import deck_overrides, felif_parameters, find_circuit
from bruno_spice.training.runs.evaluation import evaluate, load_run
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.optimizer import descend, make_optimizer
from bruno_spice.training.runs.trainer import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:the current runs from"),
    pytest.mark.filterwarnings("always::bruno_spice.devices.errors.ProposedCard"),
]
BOUNDS = {"area": [24.9975e-12, 25.0025e-12], "v_threshold": None}


@pytest.fixture(scope="module")
def config(tmp_path_factory, one_domain):
    torch.set_num_threads(1)
    card = one_domain.save(tmp_path_factory.mktemp("card") / "one.json")
    return RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 10},
        "network": {"hidden": [5, 3], "neuron": "felif", "weight_std": 1.0},
        "neuron": {"card": str(card), "train": BOUNDS, "train_rate": 0.01, "options": {"reset": "event"}},
        "training": {"epochs": 2, "batch_size": 8, "schedule": "constant"},
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cotraining") / "run"
    train(config, folder)
    return folder


def proposed(run):
    with pytest.warns(ProposedCard, match=r"a proposed card \(run run moved area, v_threshold\)"):
        return FeLIFCard.load(RunFolder(run).proposed_file("felif"))


def test_devices_move_within_their_bounds_and_are_told(run, one_domain):
    told = RunFolder(run).read_result()["devices"]
    assert set(told) == {"area", "v_threshold"}
    assert told["area"]["on_bound"]
    assert told["area"]["trained"] in (pytest.approx(24.9975e-12), pytest.approx(25.0025e-12))
    moved = told["v_threshold"]["trained"] / one_domain["v_threshold"]
    assert 1 / 1.2 <= moved <= 1.2
    assert abs(moved - 1) > 1e-3
    assert all(24.9975e-12 <= row["devices"]["area"] <= 25.0025e-12 for row in RunFolder(run).read_metrics())


def test_the_command_line_tells_what_was_trained(bruno, run):
    code, out, err = bruno("train", "--out", run, "--resume")
    assert code == 0, err
    assert "trained area: 2." in out
    assert "m^2, the card has 2.5e-11, on its bound" in out


def test_the_run_scores_with_what_it_trained(run):
    result = RunFolder(run).read_result()
    assert evaluate(run)["test"] == result["test"]
    network = load_run(run)[2]
    factors = [layer.neuron.factors() for layer in network.hidden]
    assert all(each["area"] == factors[0]["area"] for each in factors)
    assert float(factors[0]["area"].detach()) == pytest.approx(result["devices"]["area"]["trained"] / 25e-12, rel=1e-6)


def test_the_proposed_card_says_what_it_is_wherever_it_is_read(bruno, run, one_domain):
    card = proposed(run)
    result = RunFolder(run).read_result()
    assert card["v_threshold"] == pytest.approx(result["devices"]["v_threshold"]["trained"])
    assert card["leak_discharge"] == one_domain["leak_discharge"]
    assert card.provenance.proposal.card_sha256 == result["cards"]["felif"]
    assert not card.validation
    path = RunFolder(run).proposed_file("felif")
    for command in (["card", "check", path], ["card", "show", path], ["simulate", "neuron", "--dc", "5n", "--t-stop",
                    "1m", "--card", path, "--out", run / "trace.csv"]):  # fmt: skip
        code, _, err = bruno(*command)
        assert code == 0, err
        assert "a proposed card (run run moved area, v_threshold)" in err
    assert "proposal" not in one_domain.to_json()


def test_diff_gives_the_numbers_of_the_netlist(bruno, run):
    cards = run / "cards"
    code, out, _ = bruno("card", "diff", cards / "felif.json", cards / "felif-proposed.json", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["area"]["setting"] == f"area={rows['area']['second']:.6g}"
    ratio = rows["v_threshold"]["second"] / rows["v_threshold"]["first"]
    assert rows["v_threshold"]["setting"] == f"vth={2.5 * ratio:.6g}"
    _, out, _ = bruno("card", "diff", cards / "felif.json", cards / "felif-proposed.json")
    assert "B is proposed" in out


def test_domains_have_a_number_of_the_netlist_only_where_they_move_alike(felif_card):
    fields = {f"activation_field_{k}": 1.1 * felif_card[f"activation_field_{k}"] for k in range(1, 5)}
    assert {each.text for each in settings(felif_card, fields).values()} == {"ea=1.815"}
    assert settings(felif_card, fields | {"activation_field_2": felif_card["activation_field_2"]}) == {}
    assert settings(FeLIFCard.published(), {"area": 20e-12}) == {}


def test_a_resumed_run_ends_bit_for_bit_where_the_whole_one_did(run, config, tmp_path):
    train(config.with_values(training__epochs=1), tmp_path / "part")
    train(config, tmp_path / "part", resume=True)
    whole, part = (load_run(folder)[2].state_dict() for folder in (run, tmp_path / "part"))
    assert "shared.x.area" in whole
    assert all(torch.equal(value, part[name]) for name, value in whole.items())


def test_devices_have_their_own_rate_and_clip(run, config):
    network = load_run(run)[2]
    optimizer = make_optimizer(config, network)
    weights, devices = optimizer.param_groups
    assert (weights["lr"], devices["lr"], devices["weight_decay"]) == (4e-3, 0.01, 0.0)
    assert len(devices["params"]) == 2
    assert list(network.parameters()) == [*weights["params"], *devices["params"]]
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    descend(optimizer, network, 1.0)
    for group in optimizer.param_groups:
        assert float(torch.cat([each.grad.flatten() for each in group["params"]]).norm()) == pytest.approx(
            1.0, rel=1e-3
        )


def test_the_step_of_a_logarithm_is_the_value_s_own_gradient(one_domain):
    """dL/dx = p dL/dp, shared by both layers."""
    shared = SharedDevices(one_domain, {"area": None}, 1.2)
    current = 6e-9 * torch.rand(6, 2, 4, generator=torch.Generator().manual_seed(0))
    layers = [FeLIF(one_domain, "tangent") for _ in range(2)]
    shared.give_to(layers)
    sum(layer(current)[0].voltage_v.sum() for layer in layers).backward()
    alone = FeLIF(one_domain, "tangent")
    area = nn.Parameter(torch.tensor([one_domain["area"]], dtype=torch.float64))
    alone.set_devices({"area": area})
    alone(current)[0].voltage_v.sum().backward()
    assert float(shared.x["area"].grad) == pytest.approx(2 * one_domain["area"] * float(area.grad), rel=1e-4)


def test_the_round_trip_takes_trained_devices_to_the_netlist(run):
    neuron = load_run(run)[2].hidden[0].neuron
    factor = float(neuron.factors()["v_threshold"].detach())
    assert deck_overrides(find_circuit(neuron.card), neuron, 0)["vth"] == pytest.approx(2.5 * factor)
    assert felif_parameters(neuron, 0).v_threshold == pytest.approx(neuron.card["v_threshold"] * factor)


@pytest.mark.parametrize(
    ("neuron", "complaint"),
    [
        ({"train": ["aera"]}, "unknown parameter 'aera'"),
        ({"train": ["domain_weight_1"]}, "a share of the film"),
        ({"train": ["activation_field", "activation_field_1"]}, "names activation_field_1 twice"),
        ({"train": {"area": [26e-12, 30e-12]}}, "area must lie between its bounds, of its sign, in m"),
        ({"train": {"area": [-1e-12, 30e-12]}}, "area must lie between its bounds"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(config, tmp_path, neuron, complaint):
    raw = config.model_dump()
    raw["neuron"] |= neuron
    with pytest.raises(InputError, match=complaint):
        train(parse_config(raw, "here"), tmp_path / "run")


def test_neurons_without_a_card_have_nothing_to_train(small_config, tmp_path):
    with pytest.raises(InputError, match="no neurons that are made from a card"):
        train(small_config.with_values(neuron__train=["area"], synapse__kind="float"), tmp_path / "run")
    assert RunConfig(neuron={"train": ["area"]}) == RunConfig(neuron={"train": {"area": None}})
