"""From a moved netlist to a retrained, validated network in one command that goes on where it was stopped."""

import pytest
import torch

from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.training.codesign.page import moved, write_redesign_page
from bruno_spice.training.codesign.redesign import QUICK, factors_asked, on_card, proposed_settings, redesign
from bruno_spice.training.codesign.response import Trained
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.progress import Silent
from bruno_spice.training.runs.evaluation import score_part
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:the current runs from"),
    pytest.mark.filterwarnings("always::bruno_spice.devices.errors.ProposedCard"),
]
EDITED = {"vth": 1.5}
"""As in tests/calibration/test_calibrate.py, whose simulations the store has."""


class Collects(Silent):
    def __init__(self, lines):
        self.lines = lines

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory, one_domain):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("redesign")
    config = RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 10},
        "network": {"hidden": [5], "neuron": "felif", "weight_std": 1.5, "bias_std": 0.1},
        "neuron": {"card": str(one_domain.save(folder / "one.json")), "train": ["area", "saturation_polarization"],
                   "options": {"reset": "event", "current_limits": "envelope"}},
        "training": {"epochs": 1, "batch_size": 8},
    })  # fmt: skip
    train(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def done(run, store):
    """What a redesign found, where, and what it said: the first time, and done again."""
    out, said = run.parent / "new", ([], [])
    results = [
        redesign(run, EDITED, out, QUICK, Farm(store=store), lambda lines=lines: Collects(lines)) for lines in said
    ]
    return results, out, said


def test_the_card_is_that_of_the_moved_netlist_and_the_network_is_trained_on_it(done, one_domain):
    (found, _), out, _ = done
    card = FeLIFCard.load(out / "cards" / "felif.json")
    assert card["v_threshold"] == pytest.approx(1.5, abs=0.01)
    assert card.provenance.overrides == EDITED
    assert not card.proposed
    result = RunFolder(out / "run").read_result()
    assert found["scores"]["retrained"]["test"] == result["test"]
    assert RunFolder(out / "run").load_config().neuron.train == {}
    assert result["cards"]["felif"] != RunFolder(out.parent / "run").read_result()["cards"]["felif"]
    assert found["validation"]["spikes_spice"] > 0


def test_the_weights_as_they_are_see_the_card_as_asked_and_as_found(done, run, one_domain):
    (found, _), _, _ = done
    names = list(found["scores"])
    assert names == ["as trained", "same weights, card moved as asked", "same weights, recalibrated card", "retrained"]
    assert found["scores"]["as trained"]["test"] == RunFolder(run).read_result()["test"]
    rows = {row["name"]: row for row in moved(found)}
    assert rows["v_threshold"]["asked_share"] == pytest.approx(-0.4)
    assert rows["v_threshold"]["recalibrated_share"] == pytest.approx(-0.4, abs=0.01)
    assert "area" not in rows
    trained = Trained(run, None, False, Silent())
    same = on_card(trained, one_domain)
    with trained.moved({}, from_card=True):
        expected = score_part(trained.network, trained.task, "test", 0)[0]
    assert score_part(same, trained.task, "test", 0)[0] == expected


def test_done_again_it_simulates_fits_and_trains_nothing(done):
    (first, again), _, (_, said) = done
    assert first == again
    assert any("is of this netlist already" in line for line in said)
    assert any("holds this run already" in line for line in said)
    assert any("is of these weights already" in line for line in said)


def test_the_page_shows_before_and_after(done, tmp_path):
    (found, _), _, _ = done
    text = write_redesign_page(tmp_path, found).read_text()
    for shown in ("recalibrated", "vth", "v_threshold", "-40.00 %", "retrained", "found within 1 ms"):
        assert shown in text
    assert text.count("data:image/png;base64") == 2
    less = found | {"scores": {k: v for k, v in found["scores"].items() if k != "retrained"}, "validation": None}
    assert "found within 1 ms" not in write_redesign_page(tmp_path, less).read_text()


def test_a_run_proposes_what_its_netlist_has_numbers_for(run, one_domain):
    proposal = proposed_settings(RunFolder(run), one_domain)
    assert set(proposal) == {"area", "ps"}
    factors = factors_asked(one_domain, proposal)
    devices = RunFolder(run).read_result()["devices"]
    for name, param in (("area", "area"), ("saturation_polarization", "ps")):
        assert factors[name] == pytest.approx(devices[name]["trained"] / devices[name]["card"], rel=1e-5), param
    assert factors_asked(one_domain, {"sigma_a": 0.1}) is None
    path = RunFolder(run).proposed_file("felif")
    FeLIFCard.load(path).with_values(alpha=3.0).save(path)
    with pytest.raises(InputError, match=r"has no number for alpha; say with --set"):
        proposed_settings(RunFolder(run), one_domain)


def test_without_a_proposal_or_a_setting_there_is_nothing_to_do(bruno, run, tmp_path):
    RunFolder(run).proposed_file("felif").unlink()
    code, _, err = bruno("redesign", run, "--out", tmp_path / "new")
    assert code == 2
    assert "proposes no card (neuron.train is empty); say with --set NAME=VALUE" in err
    code, _, err = bruno("redesign", run, "--out", tmp_path / "new", "--set", "vht=2")
    assert code == 2
    assert "vht" in err
