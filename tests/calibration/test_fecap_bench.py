import numpy as np
import pytest

from bruno_spice.calibration.benches.fecap import (
    FeCAPRun,
    forc,
    kinetics,
    minor_loops,
    pulses,
    pund,
    pv_loops,
    simulate_fecaps,
    temperature,
)
from bruno_spice.calibration.errors import SimulationError

EPS_0 = 8.8541878e-12


@pytest.fixture(scope="module")
def loops(farm):
    return pv_loops((1.5, 3.0), (100.0, 1e3, 1e4), farm=farm).numbers.set_index(["amplitude_v", "frequency_hz"])


@pytest.mark.parametrize(("frequency_hz", "vc_v"), [(100.0, 1.15), (1e3, 1.26), (1e4, 1.49)])
def test_full_loops_have_the_coercive_voltage_and_remanence_of_the_film(loops, frequency_hz, vc_v):
    row = loops.loc[(3.0, frequency_hz)]
    assert row["vc_v"] == pytest.approx(vc_v, rel=0.05)
    assert row["pr_c_m2"] == pytest.approx(0.22, rel=0.05)
    assert row["ps_c_m2"] == pytest.approx(0.22, rel=0.05)


def test_the_sub_loop_keeps_its_remanence(loops):
    assert loops.loc[(1.5, 1e3)]["pr_c_m2"] == pytest.approx(0.154, rel=0.05)


def test_pund_switches_as_much_as_it_should(farm):
    """The film of 1024 groups switches 0.440, 0.390 and 0.265 C/m^2 up and 0.440, 0.364 and 0.251 down."""
    numbers = pund(farm=farm).numbers
    np.testing.assert_allclose(numbers["p_minus_u_c_m2"], [0.440, 0.390, 0.265], rtol=0.02)
    np.testing.assert_allclose(numbers["n_minus_d_c_m2"], [-0.440, -0.364, -0.251], rtol=0.02)


def test_terminal_charge_balances_polarization_over_a_closed_cycle(farm):
    """With no leakage the terminal charge is eps0 eps V/t + P, everywhere along the loop, to 1e-4 of 2 Ps."""
    time = np.array([0.0, 0.25, 0.75, 1.25, 1.75, 2.0]) * 1e-3
    voltage = 3.0 * np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])
    wave = simulate_fecaps([FeCAPRun(time, voltage, 1e-6, {"j1": 0.0})], farm=farm)[0]
    stored = EPS_0 * 40 / 10e-9 * wave["voltage_v"] + 0.22 * wave["polarization"]
    missing = (wave["charge_c_m2"] - wave["charge_c_m2"][0]) - (stored - stored[0])
    assert np.abs(missing).max() < 1e-4 * 0.44
    cycle = wave.resampled([0.75e-3, 1.75e-3])
    assert np.diff(cycle["charge_c_m2"])[0] == pytest.approx(0.22 * np.diff(cycle["polarization"])[0], abs=1e-4 * 0.44)


def test_leakage_is_the_charge_that_does_not_come_back(farm):
    """At a constant 1 V (1 MV/cm) the leakage is j1, whatever the film does."""
    time, voltage = np.array([0.0, 1e-6, 1.0]), np.array([0.0, 1.0, 1.0])
    wave = simulate_fecaps([FeCAPRun(time, voltage, 1e-2, {"j1": 0.1, "s0": 1.0})], farm=farm)[0]
    late = wave.resampled([0.5, 1.0])["charge_c_m2"]
    assert late[1] - late[0] == pytest.approx(0.05, rel=1e-3)


def test_minor_loops_nest(farm):
    numbers = minor_loops((1.1, 1.5, 2.2), farm=farm).numbers
    assert np.all(np.diff(numbers["pr_c_m2"]) > 0)
    assert numbers["pr_c_m2"].iloc[-1] == pytest.approx(0.22, rel=0.02)


def test_longer_and_higher_pulses_switch_more(farm):
    result = kinetics((1.25, 2.5), (1e-7, 1e-6, 1e-5, 1e-4), farm=farm)
    table = result.traces.pivot(index="amplitude_v", columns="width_s", values="switched_fraction").to_numpy()
    assert np.all(np.diff(table, axis=1) > -1e-5)
    assert np.all(np.diff(table, axis=0) > -1e-5)
    np.testing.assert_allclose(result.traces["charge_c_m2"], 0.44 * result.traces["switched_fraction"], atol=2e-3)


def test_activation_falls_with_temperature_as_the_law_says(farm):
    numbers = temperature((300.0, 400.0), farm=farm).numbers
    ratio = numbers["vc_v"][1] / numbers["vc_v"][0]
    assert pytest.approx(ratio, abs=0.015) == (300 / 400) ** (1 / 4.44)


def test_imprint_shifts_the_loop_and_a_dead_layer_widens_it(farm):
    plain = pv_loops((3.0,), (1e3,), farm=farm).numbers.iloc[0]
    shifted = pv_loops((3.0,), (1e3,), {"imprint": 0.2}, farm=farm).numbers.iloc[0]
    assert shifted["imprint_v"] - plain["imprint_v"] == pytest.approx(0.2, abs=0.02)
    tilted = pv_loops((3.0,), (1e3,), {"tdl": 0.3e-9}, farm=farm).numbers.iloc[0]
    assert tilted["pr_c_m2"] < 0.97 * plain["pr_c_m2"]


def test_reversal_curves_hold_the_whole_switched_charge_and_see_the_imprint(farm):
    plain = forc(13, overrides={"groups": 16}, farm=farm).numbers.iloc[0]
    shifted = forc(13, overrides={"imprint": 0.2, "groups": 16}, farm=farm).numbers.iloc[0]
    assert plain["integral_c_m2"] == pytest.approx(0.22, rel=0.1)
    assert plain["coercive_v"] == pytest.approx(1.12, rel=0.05)
    assert shifted["offset_v"] - plain["offset_v"] == pytest.approx(0.2, abs=0.03)


def test_pulse_trains_start_and_end_at_rest():
    time, voltage, starts = pulses([(1.0, 1e-6), (-2.0, 2e-6)], edge_s=1e-7, gap_s=1e-6)
    assert np.all(np.diff(time) > 0)
    assert voltage[0] == voltage[-1] == 0
    np.testing.assert_allclose(np.interp(starts, time, voltage), 0.0, atol=1e-12)
    assert np.interp(starts[1] + 1e-6, time, voltage) == pytest.approx(-2.0)


def test_a_preset_that_does_not_set_the_film_is_refused(farm):
    thick = {"tfe": 30e-9, "s0": 1.0}
    with pytest.raises(SimulationError, match=r"leaves the film at a polarization of 0\.\d+ instead of -1"):
        pund(((2.5, 100e-6),), thick, farm=farm)
    assert pund(((2.5, 100e-6),), {**thick, "s0": -1.0}, farm=farm).numbers["p_c_m2"][0] > 0
