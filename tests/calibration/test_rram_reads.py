"""An RRAM deck is read when it reads: its own times, its own read voltage; what is no read is refused."""

import re
import subprocess

import numpy as np
import pytest

from bruno_spice.calibration.benches.rram import RRAM_1T1R_NETLIST, cycling
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    RRAM_NETLIST,
    RRAMRun,
    program_rrams,
    read_rrams,
    rram_timing,
)
from bruno_spice.calibration.circuits.rram_reads import Read, find_timing, read_cell
from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.waveform import Waveform

PULSES = (
    "PWL(0 0 20n 0 30n {vset} 1.03u {vset} 1.04u 0 1.08u 0 1.09u {-vread} 1.2u {-vread}\n"
    "+ 1.21u 0 1.22u 0 1.23u {-vreset} 2.23u {-vreset} 2.24u 0 2.28u 0 2.29u {-vread} 2.4u {-vread})"
)
SLOW_PULSES = (
    "PWL(0 0 20n 0 30n {vset} 2.03u {vset} 2.04u 0 2.08u 0 2.09u {-vread} 2.2u {-vread}\n"
    "+ 2.21u 0 2.22u 0 2.23u {-vreset} 3.23u {-vreset} 3.24u 0 3.28u 0 3.29u {-vread} 3.4u {-vread})"
)


@pytest.fixture
def deck(tmp_path):
    """The project's deck, edited: pairs of old and new text."""

    def write(*edits):
        text = RRAM_NETLIST.read_text().replace("../", f"{NETLISTS}/")
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.cir"
        path.write_text(text)
        return path

    return write


def test_a_longer_set_is_read_after_its_end_as_ngspice_itself_measures_it(deck, tmp_path, farm):
    slow = deck(
        (PULSES, SLOW_PULSES), (".tran 5n 2.4u", ".tran 5n 3.4u"), ("at=1.19u", "at=2.19u"), ("at=2.39u", "at=3.39u")
    )
    out = subprocess.run(["ngspice", "-b", slow], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    after_set, after_reset = (float(re.search(rf"{name} = (\S+)", out)[1]) for name in ("set_s", "reset_s"))
    runs = [RRAMRun(50e-6), RRAMRun(50e-6, v_reset_v=1.5), RRAMRun(100e-6)]
    *measured, set_by_100_ua = program_rrams(runs, slow, farm)
    np.testing.assert_allclose(measured, [after_set, after_reset], rtol=2e-3)
    assert after_set > 1.01 * program_rrams([RRAMRun(50e-6)], farm=farm)[0]
    cycled = cycling(1, 100e-6, netlist=slow, farm=farm).numbers["g_on_s"][0]
    assert cycled == pytest.approx(set_by_100_ua, rel=5e-3), "the cycles take the deck's pulse length"


def test_an_override_that_moves_the_reads_is_read_where_they_are_then(deck, farm):
    """Runs go up to where the deck reads as it lies there; where an override moves that, they must go again."""
    later = re.sub(r"(\b[1-3]\.\d+)u", r"{\1u+wait}", PULSES)
    fixed = deck((PULSES, SLOW_PULSES), (".tran 5n 2.4u", ".tran 5n 3.4u"))
    expected = read_rrams([RRAMRun(50e-6), RRAMRun(100e-6)], fixed.rename(fixed.with_name("fixed.cir")), farm)
    slow = deck((PULSES, later), (".tran 5n 2.4u", ".tran 5n 3.4u"), (".param vread", ".param wait=0\n.param vread"))
    runs = [RRAMRun(i, overrides={"wait": 1e-6}) for i in (50e-6, 100e-6)]
    np.testing.assert_allclose(read_rrams(runs, slow, farm), expected, rtol=1e-6)
    assert (np.abs(read_rrams([RRAMRun(50e-6)], slow, farm) / expected[0] - 1) > 1e-3).any()


def test_the_project_s_decks_are_read_where_their_own_measurements_stand(farm):
    for netlist in (RRAM_NETLIST, RRAM_1T1R_NETLIST):
        timing = rram_timing(Netlist.load(netlist), farm)
        assert (timing.after_set.time_s, timing.after_set.end_s) == (1.19e-6, 1.2e-6)
        assert timing.read(after_reset=True).time_s == 2.39e-6


def test_the_read_voltage_is_the_deck_s_and_measured_where_no_parameter_names_it(deck, farm):
    lower = read_rrams([RRAMRun(100e-6, overrides={"vread": 0.1})], farm=farm)[0]
    unnamed = deck((".param vread=0.2 ", "* "), ("{-vread}", "-0.1"))
    without = read_rrams([RRAMRun(100e-6)], unnamed, farm)[0]
    np.testing.assert_allclose(without, lower, rtol=1e-3)
    assert lower[1] == pytest.approx(0.1, rel=1e-3)


def test_the_deck_s_own_filament_counts_where_none_is_asked_for(deck, farm):
    longer = deck((".param ldisc=0.4 ", ".param ldisc=0.44 "))
    own, asked = program_rrams([RRAMRun(100e-6), RRAMRun(100e-6, length_m=0.4e-9)], longer, farm)
    standard = program_rrams([RRAMRun(100e-6)], farm=farm)[0]
    assert asked == pytest.approx(standard, rel=1e-6)
    assert abs(own / standard - 1) > 0.01


def test_a_deck_without_a_read_after_its_set_is_refused(deck, farm):
    never = deck(("1.04u 0 1.08u 0 1.09u {-vread} 1.2u {-vread}", "1.04u 0"))
    with pytest.raises(NetlistError, match="no read after the SET"):
        program_rrams([RRAMRun(50e-6)], never, farm)


def wave(time_us, oe_v, current_a=1e-6):
    time = np.linspace(0, time_us[-1], 4001) * 1e-6
    oe = np.interp(time * 1e6, time_us, oe_v)
    return Waveform(time, {"v(oe)": oe, "v(ae)": np.zeros(time.size), "i(vcell)": oe * current_a})


def test_a_run_whose_read_has_moved_is_refused_in_mid_pulse():
    run = wave([0, 1, 1.01, 3, 3.01, 3.1, 3.11, 4], [0, 0, 1.5, 1.5, 0, 0, -0.2, -0.2])
    timing = find_timing(run, 0.2, "mine.cir")
    assert read_cell(run, timing.after_set, 0.2, "mine.cir") == pytest.approx((1e-6, 0.2))
    with pytest.raises(SimulationError, match=r"is 1.5 V instead of a steady -0.2 V"):
        read_cell(run, Read(1.5e-6, 2e-6, 2.1e-6), 0.2, "mine.cir")
    with pytest.raises(NetlistError, match="has no RESET"):
        timing.read(after_reset=True)


def test_a_conductance_that_still_moves_is_no_reading():
    run = wave([0, 1, 1.01, 3, 3.01, 4], [0, 0, 1.5, 1.5, -0.2, -0.2])
    drifting = Waveform(run.time_s, dict(run.signals) | {"i(vcell)": run["i(vcell)"] * np.exp(run.time_s / 1e-6)})
    read = find_timing(run, 0.2, "mine.cir").after_set
    with pytest.raises(SimulationError, match="the conductance still moves"):
        read_cell(drifting, read, 0.2, "mine.cir")


def test_the_last_read_before_the_reset_and_the_last_before_the_next_set_count():
    edges = [0, 1, 1.1, 2, 2.1, 3, 3.1, 4, 4.1, 5, 5.1, 6, 6.1, 7, 7.1, 8, 8.1, 9, 9.1, 10]
    level = [-0.2, 1.5, -0.2, 1.5, -0.2, -1.5, -0.2, 1.5, -0.2, -1.5]
    timing = find_timing(wave(edges, np.repeat(level, 2)), 0.2, "mine.cir")
    assert timing.after_set.end_s == pytest.approx(5e-6, rel=0.01)
    assert timing.after_reset.end_s == pytest.approx(7e-6, rel=0.01)
