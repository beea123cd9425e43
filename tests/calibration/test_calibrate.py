"""The neuron and the RRAM cell, from the committed netlists to cards, with real ngspice."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from browser import (
    assert_readable,
    broken_images,
    console_errors,
    drag,
    empty_plots,
    open_page,
    plots,
    screenshot,
    time_range,
)

import bruno_spice.calibration.spice.farm
from bruno_spice.calibration.cards.known_digits import rounded
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
from bruno_spice.calibration.circuits.recording import measure_spikes
from bruno_spice.calibration.circuits.stimuli import network_like
from bruno_spice.calibration.fitting.least_squares import Fit
from bruno_spice.calibration.neuron.calibrate import (
    Trial,
    calibrate_neuron,
    choose,
    fit_recordings,
    known_parameters,
    start_parameters,
)
from bruno_spice.calibration.neuron.coverage import coverage
from bruno_spice.calibration.neuron.fit import fit_in_stages
from bruno_spice.calibration.neuron.validation import compare, network_score, validate_neuron
from bruno_spice.calibration.rram.calibrate import calibrate_rram
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.calibration.targets.calibrate import save_card
from bruno_spice.calibration.targets.report import write_report
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform


@pytest.fixture
def edited_deck():
    """The project's neuron, its parallel capacitance written into the instance instead of a parameter."""
    text = NEURON_NETLIST.read_text().replace(".param cpar=", "* cpar=").replace("cpar={cpar}", "cpar=15f")
    return Netlist.from_text(text, NEURON_NETLIST)


@pytest.fixture(scope="module")
def neuron(farm):
    return calibrate_neuron(farm=farm, network_traces=3)


def by_stimulus(comparisons, name):
    return next(c for c in comparisons if c.stimulus == name)


def test_the_netlist_spikes_every_40_to_50_ms_at_308_pA(neuron):
    intervals = np.diff(neuron.reference().spice.spike_times_s)
    assert intervals.size >= 1
    assert np.all((intervals > 40e-3) & (intervals < 50e-3))


@pytest.mark.parametrize("stimulus", ["120 pA DC", "800 pA DC"])
def test_held_out_currents_meet_the_figures_of_merit(neuron, stimulus):
    result = by_stimulus(neuron.held_out_comparisons, stimulus)
    assert abs(result.first_spike_error) < 0.02
    assert result.voltage_rms_v < 0.040
    assert result.polarization_rms < 0.010
    assert result.spikes_model == result.spikes_spice >= 2


def test_the_fit_spans_what_training_uses(neuron):
    span = neuron.card.envelope["i_syn"]
    assert span.min <= -5e-9
    assert span.max >= 30e-9 * 0.999
    assert min(r.stimulus.i_syn_a[-1] for r in neuron.fitted) < 100e-12


HELD_OUT = [
    "120 pA DC",
    "800 pA DC",
    "5 nA DC",
    "20 nA DC",
    "pulse train",
    "bursts with gaps",
    "noise, seed 1",
    "noise, seed 2",
]


@pytest.mark.parametrize("stimulus", HELD_OUT)
def test_held_out_stimuli_of_every_kind_keep_their_spikes_and_intervals(neuron, stimulus):
    result = by_stimulus(neuron.held_out_comparisons, stimulus)
    assert result.spikes_model == result.spikes_spice >= 2
    assert result.interval_error_median < 0.01
    assert result.interval_error_worst < 0.03
    assert result.polarization_rms_all < 0.02


@pytest.mark.parametrize("stimulus", HELD_OUT)
def test_four_domains_follow_the_voltage_on_stimuli_of_every_kind(neuron, stimulus):
    """The rest in the fit is what tells how the film relaxes in the gaps of bursts: 17 mV there without it."""
    assert neuron.card.domains == 4
    limit = 0.015 if stimulus == "bursts with gaps" else 0.017
    assert by_stimulus(neuron.held_out_comparisons, stimulus).voltage_rms_all_v < limit


def test_network_like_input_keeps_its_spikes_and_its_rate(neuron, felif_card):
    score = network_score(neuron.held_out_comparisons)
    assert score.spikes > 80
    assert score.matched_fraction >= 0.97
    assert abs(score.rate_error) < 0.02
    committed = felif_card.validation["network_like"]
    assert committed["traces"] >= 20
    assert committed["matched_fraction"] >= 0.97
    assert abs(committed["rate_error"]) < 0.02


def trial(domains, rms, doubt=""):
    return Trial(domains, Fit((), {}, {}, {}, np.zeros((0, 0)), np.zeros(0), 1, doubt=doubt), None, 1e-4, rms)


def test_the_fewest_domains_among_the_nearly_best_are_chosen_and_the_reason_is_said():
    chosen, why = choose([trial(1, 0.07), trial(2, 0.009, "singular"), trial(4, 0.0105), trial(6, 0.0100)])
    assert chosen.domains == 4
    assert "10.5 mV" in why
    assert "10.0 mV" in why


def test_a_number_of_domains_that_cannot_be_believed_enters_the_card_with_the_reason():
    assert trial(2, 0.009, "singular").as_dict() == {"domains": 2, "voltage_rms_v": 0.009, "note": "singular"}
    chosen, why = choose([trial(1, 0.07, "loose"), trial(2, 0.009, "singular")])
    assert chosen.fit.doubt == "loose"
    assert "none is believed" in why


EDITED = {"vth": 1.5}


@pytest.mark.parametrize("edit", [{"tdl": 0.5e-9}, EDITED])
def test_an_everyday_edit_of_the_circuit_is_fitted_and_believed(farm, edit):
    """A dead layer lets the film switch from 0 V on; below the plateau's end no leak through the film shows."""
    recordings = fit_recordings(NEURON_NETLIST, edit, farm)
    known = known_parameters(neuron_deck(NEURON_NETLIST).with_params(edit))
    start = start_parameters(measure_spikes(recordings), {name: p.value for name, p in known.items()})
    result, parameters, _ = fit_in_stages(recordings, start, 4)
    assert not result.doubt
    for comparison in validate_neuron(recordings, parameters):
        assert abs(comparison.first_spike_error) < 0.01
        assert comparison.voltage_rms_v < 0.06


def test_more_domains_are_all_determined_and_come_ever_closer_to_the_polycrystalline_film(neuron):
    """Each is fitted to the same transients; on them the rms falls with the number of domains."""
    start = start_parameters(
        measure_spikes(neuron.fitted), {n: neuron.card[n] for n in ("area", "thickness_hzo", "c_parallel")}
    )
    rms = []
    for domains in (1, 2, 5):
        result, parameters, _ = fit_in_stages(neuron.fitted, start, domains)
        assert not result.doubt, result.doubt
        assert max(result.stderr[f.name] / result.values[f.name] for f in result.free) < 0.1
        rms.append(np.mean([c.voltage_rms_v for c in validate_neuron(neuron.fitted, parameters)]))
    assert all(more < fewer for fewer, more in pairwise(rms))
    assert sum(parameters.domain_weight) == pytest.approx(1.0)
    for stimulus in HELD_OUT:
        result = by_stimulus(validate_neuron(neuron.held_out, parameters), stimulus)
        assert result.spikes_model == result.spikes_spice
        assert result.voltage_rms_all_v < 0.025
        assert result.polarization_rms_all < 0.01


def test_one_standard_error_of_the_neuron_s_fit_covers_a_known_truth_under_misfit(neuron):
    """A few of the synthetic fits of `bruno confidence --synthetic 100`."""
    found = coverage(neuron.fitted, FeLIFParameters.from_card(neuron.card), 5)
    assert found.doubted == 0
    clustered, _ = found.mean()
    assert 0.5 < clustered < 0.85
    assert min(found.curvature.values()) < 0.5


def test_a_fit_that_is_not_believed_is_written_with_its_reason_and_the_command_fails(
    neuron, bruno, monkeypatch, tmp_path
):
    doubted = neuron.card.model_copy(update={"fit": neuron.card.fit | {"believed": False, "doubt": "it is loose"}})
    doubtful = replace(TARGETS["neuron"], calibrate=lambda **_: replace(neuron, card=doubted))
    monkeypatch.setitem(TARGETS, "neuron", doubtful)
    code, text, err = bruno("calibrate", "neuron", "--out", tmp_path)
    assert code == 1
    assert "NOT TO BE BELIEVED" in text
    assert "it is loose" in err
    assert "felif.json holds the best values found" in " ".join(err.split())
    assert "its fit is not to be believed: it is loose" in bruno("card", "check", tmp_path / "felif.json")[1]
    assert "NOT TO BE BELIEVED: it is loose" in bruno("card", "show", tmp_path / "felif.json")[1]
    code, _, err = bruno("confidence", "alpha", "--card", tmp_path / "felif.json")
    assert code == 2
    assert "it is loose" in err


def test_inhibition_stops_at_the_compliance_floor_in_both(neuron):
    low = min(float(r.spice["v_mem_v"].min()) for r in neuron.held_out)
    model = simulate(neuron.card, *network_like(1))
    assert -0.02 < low < 0.0
    assert -0.02 < model["v_mem_v"].min() <= 0.0


def test_fitted_values_agree_with_what_the_netlist_says(neuron):
    card = neuron.card
    assert card["leak_discharge"] == pytest.approx(10e-12, rel=0.05)
    assert card["saturation_polarization"] == pytest.approx(0.22, rel=0.02)
    assert card["eps_hzo"] == pytest.approx(40, rel=0.05)
    assert card["v_threshold"] == pytest.approx(2.5, abs=0.01)
    assert card["t_refractory"] == pytest.approx(300e-6, rel=0.05)


def test_every_fitted_parameter_has_a_standard_error(neuron, rram):
    for card in (neuron.card, rram.card):
        fitted = [name for name, p in card.parameters.items() if p.vary]
        assert set(fitted) == set(card.covariance.names)
        assert all(card.parameters[name].stderr > 0 for name in fitted)


def test_the_filament_model_is_within_two_per_cent(rram):
    assert rram.card.fit["relative_rms"] < 0.01
    assert rram.card.validation["relative_rms"] < 0.01
    assert rram.card.validation["relative_worst"] < 0.02


OTHER_BUILD, OTHER_SIMULATOR = 1e-3, 1e-2
"""Another build takes other steps within its reltol of 1e-4, and another simulator other ones still, to which a loosely
known parameter answers more than in proportion: between ngspice and VACASK by 6e-3 where the standard error is 2.5e-2.
The same build gives the committed values to the last digit, and so zeros are compared exactly."""


@pytest.mark.parametrize(("what", "kind"), [("neuron", FeLIFCard), ("rram", RRAMCard)])
def test_the_committed_cards_are_what_calibration_gives(what, kind, neuron, rram, request):
    made = {"neuron": neuron, "rram": rram}[what].card
    committed = request.getfixturevalue({"neuron": "felif_card", "rram": "rram_card"}[what])
    assert isinstance(committed, kind)
    assert committed.provenance.sha256 == made.provenance.sha256, "a netlist changed: run make calibrate and commit"
    same = committed.provenance.simulator.split()[0] == made.provenance.simulator.split()[0]
    for name, parameter in committed.parameters.items():
        rel = OTHER_BUILD if same else OTHER_SIMULATOR
        assert made[name] == pytest.approx(parameter.value, rel=rel, abs=0.0), name


def test_an_unchanged_card_is_not_written_again_and_a_changed_one_is(neuron, tmp_path):
    path = tmp_path / "felif.json"
    assert save_card(neuron.card, path)
    old = json.loads(path.read_text())
    old["provenance"]["date"] = "2001-01-01"
    path.write_text(json.dumps(old))
    assert not save_card(neuron.card, path)
    assert json.loads(path.read_text())["provenance"]["date"] == "2001-01-01"
    assert save_card(neuron.card.with_values(alpha=1.0), path)


def test_a_second_calibration_simulates_nothing_and_an_edited_param_only_what_depends_on_it(
    neuron, rram, farm, monkeypatch
):
    simulated = []
    original = bruno_spice.calibration.spice.farm.run_with_retry
    monkeypatch.setattr(
        bruno_spice.calibration.spice.farm,
        "run_with_retry",
        lambda worker, job: simulated.append(job.label) or original(worker, job),
    )
    assert calibrate_neuron(farm=farm, network_traces=3).card.parameters == neuron.card.parameters
    assert calibrate_rram(farm=farm, devices=8).card.parameters == rram.card.parameters
    assert simulated == []
    edited = calibrate_neuron(overrides=EDITED, farm=farm, domains=(1,), network_traces=0)
    assert simulated
    assert all(label.startswith("neuron.cir") for label in simulated)
    assert edited.card["v_threshold"] == pytest.approx(EDITED["vth"], abs=0.01)
    assert edited.card.provenance.overrides == EDITED
    assert edited.card.provenance.sha256 != neuron.card.provenance.sha256


def test_what_no_transient_tells_comes_from_the_netlist_as_it_was_simulated(edited_deck):
    known = known_parameters(edited_deck.with_params({"area": 50e-12, "ut": 20e-3}))
    assert {name: p.value for name, p in known.items()} == {
        "area": 50e-12, "thickness_hzo": 10e-9, "c_parallel": 15e-15, "v_compliance": 20e-3,
    }  # fmt: skip
    assert known["area"].source == known["v_compliance"].source == "netlist"
    assert known["c_parallel"].source == "assumed: Fehlings et al., arXiv 2505.17791"


CALIBRATE = """
import sys
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.targets.calibrate import save_card
from bruno_spice.calibration.neuron.calibrate import calibrate_neuron
save_card(calibrate_neuron(farm=Farm(simulator=sys.argv[2]), network_traces=3).card, sys.argv[1])
"""


def test_two_calibrations_at_once_in_one_folder_leave_one_good_card(neuron, farm, tmp_path):
    command = [sys.executable, "-c", CALIBRATE, str(tmp_path / "felif.json"), farm.simulator]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["felif.json"]
    made = FeLIFCard.load(tmp_path / "felif.json")
    assert made.parameters == rounded(neuron.card).parameters
    assert made.validation == rounded(neuron.card).validation


def test_comparison_counts_what_it_should():
    card = FeLIFCard.published()
    wave = simulate(card, Stimulus.dc(10e-9), 20e-3)
    same = compare(wave, wave)
    assert same.voltage_rms_v == same.polarization_rms == 0.0
    assert same.matched_fraction == 1.0
    slower = simulate(card.with_values(v_threshold=2.6), Stimulus.dc(10e-9), 20e-3)
    other = compare(wave, slower)
    assert other.first_spike_error > 0
    assert other.interval_error_median > 0


def test_missing_and_additional_spikes_count_alike_and_a_rate_is_held_against_spices():
    def wave(*spikes_s):
        time_s = np.linspace(0.0, 20e-3, 200)
        return Waveform(time_s, {"v_mem_v": np.ones(200), "polarization": np.ones(200)}, np.array(spikes_s))

    two, four = wave(5e-3, 10e-3), wave(2e-3, 5e-3, 7e-3, 10e-3)
    assert compare(two, four).matched_fraction == compare(four, two).matched_fraction == 0.5
    for spice, model, rate in ((two, four, 1.0), (four, two, -0.5), (wave(), two, None)):
        score = network_score([compare(spice, model, "network-like")])
        assert (score.matched_fraction, score.rate_error) == (0.0 if rate is None else 0.5, rate)


def test_the_default_netlist_is_the_one_that_runs_by_hand():
    assert "308p" in NEURON_NETLIST.read_text()


def test_the_report_reads_well_and_zooms_in_a_browser(neuron, rram, browser, tmp_path):
    page = write_report(tmp_path, {"neuron": neuron, "rram": rram})
    assert "http" not in re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)
    for width in (1280, 400):
        open_page(browser, page, width)
        shown = plots(browser)
        assert len(shown) >= 10
        assert empty_plots(browser) == []
        assert broken_images(browser) == []
        assert_readable(browser, width)
        before = time_range(browser, shown[0])
        drag(browser, shown[0])
        after = time_range(browser, shown[0])
        assert before[0] < after[0] < after[1] < before[1]
        assert after[1] - after[0] < 0.6 * (before[1] - before[0])
    assert console_errors(browser) == []
    screenshot(browser, tmp_path / "calibration.png")
