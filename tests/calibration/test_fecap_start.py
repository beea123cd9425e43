"""A fit starts where the record says: from a film that was cycled before, and from one that leaks."""

from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.fecap.fit import _far, fit_fecap
from bruno_spice.calibration.fecap.measurement import Columns, measurement, read_measurement
from bruno_spice.calibration.fecap.problem import Problem, rms
from bruno_spice.calibration.fecap.start import started
from bruno_spice.devices.fecap.film import charge_density

RECORDS = Path(__file__).parents[1] / "cases" / "fecap"
KNOWN = {"tfe": 10e-9, "nmerz": 4.44, "tau0": 0.57e-6}


def record(name):
    return read_measurement(RECORDS / name, Columns("t", "v", "y", "charge", "s", "V", "C/m2"), None)


def test_the_last_of_six_cycles_of_a_minor_loop_gives_the_film(farm):
    """Its groups begin in different states; the film of this record had 16 of them, a staircase of its own."""
    found = fit_fecap(record("minor_loop_sixth_cycle.csv"), KNOWN, farm=farm)
    assert found.values["ps"] == pytest.approx(0.18, rel=0.03)
    assert found.values["eps"] == pytest.approx(40, rel=0.1)
    assert found.values["j1"] == 0.01
    assert found.only.rms < 0.015 * 0.332


def test_a_leaky_film_gives_its_leak(farm):
    found = fit_fecap(record("leaky_20.csv"), KNOWN, farm=farm)
    assert found.fit.values["j1"] == pytest.approx(20, rel=0.01)
    assert found.fit.values["ps"] == pytest.approx(0.18, rel=0.01)
    assert found.only.used.all()


def test_no_clean_sample_of_a_leaky_film_is_an_outlier(farm):
    found = fit_fecap(
        record("leaky_5.csv"), KNOWN, ["ps", "ea", "eps", "sigma_a", "sigma_o", "imprint", "j1"], farm=farm
    )
    assert found.fit.values["j1"] == pytest.approx(5, rel=0.01)
    assert found.only.used.all()


@pytest.mark.parametrize("start", [(1.0, 0), (-1.0, 4)])
def test_the_state_before_the_record_is_found(start):
    """The record is one cycle of +-1.2 V, of a film that rested in a state, or that four such cycles went over."""
    state, cycles = start
    time = np.linspace(0, 1e-3, 161)
    voltage = np.interp(time, np.array([0, 0.25, 0.75, 1]) * 1e-3, 1.2 * np.array([0, 1, -1, 0]))
    empty = measurement(time, voltage, voltage, "charge")
    problem = Problem.build([empty], KNOWN, None, None).after(cycles)
    film = {"ps": 0.2, "ea": 1.3, "imprint": 0.1, "s0": state}
    truth = measurement(time, voltage, problem.twin(film)[0], "charge")
    found = started(Problem.build([truth], KNOWN, None, None))
    assert (found.value("s0"), found.parts[0].cycles) == (pytest.approx(state, abs=0.02), cycles)
    assert found.base["ps"] == pytest.approx(0.2, rel=0.01)


def test_a_film_that_switches_at_a_tenth_of_the_field_is_found():
    """A square loop of PZT, 250 nm thick: the netlist's film, of HfO2, does not switch in it at all."""
    known = {"tfe": 250e-9, "nmerz": 4.44, "tau0": 0.57e-6}
    time = np.linspace(0, 1e-2, 301)
    voltage = np.interp(time, np.array([0, 0.25, 0.75, 1]) * 1e-2, 9.0 * np.array([0, 1, -1, 0]))
    film = {"ps": 0.31, "ea": 0.12, "eps": 500.0, "sigma_a": 0.03, "sigma_o": 0.01, "imprint": -0.02, "s0": -0.8}
    empty = measurement(time, voltage, voltage, "charge")
    charge = Problem.build([empty], known, None, None).twin(film)[0]
    charge = charge + np.random.default_rng(4).normal(0, 2e-3, time.size)
    found = started(Problem.build([measurement(time, voltage, charge, "charge")], known, None, None))
    assert found.base["ea"] == pytest.approx(0.12, rel=0.02)
    assert found.base["ps"] == pytest.approx(0.31, rel=0.02)
    assert rms(found.residual({})) == pytest.approx(2e-3 / np.ptp(charge), rel=0.2)


def test_a_record_that_does_not_end_where_it_began_was_not_cycled():
    time = np.linspace(0, 1e-3, 101)
    half = measurement(time, 2e3 * time, time, "charge")
    assert not Problem.build([half], KNOWN, None, None).parts[0].repeats


def test_samples_that_are_off_together_are_missed_and_a_single_one_is_an_outlier():
    time = np.linspace(0, 1e-3, 201)
    voltage = 3 * np.sin(2e3 * np.pi * time)
    base = Problem.build([measurement(time, voltage, voltage, "charge")], KNOWN, None, None)
    charge = base.twin({})[0] + np.random.default_rng(0).normal(0, 1e-3, time.size)
    charge[60] += 0.05
    charge[120:125] += 0.05
    problem = Problem.build([measurement(time, voltage, charge, "charge")], KNOWN, None, None)
    ((outliers, missed),) = _far(problem, {})
    assert np.flatnonzero(outliers).tolist() == [60]
    assert np.flatnonzero(missed).tolist() == [120, 121, 122, 123, 124]


def test_a_state_written_as_a_whole_number_is_the_same_state():
    time = np.linspace(0, 1e-3, 101)
    values = Problem.build([measurement(time, np.sin(6e3 * time), time, "charge")], KNOWN, None, None).base
    whole, real = (charge_density(time, 2 * np.sin(6e3 * time), values | {"s0": s0}) for s0 in (-1, -1.0))
    np.testing.assert_array_equal(whole, real)
