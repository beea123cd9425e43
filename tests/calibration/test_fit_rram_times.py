"""Times, levels and devices of measured cells: what is near counts as one, what is apart does not, gaps are said."""

import numpy as np
import pytest

from bruno_spice.calibration.rram.estimates import set_curve, writes
from bruno_spice.calibration.rram.measured import fit_measured
from bruno_spice.calibration.rram.tables import CellTable, read_cells
from bruno_spice.devices.errors import EnvelopeError, InputError
from bruno_spice.devices.files import ROOT

PATH = ROOT / "tests" / "cases" / "measured" / "rram_set.csv"
DAY_S = 86400.0
LEVELS_S = np.array([10e-6, 20e-6, 40e-6])


def relaxing(times_s, devices=40, jitter=0.0):
    """Each device written to each level and read at 0 and `times_s`, each read with a draw of its own."""
    rng = np.random.default_rng(0)
    level, device, time = (
        each.ravel() for each in np.meshgrid(LEVELS_S, np.arange(devices), [0.0, *times_s], indexing="ij")
    )
    g_s = level + 1e-7 * rng.standard_normal(level.size) * (1 + np.log1p(time))
    time = time * np.exp(jitter * rng.uniform(-1, 1, time.size))
    return CellTable(PATH, "relaxation", device, g_s, level=level, level_in_s=True, time_s=time)


def levels(device, level, g_s):
    return CellTable(PATH, "levels", np.array(device), np.array(g_s), level=np.array(level), level_in_s=True)


def test_times_that_are_apart_stay_apart_and_those_of_one_read_out_are_one():
    found, said = writes(relaxing([1800.0, 3600.0, DAY_S, 2 * DAY_S]))
    assert found.time_s.tolist() == [1800.0, 3600.0, DAY_S, 2 * DAY_S]
    assert said == []
    found, said = writes(relaxing([1.0, 3600.0], jitter=0.08))
    assert found.time_s == pytest.approx([1.0, 3600.0], rel=0.02)
    assert np.isfinite(found.g_s).all()
    assert len(said) == 1
    assert "count as of one time each" in said[0]


def test_reads_again_and_again_are_apart_by_a_tenth():
    times = np.arange(10.0, 100.0)
    found, said = writes(relaxing(times))
    assert 20 < len(found.time_s) < 26
    assert np.all(found.time_s[1:] / found.time_s[:-1] < 1.16)
    assert any("counts with the mean" in each for each in said)


def test_the_last_time_is_the_one_that_was_measured():
    card = fit_measured([relaxing([1.0, 3600.0, DAY_S], devices=37)]).card
    assert card.relaxation.time_s[-1] == DAY_S
    assert [at.time_s for at in card.overlap] == [0.0, 1.0, 3600.0, DAY_S]


def test_levels_that_were_not_written_are_refused():
    table = relaxing([1.0])
    assert fit_measured([table], g_range_s=(10e-6, 40e-6)).card["g_level_max"] == 40e-6
    with pytest.raises(EnvelopeError, match="levels from 2 µS to 400 µS: writes were measured from 10 µS to 40 µS"):
        fit_measured([table], g_range_s=(2e-6, 400e-6))


def test_a_card_of_too_few_devices_is_made_and_said_to_be_untried():
    rng = np.random.default_rng(1)
    g_s = np.repeat([10e-6, 20e-6], 20) * (1 + 0.01 * rng.standard_normal(40))
    level = np.repeat([10e-6, 20e-6], 20)
    for device in (np.zeros(40, int), np.repeat([1, 2], 20)):
        found = fit_measured([levels(device, level, g_s)])
        assert found.card.validation == {}
        assert any("too few devices" in each for each in found.said)


def test_a_card_of_one_write_a_device_says_that_it_cannot_tell_the_writes_apart():
    rng = np.random.default_rng(2)
    device, setting = (each.ravel() for each in np.meshgrid(np.arange(50), [2.2, 2.4]))
    g_s = 1e-5 * setting * np.exp(0.1 * rng.standard_normal(100))
    once = CellTable(PATH, "set", device, g_s, setting=setting, knob="v_word_line_v")
    assert set_curve(once)[0].cycles == 1
    assert any("written once" in each for each in fit_measured([once]).card.unknown)


def test_the_record_of_a_file_of_cells_can_be_chosen(tmp_path):
    rows = "".join(f"{n},10,{10 + n % 3}\n" for n in range(40))
    (tmp_path / "two.csv").write_text(2 * f"device,level [uS],g [uS]\n{rows}")
    assert read_cells(tmp_path / "two.csv", number=2).g_s.size == 40
    with pytest.raises(InputError, match="choose one with --record N"):
        read_cells(tmp_path / "two.csv")
