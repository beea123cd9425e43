"""The RRAM cell from netlist to card with real ngspice: accuracy on points that no fit has seen, levels, RESET."""

from dataclasses import replace

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST, RRAMRun, program_rrams
from bruno_spice.calibration.rram import calibrate as calibration_of_rram
from bruno_spice.calibration.rram.figures import rram_figure
from bruno_spice.calibration.rram.fit import SetSweep, fit_filament, relative_error
from bruno_spice.calibration.rram.levels import corner_margin, overlapping
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.rram.filament import (
    Levels,
    RRAMParameters,
    conductance,
    current_range,
    program_and_verify,
    sample_geometry,
)


@pytest.fixture(scope="module")
def filament(rram):
    return RRAMParameters.from_card(rram.card)


def test_held_out_monte_carlo_points_lie_within_one_per_cent_rms_and_three_worst(rram):
    held_out = rram.card.validation
    assert held_out["points"] >= 80
    assert held_out["relative_rms"] < 0.01
    assert held_out["relative_worst"] < 0.03
    assert {tuple(row) for row in np.column_stack([rram.fitted.i_prog_a, rram.fitted.radius_m])}.isdisjoint(
        tuple(row) for row in np.column_stack([rram.held_out.i_prog_a, rram.held_out.radius_m])
    )


def test_the_reset_model_follows_held_out_resets(rram):
    assert rram.card.validation["reset"]["relative_rms"] < 0.03
    assert rram.card.validation["reset"]["relative_worst"] < 0.08


def test_the_eight_levels_carry_their_currents_and_what_devices_make_of_them(rram):
    card = RRAMCard.model_validate_json(rram.card.to_json())
    assert card.levels.bits == 3
    currents = [level.i_prog_a for level in card.levels.levels]
    assert currents == sorted(currents)
    for level in card.levels.levels:
        assert level.g_mean_s == pytest.approx(level.g_target_s, rel=0.03)
        assert level.g_min_s < level.g_mean_s < level.g_max_s


def test_adjacent_levels_overlap_in_less_than_a_thousandth_of_the_devices(rram):
    overlap = rram.card.levels.overlap
    assert overlap.spice == 0.0
    assert overlap.spice_corner_margin > 0.05
    assert overlap.model < 1e-3
    assert overlap.model_with_read_noise < 1e-3


def test_without_the_geometry_limits_only_program_and_verify_stays_below_a_thousandth(rram):
    overlap = rram.card.levels.overlap
    assert 1e-4 < overlap.model_untruncated < 1e-2
    assert overlap.model_verified < 1e-4


def test_a_device_is_off_on_all_its_levels_alike(rram):
    assert np.min(rram.card.levels.correlation) > 0.8


def test_the_model_predicts_every_spice_device_on_every_level(rram, farm, filament):
    length, radius = sample_geometry(3, filament, np.random.default_rng(5))
    current = rram.levels.i_prog_a[[1, 6]]
    runs = [RRAMRun(i, x, r) for x, r in zip(length.tolist(), radius.tolist(), strict=True) for i in current.tolist()]
    model = conductance(current, length[:, None], radius[:, None], filament)
    np.testing.assert_allclose(model.ravel(), program_rrams(runs, farm=farm), rtol=0.015)


def test_program_and_verify_narrows_real_devices(rram, farm, filament):
    length, radius = np.array([0.36e-9, 0.44e-9]), np.array([41e-9, 49e-9])
    target = np.full(2, rram.levels.conductance_s[4])
    spent = []

    def program(i_prog_a, which):
        spent.append(which.size)
        return program_rrams(
            [RRAMRun(i, length[k], radius[k]) for i, k in zip(i_prog_a.tolist(), which, strict=True)], farm=farm
        )

    done = program_and_verify(target, program, filament, current_range(rram.card), tolerance_s=2e-6)
    assert np.all(np.abs(done.g_s - target) < 2e-6)
    assert done.pulses.max() <= 4
    assert spent[0] == 2
    assert done.pulses.sum() == sum(spent)


def test_a_device_out_of_reach_keeps_its_last_state(filament):
    done = program_and_verify(np.array([200e-6]), lambda i, which: np.full(i.size, 100e-6), filament, (15e-6, 300e-6))
    assert done.pulses[0] == 6
    assert done.g_s[0] == 100e-6


def test_overlap_counts_what_would_be_read_as_another_level():
    levels = Levels(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(overlapping(np.array([[1.4, 1.6, 2.4], [-5.0, 1.4, 9.0]]), levels),
                                  [[False, False, True], [False, True, False]])  # fmt: skip
    assert corner_margin(np.array([[1.1, 2.2, 2.8]]), levels) == pytest.approx(0.6)
    assert corner_margin(np.array([[1.6, 2.0, 3.0]]), levels) == pytest.approx(-0.2)


def test_the_other_thermal_variant_is_fitted_as_well_and_hardly_depends_on_the_radius(rram, farm):
    def det(sweep, every):
        columns = [getattr(sweep, name)[every] for name in ("i_prog_a", "length_m", "radius_m")]
        runs = [RRAMRun(*row, "det") for row in np.column_stack(columns).tolist()]
        return SetSweep(*columns, program_rrams(runs, farm=farm))

    fit, filament = fit_filament(det(rram.fitted, slice(None, None, 2)), rram.data.g_hrs_s, {"read_voltage": 0.2})
    error = relative_error(det(rram.held_out, slice(-20, None)), filament)
    assert np.sqrt(np.mean(error**2)) < 0.01
    assert np.abs(error).max() < 0.03
    assert abs(fit.values["c_radius"]) < 0.2 * rram.card["c_radius"]


@pytest.fixture
def simulated(rram, monkeypatch):
    """Calibrations of the cell take what was simulated already."""
    monkeypatch.setattr(calibration_of_rram, "_simulate", lambda _cell, _timing, known: replace(rram.data, known=known))
    monkeypatch.setattr(calibration_of_rram, "_sample_levels", lambda *_: rram.samples)


def test_a_netlist_without_a_spread_of_its_own_says_whose_it_takes(simulated, tmp_path):
    mine, said = tmp_path / "mine.cir", []
    mine.write_text(RRAM_NETLIST.read_text().replace("../", f"{RRAM_NETLIST.parents[1]}/"))
    calibration_of_rram.calibrate_rram(mine, notice=said.append)
    assert [text.partition("mine.variation.yaml")[2] for text in said] == [
        " is not there: the levels' spread in the card is that of the project's rram.cir"
    ]
    calibration_of_rram.calibrate_rram(notice=said.append)
    assert len(said) == 1


def test_the_read_voltage_in_the_card_is_the_one_that_was_simulated(simulated):
    card = calibration_of_rram.calibrate_rram(overrides={"vread": 0.25}).card
    assert (card["read_voltage"], card.parameters["read_voltage"].source) == (0.25, "netlist")


def test_the_figure_shows_all_levels_and_the_reset_states(rram):
    levels, reset = rram_figure(rram).axes
    assert len(list(levels.patches)) == 8
    assert len(reset.get_legend().get_texts()) == 5
