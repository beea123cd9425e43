"""Where spike trains part, what the silent side lacked there, and the verdict that follows."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform
from bruno_spice.training.dynamics.surrogates import Surrogate
from bruno_spice.training.roundtrip.compare import Trial, match_trial, missing_charge, partings, score_trial
from bruno_spice.training.roundtrip.figures import voltage_figure
from bruno_spice.training.roundtrip.recorded import Shown
from bruno_spice.training.roundtrip.verdict import KnownError, RmsErrors, judge


def trial_of(counts, model_s, spice_s, spice_v=2.0, torch_state=(2.0, 1.0)):
    """A trial with constant voltages and the given spikes."""
    counts = np.array(counts, dtype=float)
    time_s = np.linspace(0, counts.size * 1e-3, 200)

    def wave(v, spikes_s):
        signals = {"v_mem_v": np.full(200, v), "polarization": np.ones(200), "i_syn_a": np.full(200, 1e-9)}
        return Waveform(time_s, signals, np.array(spikes_s, dtype=float))

    shown = Shown(counts, *(np.full(counts.size, x) for x in torch_state))
    return Trial(0, Stimulus.dc(1e-9), shown, wave(2.0, model_s), wave(spice_v, spice_s))


def test_a_spike_is_found_within_a_millisecond_of_torchs_and_not_beyond():
    assert len(match_trial(trial_of([0, 1, 0], [1.9e-3], [2.8e-3])).pairs) == 1
    assert len(match_trial(trial_of([0, 1, 0], [1.1e-3], [2.2e-3])).pairs) == 0


def test_a_spike_at_the_edge_of_a_millisecond_may_count_on_either_side(felif_card):
    parameters = FeLIFParameters.from_card(felif_card)
    model_s, spice_s = [1.25e-3, 2.003e-3, 2.89e-3], [1.247e-3, 1.997e-3, 2.884e-3]
    for counts in ([0, 2, 1], [0, 1, 2]):
        trial = trial_of(counts, model_s, spice_s)
        matching = match_trial(trial)
        assert len(matching.pairs) == 3
        assert matching.torch_s == pytest.approx(model_s)
        assert partings(trial, matching, parameters) == []
    assert len(match_trial(trial_of([0, 3, 0], model_s, spice_s)).pairs) == 2


@pytest.mark.parametrize("spice_s", [[1.9e-3], []])
def test_every_panel_of_the_voltage_figure_has_room(spice_s):
    figure = voltage_figure(trial_of([0, 1, 0], [1.9e-3], spice_s), "title")
    figure.draw_without_rendering()
    heights = [axes.get_position().height for axes in figure.axes]
    assert min(heights) > 0.1
    assert heights[1] == max(heights)
    plt.close(figure)


def test_a_spike_that_the_kernel_made_up_counts_only_in_its_own_millisecond():
    assert len(match_trial(trial_of([0, 1, 0], [], [1.99e-3])).pairs) == 1
    assert len(match_trial(trial_of([0, 1, 0], [], [2.01e-3])).pairs) == 0
    assert len(match_trial(trial_of([0, 2, 0], [], [1.99e-3])).pairs) == 1, "one spike of SPICE is found once"


def test_trains_part_once_until_their_next_common_spike(felif_card):
    parameters = FeLIFParameters.from_card(felif_card)
    counts, model_s = [1, 0, 0, 1, 0, 0, 1, 1], [0.5e-3, 3.5e-3, 6.5e-3, 7.5e-3]
    trial = trial_of(counts, model_s, [0.5e-3, 2.1e-3, 5.1e-3, 6.5e-3, 7.5e-3])
    (parting,) = partings(trial, match_trial(trial), parameters)
    assert (parting.time_s, parting.spiked, parting.cause) == (2.1e-3, "spice", "card")
    assert parting.missing_charge == pytest.approx(float(missing_charge(np.array(2.0), np.array(1.0), parameters)))
    score = score_trial(trial, parameters)
    assert (score.torch, score.spice, score.matched, score.kernel_matched) == (4, 5, 3, 4)


@pytest.mark.parametrize(("spice_v", "times"), [(2.0, 2), (-3.0, 1)])
def test_a_common_spike_ends_a_parting_only_if_both_are_alike_after_it(felif_card, spice_v, times):
    parameters = FeLIFParameters.from_card(felif_card)
    trial = trial_of([0, 0, 0, 1, 0, 0, 0], [3.5e-3], [1.5e-3, 3.5e-3, 5.5e-3], spice_v)
    assert len(partings(trial, match_trial(trial), parameters)) == times


def test_a_spike_that_only_the_kernel_lacks_is_the_kernels_doing(felif_card):
    parameters = FeLIFParameters.from_card(felif_card)
    trial = trial_of([0, 0, 0], [1.5e-3], [1.5e-3])
    (parting,) = partings(trial, match_trial(trial), parameters)
    assert (parting.spiked, parting.cause, parting.silent) == ("spice", "kernel", "torch")


def test_a_spike_that_only_the_cards_equations_lack_is_judged_by_its_charge_and_not_by_what_follows(felif_card):
    """Torch and SPICE spike, the model 1.7 ms later: between the two the film is written in one of them alone."""
    parameters, known = FeLIFParameters.from_card(felif_card), KnownError.of(felif_card)
    trial = trial_of([0, 1, 0, 0, 0], [3.2e-3], [1.5e-3])
    written = (trial.spice.time_s > 1.5e-3) & (trial.spice.time_s < 3.2e-3)
    trial.spice.signals["polarization"][written] = -1.0
    for model_v, verdict in ((parameters.v_threshold - 0.01, "ok"), (-3.0, "flagged")):
        trial.model.signals["v_mem_v"][:] = trial.spice.signals["v_mem_v"][:] = model_v
        score = score_trial(trial, parameters)
        assert (score.matched, score.partings) == (1, [])
        assert score.polarization_squares == score.voltage_squares == 0.0 < score.samples
        (parting,) = score.card_partings
        assert (parting.time_s, parting.spiked, parting.silent) == (1.5e-3, "spice", "model")
        small = RmsErrors(0.01, 0.001, 0.01)
        told = judge([], small, np.array([0.0, 8e-9]), known, [], score.card_partings)
        assert told[0] == verdict
        assert ("where the model lacks" in told[1]) == (verdict == "flagged")


def test_a_kernel_that_stays_at_reset_is_flagged_and_one_just_short_of_the_spike_explained(felif_card):
    parameters, known = FeLIFParameters.from_card(felif_card), KnownError.of(felif_card)
    for state, charge, verdict in (
        ((0.0, -1.0), pytest.approx(1.0), "flagged"),
        ((parameters.v_threshold - 0.02, 1.0), pytest.approx(0.0, abs=known.charge), "explained"),
    ):
        trial = trial_of([0, 0, 0], [1.5e-3], [1.5e-3], torch_state=state)
        found = partings(trial, match_trial(trial), parameters)
        assert [parting.missing_charge for parting in found] == [charge]
        told = judge(found, RmsErrors(0.01, 0.001, 0.01), np.array([0.0, 8e-9]), known, [])
        assert told[0] == verdict
        assert ("the training kernel lacks 100.0%" in told[1]) == (verdict == "flagged")


def test_torch_came_nearest_at_an_end_of_the_millisecond_of_the_spike(felif_card):
    parameters = FeLIFParameters.from_card(felif_card)
    at_end = [1.0, 2.0, 0.0, 2.4]
    for spike_s, nearest_v in ((0.5e-3, 1.0), (1.5e-3, 2.0), (2.5e-3, 2.0), (3.5e-3, 2.4)):
        trial = trial_of([0, 0, 0, 0], [spike_s], [spike_s], torch_state=(at_end, 1.0))
        (parting,) = partings(trial, match_trial(trial), parameters)
        assert parting.missing_charge == pytest.approx(float(missing_charge(nearest_v, 1.0, parameters)))


def test_the_missing_charge_falls_from_one_to_nothing(felif_card):
    for v_reset, p_reset in ((0.0, -1.0), (0.4, -0.7)):
        x = FeLIFParameters.from_card(felif_card.with_values(v_reset=v_reset, polarization_reset=p_reset))
        v, p = np.array([v_reset, x.v_threshold]), np.array([p_reset, 1.0])
        assert missing_charge(v, p, x) == pytest.approx([1.0, 0.0])
        constants = torch.from_numpy(x.constants())[:, None]
        learned = Surrogate(on="charge").distance(torch.tensor(1.1), torch.full((x.domains,), 0.2), constants)
        assert missing_charge(1.1, 0.2, x) == pytest.approx(-float(learned)), "the same as training's surrogate"


def test_a_verdict_follows_from_the_cards_known_error(felif_card):
    parameters, known = FeLIFParameters.from_card(felif_card), KnownError.of(felif_card)
    assert 0 < known.charge < 0.05
    trial = trial_of([0, 1, 0], [1.5e-3], [], spice_v=2.45)
    (near,) = partings(trial, match_trial(trial), parameters)
    trial = trial_of([0, 1, 0], [1.5e-3], [], spice_v=-3.0)
    (far,) = partings(trial, match_trial(trial), parameters)
    unknown = KnownError.of(felif_card.model_copy(update={"validation": {}, "envelope": {}}))
    inside, beyond = np.array([-1e-9, 8e-9]), np.array([-1e-9, 41e-9])
    small = RmsErrors(0.01, 0.001, 0.01)
    assert judge([], small, inside, known, [])[0] == "ok"
    assert judge([near], small, inside, known, [])[0] == "explained"
    for verdict, complaint in (
        (judge([near, far], small, inside, known, []), "SPICE lacks"),
        (judge([], small, beyond, known, []), "41 nA"),
        (judge([], RmsErrors(0.5, 0.001, 0.01), inside, known, []), "500 mV and 0.001"),
        (judge([], RmsErrors(0.01, 0.001, 0.5), inside, known, []), "the training kernel is 500 mV"),
        (judge([near], RmsErrors(0.0, 0.0, 0.0), beyond, unknown, []), "the card was not validated"),
        (judge([], small, inside, known, ["no convergence"]), "no convergence"),
    ):
        assert verdict[0] == "flagged"
        assert complaint in verdict[1]
