"""Several records of one film, optional terms, predictions: known truth comes back, and what is unsure is said."""

import json
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.benches.fecap import FILM_NETLIST, FeCAPRun, simulate_fecaps
from bruno_spice.calibration.fecap.coverage import case
from bruno_spice.calibration.fecap.drive import drive
from bruno_spice.calibration.fecap.fit import fit_fecap
from bruno_spice.calibration.fecap.measurement import Columns, measurement, read_measurement
from bruno_spice.calibration.fecap.predict import behind_turns, predict, read_off, summary
from bruno_spice.calibration.fecap.problem import Part
from bruno_spice.calibration.fecap.result import notes, param_include
from bruno_spice.calibration.measured.choice import Choice, choices
from bruno_spice.calibration.measured.noise import without_noise
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import charge_density

LIBRARY = {name: p.value for name, p in Netlist.load(FILM_NETLIST).params.items() if p.value is not None}
TRUTH = {"ps": 0.19, "ea": 1.5, "eps": 35.0, "sigma_a": 0.2, "sigma_o": 0.25, "imprint": 0.1, "j1": 3.0, "ja": 0.5}
FREE = ["ps", "ea", "eps", "imprint", "j1", "ja"]
KNOWN = {name: TRUTH[name] for name in ("sigma_a", "sigma_o")}


def loop(frequency_hz, amplitude_v=3.0, samples=121):
    time = np.linspace(0, 1 / frequency_hz, samples)
    return time, amplitude_v * np.interp(time * frequency_hz, [0, 0.25, 0.75, 1], [0, 1, -1, 0])


def record(seed, frequency_hz=1e3, noise=1e-3, zero=0.03, side=1, cycles=0, samples=121, **own):
    """A loop of the film, by the twin: noisy, with another zero, and negated where `side` is -1."""
    time, voltage = loop(frequency_hz, samples=samples)
    charge = charge_density(*drive(time, voltage, cycles), LIBRARY | TRUTH | own)[-time.size :]
    charge = charge + zero + np.random.default_rng(seed).normal(0, noise, time.size)
    return measurement(time, side * voltage, side * charge, "charge")


@pytest.fixture(scope="module")
def two(farm):
    """A fit to two records of one film, each with its own zero and temperature."""
    cold, warm = record(1), record(2, 4e3, zero=-0.1, tempk=380.0, jact=0.2)
    known = KNOWN | {"jact": 0.2}
    return fit_fecap(
        [cold, warm], known, FREE, farm=farm, own=[{"s0": -1.0}, {"tempk": 380.0, "s0": -1.0}], terms=["ja"]
    )


def test_records_are_named_by_their_numbers(tmp_path):
    (tmp_path / "odd#3").touch()
    assert choices(["a.dat#1,4-6"]) == [Choice(Path("a.dat"), n) for n in (1, 4, 5, 6)]
    assert choices([tmp_path / "odd#3"], 2) == [Choice(tmp_path / "odd#3", 2)]
    for wrong in ("a#0", "a#3-2", "a#1-"):
        with pytest.raises(InputError, match=r"#4 or #1,4-6|counted from 1"):
            choices([wrong])


def test_the_terms_are_those_of_the_netlist_and_off_they_are_not_there(farm):
    time, voltage = loop(1e3, samples=301)
    terms = {"ja": 0.5, "jact": 0.2, "kps": -1e-3, "keps": 2e-3, "rs": 1e6, "cfix": 5e-14, "tempk": 360.0, "j1": 2.0}
    runs = [FeCAPRun(time, voltage, 3e-6, changed) for changed in (terms, {})]
    with_terms, without = (
        wave.resampled(time)["charge_c_m2"] for wave in simulate_fecaps(runs, FILM_NETLIST, farm=farm)
    )
    (library,) = simulate_fecaps(runs[1:], farm=farm)
    np.testing.assert_allclose(without, library.resampled(time)["charge_c_m2"], atol=2e-6 * np.ptp(without))
    difference = charge_density(time, voltage, LIBRARY | terms) - with_terms
    assert np.std(difference) < 1e-3 * np.ptp(with_terms)


def test_two_records_of_one_film_give_the_film(two):
    assert not two.doubt
    for name in FREE:
        assert abs(two.fit.values[name] - TRUTH[name]) < 3 * two.fit.stderr[name], name
    assert [each.rms for each in two.records] == pytest.approx([1e-3, 1e-3], rel=0.2)
    assert two.terms["ja"].kept
    assert any("term ja" in note and "ask for it" in note for note in notes(two, ["a", "b"]))
    assert ".param ja=" in param_include(two, "a, b")
    assert ".param tempk=300 " in param_include(two, "a, b")


def test_a_third_record_is_predicted(two, farm):
    third = record(3, 2e3, cycles=1, tempk=340.0, jact=0.2)
    (one,) = predict(two, [third], [{"tempk": 340.0}], farm)
    assert one.record.rms_of_span < 1.3e-3 / third.span
    numbers = summary(one.record)
    assert numbers["model"]["vc_plus_v"] == pytest.approx(numbers["measured"]["vc_plus_v"], abs=0.02)
    (wrong,) = predict(two, [third], [{"tempk": 440.0}], farm)
    assert wrong.record.rms_of_span > 5 * one.record.rms_of_span


def test_the_resistance_of_another_range_shows_behind_the_turning_points(farm):
    """The predicted loop is of a film that switches elsewhere, which a fit to all of it takes for resistance."""
    known = {name: value for name, value in TRUTH.items() if name not in ("ps", "ea", "eps")}
    known |= {"area": 1e-10, "s0": -1.0}
    own = [{"area": 1e-10}]
    found = fit_fecap(
        record(7, rs=2e6, area=1e-10), known, ["ps", "ea", "eps", "rs"], farm=farm, own=own, own_names=["rs"]
    )
    other = record(8, noise=1e-4, rs=6e5, area=1e-10, ea=1.7, samples=401)
    (turns,) = predict(found, [other], own, farm, at_turns=True)
    (whole,) = predict(found, [other], own, farm)
    assert turns.fitted_to_it["rs"] == pytest.approx(6e5, rel=0.1)
    assert whole.fitted_to_it["rs"] > 1.3 * turns.fitted_to_it["rs"]
    assert behind_turns(other).sum() == pytest.approx(20, abs=2)


def test_a_loop_and_its_mirror_image_give_the_same_film(farm):
    ways = {
        side: fit_fecap(record(4, side=side), KNOWN | {"s0": -float(side)}, FREE, farm=farm, terms=["ja"])
        for side in (1, -1)
    }
    for name in FREE:
        sign = -1 if name in ("imprint", "ja") else 1
        assert ways[1].fit.values[name] == pytest.approx(
            sign * ways[-1].fit.values[name], abs=ways[1].fit.stderr[name]
        ), name


def test_a_parameter_on_its_bound_is_held_there_and_said(farm):
    found = fit_fecap(record(5), KNOWN | {"s0": -1.0}, FREE, farm=farm, terms=["ja"], bounds={"eps": (40.0, 60.0)})
    assert [held.name for held in found.fit.held] == ["eps"]
    assert found.fit.values["eps"] == 40.0
    assert not found.doubt
    assert any("eps ended on its bound 40" in note for note in notes(found))


def test_the_loop_that_a_tester_closed_asks_for_its_drift(farm):
    measured = record(6)
    closed = measured.response - (measured.response[-1] - measured.response[0]) * measured.time_s / measured.time_s[-1]
    drifting = measurement(measured.time_s, measured.voltage_v, closed, "charge")
    found = fit_fecap(drifting, KNOWN | {"s0": -1.0}, FREE, farm=farm, terms=["ja", "drift"])
    assert found.terms["drift"].kept
    assert found.only.rms == pytest.approx(1e-3, rel=0.2)
    assert found.fit.values["ja"] == pytest.approx(0.5, abs=3 * found.fit.stderr["ja"])


def test_a_noisy_voltage_does_not_drive_the_model():
    time, voltage = loop(1e3, samples=4001)
    noisy = voltage + np.random.default_rng(0).normal(0, 0.05, time.size)
    smooth, noise, window = without_noise(noisy)
    assert noise == pytest.approx(0.05, rel=0.1)
    assert window > 9
    assert np.std(smooth - voltage) < 0.02
    measured = measurement(time, noisy, voltage, "charge")
    assert "smoothed over" in measured.read_as[0]
    clean, _, one = without_noise(voltage + 1e-3)
    assert one == 1
    np.testing.assert_array_equal(clean, voltage + 1e-3)


def test_a_noise_that_no_smoothing_takes_away_is_told():
    """Pulses with edges of five samples, whose corners a window of five would cut."""
    rows = [5, 20, 5, 20]
    voltage = np.interp(
        np.arange(201), np.cumsum([0, *rows * 4]), [0.0, *[2, 2, 0, 0, 2, 2, 0, 0, -2, -2, 0, 0], *[-2, -2, 0, 0]]
    )
    noisy = voltage + np.random.default_rng(0).normal(0, 0.02, voltage.size)
    measured = measurement(1e-7 * np.arange(201), noisy, voltage, "charge")
    assert measured.drive_v is noisy
    (said,) = measured.read_as
    assert "by noise or for it has few samples, and drives the model as it is" in said
    assert measurement(1e-7 * np.arange(201), voltage, voltage, "charge").read_as == ()


def test_pulses_count_by_charge_and_by_current(data_folder):
    path = data_folder / "fecap" / "aixacct_pm_pund_pzt.dat"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the folder with the real data")
    found = read_measurement(path, Columns(), None, record=1)
    assert [kind for kind, _ in found.signals] == ["charge", "current"]
    part = Part.of(found, {})
    assert part.target.size == 2 * found.time_s.size
    flowed = np.trapezoid(found.current_a_m2[:401], found.time_s[:401])
    assert flowed == pytest.approx(found.response[400] - found.response[0], rel=0.05)
    ours = read_off(found, found.response)
    assert {name: ours[name] for name in found.summary} == pytest.approx(found.summary, rel=1e-5)
    between = found.summary["prrel_plus_c_m2"] - found.summary["prrel_minus_c_m2"]
    assert ours["p_minus_u_c_m2"] == pytest.approx(between, rel=2e-3)


def test_the_command_says_what_it_does_not_take(bruno, tmp_path):
    path = tmp_path / "loop.csv"
    time, voltage = loop(1e3)
    rows = np.column_stack([time, voltage, voltage])
    np.savetxt(path, rows, delimiter=",", header="t [s],v [V],q [C/m2]", comments="")
    for extra, said in (
        (["--terms", "jact"], "needs records at two temperatures"),
        (["--terms", "rs"], "needs the electrode's area"),
        (["--terms", "none"], "there is no such term"),
        (["--bound", "ps"], "write NAME=LOW:HIGH"),
        (["--bound", "ps=2:1"], "not below the upper"),
        (["--own", "ps"], "cannot have that for itself"),
        (["--set", "3:tempk=400"], "there is no record 3"),
        (["--own", "rs", "--own-at-turns"], "--own-at-turns goes with --own rs and --predict"),
    ):
        code, _, err = bruno("fit", "fecap", path, *extra, "--out", tmp_path / "out")
        assert (code, said in " ".join(err.split())) == (2, True), err


def test_what_is_not_believed_is_written_and_marked(bruno, tmp_path):
    time, voltage = loop(1e3)
    noise = np.random.default_rng(0).normal(0, 1e-2, time.size)
    np.savetxt(
        tmp_path / "noise.csv",
        np.column_stack([time, voltage, noise]),
        delimiter=",",
        header="t [s],v [V],q [C/m2]",
        comments="",
    )
    args = ["--set", "s0=-1", "--free", "ps,ea", "--out", tmp_path / "out"]
    code, _, err = bruno("fit", "fecap", tmp_path / "noise.csv", *args)
    assert code == 1
    assert "not to be believed" in " ".join(err.split())
    result = json.loads((tmp_path / "out" / "fecap.json").read_text())
    assert result["believed"] is False
    assert result["doubt"]
    assert "NOT TO BE BELIEVED" in (tmp_path / "out" / "fecap.param").read_text()


@pytest.mark.parametrize(("number", "state"), [(4, -1.0), (6, 0.65)], ids=["positive first", "negative first"])
def test_a_measured_loop_is_explained_in_both_polarities(data_folder, farm, number, state):
    path = data_folder / "fecap" / "aixacct_dhm_hfo2_mfm_temps.dat"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the folder with the real data")
    measured = read_measurement(path, Columns(), None, record=number)
    known = {"tfe": measured.known["tfe"], "tempk": 304.0, "s0": state}
    free = ["ps", "ea", "eps", "sigma_a", "sigma_o", "imprint", "j1", "ja"]
    found = fit_fecap(measured, known, free, farm=farm, terms=["ja", "drift"])
    assert not found.doubt
    assert found.rms_of_span < 0.02
    assert not found.only.outliers.any()


@pytest.mark.parametrize("number", [2, 3])
def test_a_known_film_in_a_tester_s_file_comes_back_with_its_errors(farm, number):
    """Two of the cases of `coverage`, which counts over many."""
    found = case(number, farm)
    assert not found.doubt
    assert found.said
    assert max(map(abs, found.off.values())) < 3.5
