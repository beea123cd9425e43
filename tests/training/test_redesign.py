"""From a moved netlist to a retrained, validated network in one command that goes on where it was stopped."""

import pytest
import torch

from bruno_spice.calibration.cards.export import export_card
from bruno_spice.calibration.cards.provenance import provenance
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.parts import Range
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
    pytest.mark.filterwarnings("ignore::bruno_spice.devices.errors.ProposedCard"),
]
EDITED = {"area": 20e-12}


class Collects(Silent):
    def __init__(self, lines):
        self.lines = lines

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def netlist(tmp_path_factory, one_domain):
    """A netlist of one's own that is quick to simulate and to fit."""
    return export_card(one_domain, tmp_path_factory.mktemp("export"), "mine")[0]


@pytest.fixture(scope="module")
def card(one_domain, netlist):
    """The card that it would be calibrated to."""
    return one_domain.model_copy(update={"provenance": provenance(neuron_deck(netlist), {}, "")})


@pytest.fixture(scope="module")
def run(tmp_path_factory, card):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("redesign")
    config = RunConfig.model_validate({
        "task": "pulses",
        "task_options": {"trials": 60, "steps": 10},
        "network": {"hidden": [5], "neuron": "felif", "weight_std": 1.5, "bias_std": 0.1},
        "neuron": {"card": str(card.save(folder / "one.json")), "train": ["area", "saturation_polarization"],
                   "options": {"reset": "event", "current_limits": "envelope"}},
        "training": {"epochs": 1, "batch_size": 8},
    })  # fmt: skip
    train(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def done(run, store, netlist):
    """What a redesign found, where, and what it said: the first time, and done again."""
    out, said = run.parent / "new", ([], [])
    makers = [lambda lines=lines: Collects(lines) for lines in said]
    results = [redesign(run, EDITED, out, QUICK, Farm(store=store), maker, False, netlist) for maker in makers]
    return results, out, said


def test_the_card_is_that_of_the_moved_netlist_and_the_network_is_trained_on_it(done, one_domain):
    (found, _), out, _ = done
    new = FeLIFCard.load(out / "cards" / "felif.json")
    assert new["area"] == EDITED["area"]
    assert new["saturation_polarization"] == pytest.approx(one_domain["saturation_polarization"], rel=0.02)
    assert new.provenance.overrides == EDITED
    assert not new.proposed
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
    assert rows["area"]["asked_share"] == pytest.approx(-0.2)
    assert rows["area"]["recalibrated_share"] == pytest.approx(-0.2)
    assert rows["activation_field_1"]["asked_share"] == 0.0
    trained = Trained(run, None, False, Silent())
    higher = one_domain.with_values(v_threshold=1.1 * one_domain["v_threshold"])
    narrow = {"i_syn": Range(min=-1e-10, max=1e-9, unit="A")}
    same = on_card(trained, higher.model_copy(update={"envelope": narrow}))
    with trained.moved({"v_threshold": 1.1}, from_card=True):
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
    for shown in ("recalibrated", "mine.lib", "activation_field_1", "-20.00 %", "retrained", "found within 1 ms"):
        assert shown in text
    assert text.count("data:image/png;base64") == 2
    less = found | {"scores": {k: v for k, v in found["scores"].items() if k != "retrained"}, "validation": None}
    assert "found within 1 ms" not in write_redesign_page(tmp_path, less).read_text()


def test_a_run_proposes_what_its_netlist_has_numbers_for(run, one_domain):
    """On the project's own netlist: `one_domain` is a card of that, with the numbers that the run began with."""
    proposal = proposed_settings(RunFolder(run), one_domain, NEURON_NETLIST)
    assert set(proposal) == {"area", "ps"}
    factors = factors_asked(one_domain, NEURON_NETLIST, proposal)
    devices = RunFolder(run).read_result()["devices"]
    for name in ("area", "saturation_polarization"):
        assert factors[name] == pytest.approx(devices[name]["trained"] / devices[name]["card"], rel=1e-5)
    assert factors_asked(one_domain, NEURON_NETLIST, {"sigma_a": 0.1}) is None


def test_what_the_netlist_has_no_number_for_is_not_passed_over(bruno, run, netlist, tmp_path):
    code, _, err = bruno("redesign", run, "--out", tmp_path / "new")
    assert code == 2
    assert "the run's card was calibrated on 'mine.lib', which is not here; give --netlist FILE" in err
    code, _, err = bruno("redesign", run, "--out", tmp_path / "new", "--netlist", netlist)
    assert code == 2
    assert "mine.lib has no number for saturation_polarization; say with --set NAME=VALUE" in err


def test_without_a_proposal_or_a_setting_there_is_nothing_to_do(bruno, run, netlist, tmp_path):
    RunFolder(run).proposed_file("felif").unlink()
    code, _, err = bruno("redesign", run, "--out", tmp_path / "new", "--netlist", netlist)
    assert code == 2
    assert "proposes no card (neuron.train is empty); say with --set NAME=VALUE" in err
    code, _, err = bruno("redesign", run, "--out", tmp_path / "new", "--netlist", netlist, "--set", "vht=2")
    assert code == 2
    assert "vht" in err
