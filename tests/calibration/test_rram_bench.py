import numpy as np
import pytest

from bruno_spice.calibration.benches.rram import (
    cycling,
    hysteresis,
    parasitics,
    reset_by_voltage,
    set_by_limiter,
    set_by_source,
    set_by_transistor,
)
from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST, RRAMRun, rram_jobs, rram_overrides, rram_timing
from bruno_spice.calibration.spice.farm import Farm, try_jobs
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.variation import Variation
from bruno_spice.devices.waveform import Waveform


def test_a_current_source_sets_what_a_limiter_sets(farm):
    currents = (20e-6, 100e-6)
    source = set_by_source(currents, farm=farm).numbers["g_s"]
    limiter = set_by_limiter(currents, ((0.4e-9, 45e-9),), farm=farm).numbers
    np.testing.assert_allclose(source, limiter["g_s"][limiter["variant"] == "var"], rtol=0.02)


def test_the_word_line_sets_the_current_and_the_current_the_conductance(farm):
    table = set_by_transistor((0.8, 1.0, 1.2), farm=farm).numbers
    assert np.all(np.diff(table["i_set_a"]) > 0)
    ideal = set_by_limiter(tuple(table["i_set_a"]), ((0.4e-9, 45e-9),), farm=farm).numbers
    np.testing.assert_allclose(table["g_s"], ideal["g_s"][ideal["variant"] == "var"], rtol=0.1)


def test_stronger_reset_leaves_less(farm):
    assert np.all(np.diff(reset_by_voltage((0.9, 1.5), farm=farm).numbers["g_s"]) < 0)


def test_the_loop_opens_counter_to_reset_and_closes_again(farm):
    result = hysteresis(farm=farm)
    assert 0.5 < result.numbers["v_set_v"][0] < 1.2
    table = result.traces
    current, voltage = (
        np.interp([0.3e-3, 1.9e-3, 3.9e-3], table["time_s"], table[n]) for n in ("i_cell_a", "v_cell_v")
    )
    before, after, end = current / voltage
    assert after > 10 * before
    assert end < 0.3 * after
    assert table["i_cell_a"].max() == pytest.approx(200e-6, rel=0.01)


def test_set_reset_cycles_repeat(farm):
    table = cycling(3, farm=farm).numbers
    assert table["g_on_s"].min() > 8 * table["g_off_s"].max()
    np.testing.assert_allclose(table["g_on_s"], table["g_on_s"].iloc[-1], rtol=0.02)


def test_parasitic_capacitance_overshoots_the_limit(farm):
    table = parasitics((0.1e-15, 1e-15, 2e-15), farm=farm).numbers
    assert np.all(np.diff(table["g_s"]) > 0)


def test_random_filaments_and_currents_all_simulate(farm):
    """A small cut of the thousand-sample run: no failure after the retry, no conductance out of range."""
    deck = Netlist.load(RRAM_NETLIST)
    spread = list(Variation.beside(RRAM_NETLIST).sample(deck, 24, seed=5).overrides())
    currents = np.exp(np.random.default_rng(5).uniform(np.log(8e-6), np.log(300e-6), 24))
    runs = [RRAMRun(i, overrides=s) for i, s in zip(currents, spread, strict=True)]
    assert rram_overrides(runs[0], deck)["ldisc"] == spread[0]["ldisc"]
    outcomes = try_jobs(rram_jobs(runs, rram_timing(deck, farm)), Farm(store=farm.store))
    assert all(isinstance(outcome, Waveform) for outcome in outcomes)
