"""Networks on a measured cell: what a write and time do to a weight, scores against age, levels that do not hold."""

import json

import numpy as np
import pytest
import torch

from bruno_spice import RRAMLinear
from bruno_spice.calibration.rram.measured import fit_measured
from bruno_spice.calibration.rram.tables import read_cells
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.errors import EnvelopeError, InputError
from bruno_spice.devices.files import ROOT
from bruno_spice.devices.rram.measured import MeasuredCell
from bruno_spice.training.networks.config import parse_config
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.synapses import SYNAPSES
from bruno_spice.training.synapses.measured import MeasuredDevice
from bruno_spice.training.synapses.retention import overlaps, sentences, unknown
from bruno_spice.training.synapses.rram import Filament

CASES = ROOT / "tests" / "cases" / "measured"
DAY_S = 86400.0


@pytest.fixture(scope="module")
def tables():
    return {name: read_cells(CASES / f"rram_{name}.csv") for name in ("set", "relaxation")}


@pytest.fixture(scope="module")
def card(tables) -> MeasuredCard:
    """Written and verified, with relaxation."""
    return fit_measured([tables["relaxation"]]).card


def array(card, **options) -> RRAMLinear:
    torch.manual_seed(0)
    layer = RRAMLinear(60, 50, card, **options)
    torch.nn.init.normal_(layer.weight)
    return layer


def test_tensors_and_arrays_get_the_same_conductances(tables):
    cell = MeasuredCell(fit_measured(list(tables.values())).card)
    rng = np.random.default_rng(0)
    z, g_s, volt = rng.standard_normal(500), rng.uniform(0, 50e-6, 500), rng.uniform(1.9, 2.9, 500)
    for name, first, rest in (("verified_s", g_s, (z,)), ("set_once", volt, (z, z[::-1].copy()))):
        ours = getattr(cell, name)(first, *rest)
        theirs = getattr(cell, name)(*(torch.from_numpy(each) for each in (first, *rest)))
        assert np.allclose(ours, theirs.numpy(), rtol=1e-5)
    for time_s in (0.003, 1.0, 60.0, DAY_S, 30 * DAY_S):
        theirs = cell.relaxed_s(torch.from_numpy(g_s), time_s, torch.from_numpy(z))
        assert np.allclose(cell.relaxed_s(g_s, time_s, z), theirs.numpy(), rtol=1e-5, atol=1e-12)


def test_weights_blur_and_shrink_with_age(card):
    layer = array(card).eval()
    blurs, slopes = [], []
    for age_s in (0.0, 1.0, 3600.0, DAY_S):
        layer.age_s = age_s
        actual, latent = layer.effective_weight().detach(), layer.weight.detach()
        blurs.append(float((actual - latent).std()))
        slopes.append(float((actual * latent).sum() / latent.square().sum()))
    assert blurs == sorted(blurs)
    assert blurs[-1] > 1.5 * blurs[0]
    assert slopes[-1] < slopes[0] - 0.05


def test_each_training_pass_is_another_write_and_a_scored_chip_keeps_its_own(card):
    layer = array(card, age_s=3600.0)
    assert not torch.equal(layer.effective_weight(), layer.effective_weight())
    layer.eval()
    chip = layer.effective_weight()
    assert torch.equal(chip, layer.effective_weight())
    layer.redraw()
    assert not torch.equal(chip, layer.effective_weight())
    still = array(card, age_s=3600.0, spread=False)
    assert torch.equal(still.effective_weight(), still.effective_weight())


def test_in_training_ages_are_drawn_evenly_in_their_logarithm(card):
    layer = array(card, after=(1.0, 1e4))
    ages = np.log10([layer._age_s() for _ in range(2000)])
    assert 0.0 <= ages.min() < 0.1
    assert 3.9 < ages.max() <= 4.0
    assert ages.mean() == pytest.approx(2.0, abs=0.1)
    assert layer.eval()._age_s() == 0.0


def test_what_was_not_measured_cannot_be_asked_of_a_layer(tables, rram_card):
    only_set = fit_measured([tables["set"]]).card
    with pytest.raises(InputError, match=r"synapse\.after: nothing is known of how a measured RRAM changes"):
        RRAMLinear(2, 2, only_set, after=(1.0, 2.0))
    with pytest.raises(InputError, match=r"synapse\.after: nothing is known of how a RRAM changes"):
        RRAMLinear(2, 2, rram_card, after=(1.0, 2.0))
    with pytest.raises(InputError, match=r"synapse\.age_s: .* was not measured; leave it at 0"):
        RRAMLinear(2, 2, only_set, age_s=1.0)
    with pytest.raises(EnvelopeError, match="what verifying leaves was not measured"):
        MeasuredDevice(only_set, verify=True)


def test_ages_and_levels_beyond_what_the_card_knows_are_refused_by_their_key(card):
    for key, options in (("after", {"after": (1.0, 1e9)}), ("age_s", {"age_s": 1e9})):
        with pytest.raises(InputError, match=rf"synapse\.{key}: .* is more than 1000 times the 86\.4 ks"):
            RRAMLinear(2, 2, card, **options)
    wide = card.parameters | {"g_level_max": card.parameters["g_level_max"].model_copy(update={"value": 400e-6})}
    with pytest.raises(EnvelopeError, match=r"a level of .* is outside .*within which writes were verified"):
        RRAMLinear(2, 2, card.model_copy(update={"parameters": wide}))


def test_a_day_that_was_measured_is_not_beyond_it_by_a_digit(card):
    known = card.relaxation.model_copy(update={"time_s": [*card.relaxation.time_s[:-1], DAY_S - 1e-8]})
    found = overlaps(MeasuredDevice(card.model_copy(update={"relaxation": known})), 3)
    assert found[-1].time_s == DAY_S


def test_written_with_one_set_a_device_keeps_its_own_deviation(tables):
    layer = array(fit_measured([tables["set"]]).card)
    assert layer.model.setting_name == "v_word_line_v"
    writes = torch.stack([layer.effective_weight().detach() for _ in range(40)])
    assert float(writes.mean(0).sub(layer.weight.detach()).std()) > 3 * float(writes.std(0).mean()) / np.sqrt(40)


def test_levels_that_do_not_hold_are_named(card, rram_card):
    found = overlaps(MeasuredDevice(card), 3)
    assert [at.time_s for at in found] == [0.0, 1.0, 3600.0, DAY_S]
    assert found[-1].misread == pytest.approx(card.overlap[-1].misread, rel=0.1)
    first, *_, last = sentences(found)
    assert first == "right after writing: all levels hold; 0 % of devices are read as another level"
    assert last.startswith("1 d after writing: levels 0-7 of 0-7 do not hold; ")
    assert unknown(MeasuredDevice(card)) == ""
    assert [at.time_s for at in overlaps(Filament(rram_card), 3)] == [0.0]
    assert "how RRAM changes with time after a write was not measured" in unknown(Filament(rram_card))


def test_the_range_of_ages_is_checked_with_its_units():
    config = parse_config({"synapse": {"kind": "measured", "after": {"low": "1s", "high": "1d"}, "age_s": "1h"}}, "x")
    assert (config.synapse.after.low, config.synapse.after.high, config.synapse.age_s) == (1.0, DAY_S, 3600.0)
    assert parse_config({"synapse": {"after": ["1s", "1d"]}}, "x").synapse.after == config.synapse.after
    for after, said in (
        (["1s", "1h", "1d"], "synapse.after"),
        ({"low": "1d", "high": "1s"}, "low must not lie above high"),
        ({"low": "1s", "hihg": "1d"}, "did you mean 'high'"),
        ({"low": "0", "high": "1d"}, "greater than 0"),
        ({"low": "1 fortnight", "high": "1d"}, "is not a number"),
    ):
        with pytest.raises(InputError, match=said):
            parse_config({"synapse": {"after": after}}, "x")


WORDS = ("--task", "pulses", "--neuron", "lif", "--epochs", 1, "--set", "task_options={trials: 40, steps: 4}",
         "--set", "network={hidden: [5], unit_current_a: 1e-9}")  # fmt: skip


def test_a_measured_card_goes_wherever_the_filaments_does(card, bruno, tmp_path, one_thread):
    path, run = card.save(tmp_path / "mine.json"), tmp_path / "run"
    after = ("--set", "synapse.after={low: 1s, high: 1d}")
    code, _, err = bruno("train", *WORDS, "--rram-card", path, *after, "--out", run)
    assert code == 0, err
    assert "beyond" not in err
    year = ("--set", "synapse.after={low: 1s, high: 1y}")
    code, out, err = bruno("train", *WORDS, "--rram-card", path, *year, "--out", tmp_path / "year")
    assert "synapse ages of up to 1 y are beyond the 1 d that were measured" in " ".join((out + err).split())
    assert RunFolder(run).load_config().synapse.kind == "measured"
    code, out, err = bruno("evaluate", run, "--after", "1y,0,1s,1d", "--chips", 2, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [row["age_s"] for row in found["ages"]] == [0.0, 1.0, DAY_S, 365.25 * DAY_S]
    assert [row["extrapolated"] for row in found["ages"]] == [False, False, False, True]
    assert "1 y: beyond the 1 d that were measured" in found["said"]
    row = found["ages"][1]
    assert row["min"]["accuracy"] <= row["mean"]["accuracy"] <= row["max"]["accuracy"]
    assert found["ages"][0]["own"] == json.loads((run / "result.json").read_text())["test"]
    assert (run / "figures" / "retention.png").is_file()
    out = bruno("program", run)[1]
    assert "1 d after writing: levels 0-7 of 0-7 do not hold" in out
    assert bruno("report", run)[0] == 0
    page = (run / "report.html").read_text()
    for text in ("Test score against the time since writing", "devices read as another level",
                 "Read noise was not measured", "beyond the 1 d that were measured"):  # fmt: skip
        assert text in page


def test_a_filaments_run_says_once_that_nothing_is_known_of_time(bruno, tmp_path, one_thread):
    run = tmp_path / "run"
    assert bruno("train", *WORDS, "--out", run)[0] == 0
    code, out, err = bruno("evaluate", run, "--after", "0,1s,1d")
    assert code == 0, err
    assert (out + err).count("was not measured") == 1
    assert "1 d" not in out
    assert bruno("report", run)[0] == 0
    assert "how the cell changes with time after a write was not measured" in (run / "report.html").read_text().replace(
        "How the cell", "how the cell"
    )
    floats = tmp_path / "floats"
    assert bruno("train", *WORDS, "--bits", 32, "--out", floats)[0] == 0
    code, _, err = bruno("evaluate", floats, "--after", "0,1s")
    assert (code, "no devices that could change with time" in err) == (2, True)
    assert bruno("evaluate", run, "--after", "0,soon")[0] == 2


def test_the_registry_has_it_and_its_card():
    assert SYNAPSES["measured"].card is MeasuredCard
