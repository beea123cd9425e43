"""From a tester's readings of RRAM cells to a card: truths come back, real cells are reproduced, gaps are said."""

import json
import re
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from bruno_spice.calibration.rram.distributions import device_share, quantiles, spread
from bruno_spice.calibration.rram.estimates import Writes, relaxation, set_curve, writes
from bruno_spice.calibration.rram.levels import overlapping
from bruno_spice.calibration.rram.measured import drawn_s, fit_measured
from bruno_spice.calibration.rram.reads import cell_noise
from bruno_spice.calibration.rram.tables import CellTable, read_cells
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.schema import card_schema
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.files import ROOT
from bruno_spice.devices.rram.filament import Levels
from bruno_spice.devices.rram.measured import MeasuredCell, moved_s

CASES = ROOT / "tests" / "cases" / "measured"
RELAXED = "device,time[s],-,g[S],-,level,-"
WORD_LINES = "device,-,-,v_wl[V],-,r[Ohm]"


@pytest.fixture(scope="module")
def made_up():
    """The card of the made-up files."""
    tables = [read_cells(CASES / f"rram_{name}.csv") for name in ("set", "relaxation")]
    return fit_measured(tables)


def table(kind, device, g_s, **more):
    return CellTable(CASES / "made up", kind, device, g_s, **more)


def test_quantiles_keep_mean_and_spread_of_any_shape():
    rng = np.random.default_rng(0)
    for values in (
        rng.standard_normal(4000),
        rng.laplace(size=4000),
        rng.exponential(size=4000),
        rng.standard_t(4, 4000),
    ):
        drawn = np.interp(rng.standard_normal(200_000), np.linspace(-3, 3, 13), quantiles(values))
        assert drawn.mean() == pytest.approx(values.mean(), abs=0.02 * values.std())
        assert drawn.std() == pytest.approx(values.std(), rel=0.03)
        assert values.min() <= drawn.min() <= drawn.max() <= values.max()


def test_spread_between_devices_and_between_writes_come_apart():
    rng = np.random.default_rng(1)
    device = np.repeat(np.arange(2000), rng.integers(3, 12, 2000))  # not all were written as often
    own, each = 0.2 * rng.standard_normal(2000), 0.4 * rng.standard_normal(device.size)
    found = spread(np.exp(own[device] + each), device)
    of_device = np.sqrt(np.exp(0.2**2 + 0.4**2) * (np.exp(0.2**2) - 1))
    of_write = np.sqrt(np.exp(0.2**2 + 0.4**2) * np.exp(0.2**2) * (np.exp(0.4**2) - 1))
    assert found.device == pytest.approx(of_device, rel=0.08)
    assert found.cycle == pytest.approx(of_write, rel=0.05)
    assert device_share(quantiles(np.exp(own[device] + each)), found.device**2) == pytest.approx(0.2, abs=0.06)


def test_a_set_curve_gives_median_and_both_spreads_of_every_setting_back():
    rng = np.random.default_rng(2)
    device, setting = (each.ravel() for each in np.meshgrid(np.arange(200), np.repeat([2.2, 2.4, 2.6], 20)))
    of_device, of_write = 0.05 + 0.3 * (2.6 - setting), 0.1 + 0.8 * (2.6 - setting)
    own = rng.standard_normal(200)[device]
    g_s = 1e-5 * np.exp(5 * (setting - 2.2) + of_device * own + of_write * rng.standard_normal(own.size))
    curve, said = set_curve(table("set", device, g_s, setting=setting, knob="v_word_line_v"))
    assert said == []
    variance = np.exp([0.17**2, 0.11**2, 0.05**2])  # of log-normal numbers, 1 more than the relative variance
    noise = np.exp([0.42**2, 0.26**2, 0.10**2])
    assert np.allclose(curve.median_s, 1e-5 * np.exp(5 * np.array([0, 0.2, 0.4])), rtol=0.08)
    assert np.allclose(curve.device_sigma, np.sqrt(variance - 1), rtol=0.15)
    assert np.allclose(curve.cycle_sigma, np.sqrt(variance * (noise - 1)), rtol=0.08)


def test_what_the_card_draws_has_the_spreads_it_states(made_up):
    curve, cell = made_up.card.set_curve, MeasuredCell(made_up.card)
    rng = np.random.default_rng(3)
    for setting, median_s, device, cycle in zip(
        curve.setting, curve.median_s, curve.device_sigma, curve.cycle_sigma, strict=True
    ):
        of_device = np.repeat(rng.standard_normal(2000), 40)
        g_s = cell.set_once(np.full(of_device.size, setting), of_device, rng.standard_normal(of_device.size))
        found = spread(g_s, np.repeat(np.arange(2000), 40))
        assert np.median(g_s) == pytest.approx(median_s, rel=0.12)  # of 60 writes
        assert found.device / found.mean == pytest.approx(device, rel=0.1, abs=0.01)
        assert found.cycle / found.mean == pytest.approx(cycle, rel=0.12)


def test_relaxation_widens_and_sinks_as_the_made_up_cells_do(made_up):
    """Laplace steps of variance 0.35 (uS)^2 a unit of u = ln(1 + t/10 ms), sinking by 0.1 uS; levels above 15 uS."""
    known = made_up.card.relaxation
    high = np.array(known.conductance_s) > 15e-6
    for time_s, shift_s, spread_s in zip(known.time_s, known.shift_s, known.spread_s, strict=True):
        u = np.log1p(time_s / 0.01)
        assert np.mean(np.array(spread_s)[high]) == pytest.approx(np.sqrt(0.35e-12 * u), rel=0.2)
        assert np.mean(np.array(shift_s)[high]) == pytest.approx(-0.1e-6 * u, abs=0.3e-6)
    between = moved_s(known, 60.0)  # and in between, evenly in ln t
    share = (np.log1p(6000) - np.log1p(100)) / (np.log1p(360000) - np.log1p(100))
    ends = moved_s(known, 1.0), moved_s(known, 3600.0)
    assert np.allclose(between, ends[0] + share * (ends[1] - ends[0]), rtol=0.02)
    assert not moved_s(known, 0.0).any()


def test_few_devices_that_jump_widen_no_level_of_their_own():
    """1,600 cells on 33 levels that spread alike, but for one in 400 that jumps by 40 times as much."""
    rng = np.random.default_rng(5)
    level_s = np.repeat(np.linspace(2e-6, 40e-6, 33), 50)
    moved_s = 1e-7 * rng.standard_normal(level_s.size)
    jumped = rng.random(level_s.size) < 1 / 400
    moved_s[jumped] *= 40.0
    found = Writes(np.arange(level_s.size), level_s, level_s, np.array([1.0]), (level_s + moved_s)[None])
    (spreads,) = relaxation(found).spread_s
    assert moved_s.std() == pytest.approx(np.sqrt(np.mean(np.square(spreads))), rel=0.1)
    (table,) = relaxation(found).quantiles_s
    own = [moved_s[level_s == each].std() for each in np.unique(level_s)]
    assert np.ptp(spreads) < 0.5 * np.ptp(own)
    assert np.all(np.diff(table, axis=1) >= 0.0)


def test_overlap_grows_with_time_and_is_stated_for_what_was_measured_only(made_up):
    card = made_up.card
    assert [at.time_s for at in card.overlap] == [0.0, 1.0, 3600.0, 86400.0]
    shares = [at.misread for at in card.overlap]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    early = made_up.tables[1]
    kept = early.time_s < 2.0
    short = replace(early, device=early.device[kept], g_s=early.g_s[kept], level=early.level[kept],
                    time_s=early.time_s[kept])  # fmt: skip
    assert [at.time_s for at in fit_measured([short]).card.overlap] == [0.0, 1.0]


def test_a_card_claims_nothing_that_was_not_measured(made_up, bruno, tmp_path):
    only_set = fit_measured([made_up.tables[0]]).card
    assert any("changes with time" in each for each in only_set.unknown)
    with pytest.raises(InputError, match="was not measured; leave it at 0"):
        MeasuredCell(only_set).relaxed_s(np.array([1e-5]), 1.0, np.array([0.0]))
    with pytest.raises(InputError, match=r"more than 1000 times the 86\.4 ks"):
        MeasuredCell(made_up.card).relaxed_s(np.array([1e-5]), 1e9, np.array([0.0]))
    shown = bruno("card", "show", only_set.save(tmp_path / "set.json"))[1]
    assert "not known: how the cell changes with time after a write was not measured" in shown
    assert "not known: read noise was not measured, none is drawn" in shown
    filament = bruno("card", "show", ROOT / "data" / "calibrated" / "rram.json")[1]
    assert "not known: how the cell changes with time after a write was not measured" in filament


def test_read_noise_tells_fast_from_slow_and_finds_two_states():
    rng, rate_hz = np.random.default_rng(4), 400.0
    white = cell_noise(1e-4 * (1 + 0.01 * rng.standard_normal(20_000)), rate_hz)
    assert white.sigma == pytest.approx(0.01, rel=0.05)
    assert white.fast_sigma == pytest.approx(0.01, rel=0.05)
    assert (white.correlation_time_s, white.jump_s) == (None, None)
    state = np.cumsum(rng.random(20_000) < 0.01) % 2  # 100 reads in a state, on average
    signal = cell_noise(1e-4 + 8e-6 * state + 5e-7 * rng.standard_normal(20_000), rate_hz)
    assert signal.jump_s == pytest.approx(8e-6, rel=0.03)
    assert np.allclose(signal.dwell_s, 0.25, rtol=0.3)
    assert signal.fast_sigma * signal.conductance_s == pytest.approx(5e-7, rel=0.35)
    assert signal.correlation_time_s == pytest.approx(0.125, rel=0.3)  # 1 / (1/0.25 s + 1/0.25 s)


def test_columns_and_units_are_said_and_never_guessed(tmp_path):
    bare = tmp_path / "bare.csv"
    bare.write_text("".join(f"{n},{n % 3},{1e5 + n}\n" for n in range(60)))
    for order, said in (
        (None, "neither a SET curve"),
        ("device,level", "--columns names 2 columns, but the file has 3"),
        ("device,level,r", "the unit of the resistance is not said"),
        ("device,level,r[V]", "the resistance is in 'V', not in Ohm"),
        ("device,level,charge", "'charge' means nothing here"),
        ("device,level,-", "no conductance or resistance"),
        ("-,level,r[Ohm]", "no column tells the devices apart"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            read_cells(bare, order)
    found = read_cells(bare, "device,level,r[kOhm]")
    assert found.kind == "levels"
    assert found.g_s[0] == pytest.approx(1e-8)
    warm = tmp_path / "warm.csv"
    warm.write_text("cell,level,G [S],T [K],temperature [K]\n" + "".join(
        f"{n},1,1e-5,{n},{300 + 50 * (n % 2)}\n" for n in range(60)))  # fmt: skip
    with pytest.raises(InputError, match="measured at 300 K, 350 K; a card has one temperature"):
        read_cells(warm, "device,level,g,-,temperature")
    assert read_cells(warm, "device,level,g,-,temperature", 350.0).device.size == 30


def test_devices_that_were_not_all_read_are_left_out_and_said(made_up):
    early = made_up.tables[1]
    late = (early.time_s > 1e4) & (early.device % 3 > 0)
    part = replace(early, device=early.device[~late], g_s=early.g_s[~late], level=early.level[~late],
                   time_s=early.time_s[~late])  # fmt: skip
    found, said = writes(part)
    assert found.time_s.max() < 1e4
    assert any("33 % of the writes were read" in each for each in said)
    with pytest.raises(InputError, match="no reading right after writing"):
        writes(replace(early, time_s=early.time_s + 1.0))


def test_the_command_writes_card_and_figure_and_says_what_it_does_not_know(bruno, tmp_path):
    files = [CASES / "rram_set.csv", CASES / "rram_relaxation.csv"]
    noise = ("--noise", CASES / "rram_reads.tsv", "--noise-rate", "400")
    code, out, err = bruno("fit", "rram", *files, *noise, "--out", tmp_path / "rram.json", "--json")
    assert code == 0, err
    card = MeasuredCard.load(tmp_path / "rram.json")
    assert json.loads(out)["unknown"] == ["the temperature of the measurement is not known"] == card.unknown
    assert (tmp_path / "rram.png").stat().st_size > 20_000
    assert [each.jump_s is not None for each in card.read_noise.cells] == [True, True, False]
    schema = jsonschema.Draft202012Validator(card_schema(MeasuredCard))
    schema.validate(json.loads(card.to_json()))
    assert bruno("card", "check", tmp_path / "rram.json")[0] == 0
    for words, said in (
        ((*files, files[0]), "both hold a SET curve"),
        ((*files, *noise[:2]), "--noise goes with --noise-rate"),
        ((files[1], "--levels", "2u"), "write LOW:HIGH"),
    ):
        code, _, err = bruno("fit", "rram", *words, "--out", tmp_path / "no.json")
        assert (code, said in err) == (2, True), err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("set_curve", "device_share", 0), 1.5),
        (("relaxation", "time_s", 0), 0.0),
        (("relaxation", "quantiles_s", 0, 0, 0), 1.0),
        (("verified", "quantiles_s"), []),
        (("parameters", "g_level_min", "value"), 1.0),
        (("claims",), True),
    ],
)
def test_a_card_that_is_not_whole_is_refused_by_the_key(made_up, tmp_path, path, value):
    raw = json.loads(made_up.card.to_json())
    place = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "card.json").write_text(json.dumps(raw))
    with pytest.raises(CardError):
        MeasuredCard.load(tmp_path / "card.json")


@pytest.fixture(scope="module")
def technology_c(data_folder):
    """The relaxation of `rram/README.md`'s technology C and its card."""
    measured = read_cells(data_folder / "rram" / "relaxation_technology_c.tsv.gz", RELAXED)
    return fit_measured([measured])


def test_a_measured_word_line_has_its_median_device_and_cycle_spread(data_folder):
    measured = read_cells(data_folder / "rram" / "set_over_word_line.tsv.gz", WORD_LINES)
    card, rng = fit_measured([measured]).card, np.random.default_rng(0)
    cell = MeasuredCell(card)
    assert card.set_curve.setting[-1] == pytest.approx(2.61)
    for volt, median_us in ((2.2, 11), (2.3, 45), (2.4, 97), (2.5, 139), (2.6, 165)):
        here = np.isclose(measured.setting, volt)
        truth = spread(measured.g_s[here], measured.device[here])
        of_device = np.repeat(rng.standard_normal(2000), 40)
        g_s = cell.set_once(np.full(of_device.size, volt), of_device, rng.standard_normal(of_device.size))
        found = spread(g_s, np.repeat(np.arange(2000), 40))
        assert np.median(g_s) * 1e6 == pytest.approx(median_us, rel=0.1)
        assert np.median(g_s) == pytest.approx(np.median(measured.g_s[here]), rel=0.1)
        assert found.device == pytest.approx(truth.device, rel=0.1)
        assert found.cycle == pytest.approx(truth.cycle, rel=0.1)


def test_levels_of_devices_left_out_spread_as_the_card_says(technology_c):
    rows = {round(row["time_s"], 2): row for row in technology_c.card.validation["times"]}
    for time_s in (0.0, 0.01, 1.0, 101854.33):
        row = rows[time_s]
        assert row["relative_error_worst"] < 0.15
        assert row["relative_error_worst"] < 1.2 * row["halves_worst"]
        assert row["model_spread_s"] == pytest.approx(row["spread_s"], rel=0.15)
        assert row["model_misread"] == pytest.approx(row["misread"], rel=0.15, abs=0.002)


def test_three_bit_levels_of_technology_c_are_misread_as_often_as_they_were(technology_c):
    """0 at t = 0, 13.6 % (worst level 21) at 1 s, 41 % (48) at 1e5 s: an independent look at the same records."""
    cell, levels_s = MeasuredCell(technology_c.card), 1e-6 * (2.5 + 5 * np.arange(8))
    for time_s, of_all, worst in ((0.0, 0.0, 0.0), (1.0, 0.136, 0.21), (1e5, 0.41, 0.48)):
        g_s = drawn_s(cell, levels_s, time_s, 20_000, np.random.default_rng(0))
        share = overlapping(g_s, Levels(levels_s, levels_s)).mean(axis=0)
        assert of_all / 1.5 <= share.mean() <= 1.5 * of_all
        assert worst / 1.5 <= share.max() <= 1.5 * worst


def test_repeated_writes_of_a_device_are_writes_without_a_time_and_told_with_one(made_up):
    g_s = np.tile([9e-6, 10e-6, 11e-6], 30)
    device, level = np.repeat(np.arange(9), 10), np.full(90, 10e-6)
    table = replace(made_up.tables[1], device=device, g_s=g_s, level=level, time_s=None, level_in_s=True)
    found, said = writes(table)
    assert found.written_s.size == 90
    assert found.written_s.std() == pytest.approx(g_s.std())
    assert said == []
    several = replace(table, device=np.repeat(np.arange(30), 3), time_s=np.zeros(90))
    found, said = writes(several)
    assert found.written_s.size == 30
    assert said == ["30 pairs of device and level were read several times right after writing, and count once"]
