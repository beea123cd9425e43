"""A FeCAP measurement with known truth gives that truth back, and says which samples it did not believe."""

import json

import numpy as np
import pandas as pd
import pytest

from bruno_spice.calibration.benches.fecap import FECAP_NETLIST, FeCAPRun, pulses, simulate_fecaps
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
from bruno_spice.calibration.fecap.fit import fit_fecap
from bruno_spice.calibration.fecap.measurement import Columns, clipped_samples, measurement, read_measurement
from bruno_spice.calibration.fecap.result import notes
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import charge_density

LIBRARY = {name: p.value for name, p in Netlist.load(FECAP_NETLIST).params.items()}
TRUTH = {
    "ea": 1.4, "sigma_a": 0.2, "sigma_o": 0.25, "imprint": 0.08, "ps": 0.18, "eps": 32.0, "nmerz": 4.0, "tau0": 0.3e-6,
}  # fmt: skip
NOISE = 2e-3


def triangle(amplitude_v, frequency_hz, samples, cycles=2):
    time = np.linspace(0, cycles / frequency_hz, samples)
    return time, np.interp((frequency_hz * time) % 1, [0, 0.25, 0.75, 1], amplitude_v * np.array([0, 1, -1, 0]))


def two_rates():
    slow, fast = triangle(3.0, 1e3, 241), triangle(3.0, 2e4, 161)
    return np.concatenate([slow[0], slow[0][-1] + fast[0][1:]]), np.concatenate([slow[1], fast[1][1:]])


def pund():
    time, voltage, _ = pulses([(-3, 50e-6), (2, 5e-6), (2, 5e-6), (-2, 5e-6), (-2, 5e-6)], edge_s=1e-6, gap_s=5e-6)
    fine = np.unique(np.concatenate([time, np.linspace(0, time[-1], 400)]))
    return fine, np.interp(fine, time, voltage)


def in_ngspice(drive, truth, farm):
    time, voltage = drive
    wave = simulate_fecaps([FeCAPRun(time, voltage, float(np.median(np.diff(time))), truth)], farm=farm)[0]
    return wave.resampled(time)["charge_c_m2"]


@pytest.fixture(scope="module")
def record(farm):
    """Time, voltage and noisy charge of two loops at two rates; the charge's zero is off, as it is in a laboratory."""
    time, voltage = two_rates()
    charge = in_ngspice((time, voltage), TRUTH, farm)
    return time, voltage, charge + 0.05 + np.random.default_rng(1).normal(0, NOISE, time.size)


@pytest.fixture(scope="module")
def spoilt(record):
    """The same with three outliers and a clipped top: row numbers (from 0), the record, and the clipped mask."""
    time, voltage, charge = record
    charge = charge.copy()
    rows = np.array([40, 130, 300])
    charge[rows] += [0.04, -0.05, 0.06]
    top = np.sort(charge)[-12]
    clipped = charge >= top
    return rows, (time, voltage, np.minimum(charge, top)), clipped


@pytest.mark.parametrize(
    ("drive", "changed"),
    [
        (triangle(3.0, 1e3, 401), {}),
        (triangle(1.5, 1e4, 401), {"imprint": 0.1, "j1": 10.0, "s0": 0.0}),
        (pund(), {"tempk": 350.0}),
        (triangle(3.0, 1e3, 401), {"tdl": 0.5e-9}),
    ],
    ids=["loop", "minor loop", "pulses", "dead layer"],
)
def test_the_compiled_model_is_the_netlist(drive, changed, ngspice):
    spice = in_ngspice(drive, changed, ngspice)
    twin = charge_density(*drive, LIBRARY | changed)
    late = slice(100, None)
    difference = (twin - spice)[late] - np.mean((twin - spice)[late])
    assert np.sqrt(np.mean(difference**2)) < 3e-4 * np.ptp(spice)


def test_truth_is_recovered_within_its_standard_error(record, farm):
    time, voltage, charge = record
    found = fit_fecap(measurement(time, voltage, charge, "charge"), farm=farm)
    assert set(found.fit.stderr) == set(TRUTH)
    assert set(found.not_determined) >= {"j1", "ej"}
    assert not found.doubt
    off = np.array([(found.fit.values[name] - value) / found.fit.stderr[name] for name, value in TRUTH.items()])
    assert np.abs(off).max() < 3
    assert np.sqrt(np.mean(off**2)) < 1.5
    assert found.only.rms == pytest.approx(NOISE, rel=0.1)
    assert found.twin_rms * found.only.measured.span < 0.05 * NOISE
    assert abs(found.only.autocorrelation) < 0.2
    assert found.only.outliers.sum() == 0


def test_one_rate_does_not_tell_the_attempt_time(record, farm):
    slow = slice(0, 241)
    time, voltage, charge = (column[slow] for column in record)
    found = fit_fecap(measurement(time, voltage, charge, "charge"), farm=farm)
    assert "tau0" in found.not_determined
    assert "tau0" not in found.fit.stderr
    assert found.fit.values["ps"] == pytest.approx(TRUTH["ps"], rel=0.01)


def test_what_the_record_does_not_determine_has_the_netlist_s_value(farm):
    drive = triangle(0.6, 1e3, 201)
    charge = in_ngspice(drive, {}, farm)
    noisy = charge + np.random.default_rng(3).normal(0, 2e-2 * np.ptp(charge), charge.size)
    found = fit_fecap(measurement(*drive, noisy, "charge"), farm=farm)
    assert "imprint" in found.not_determined
    assert {name: found.values[name] for name in found.not_determined} == {
        name: LIBRARY[name] for name in found.not_determined
    }


@pytest.mark.parametrize("scales", [(1, 1e-3, 1), (1, 1, 100)])
def test_a_record_in_the_wrong_unit_is_a_failed_fit(record, farm, scales):
    wrong = measurement(*(scale * column for scale, column in zip(scales, record, strict=True)), "charge")
    found = fit_fecap(wrong, {"s0": -1.0}, farm=farm)
    assert "check --time-unit, --voltage-unit and --charge-unit" in found.doubt


def test_a_film_that_is_a_thousand_times_faster_is_said_to_be_one(record, farm):
    """A record with its times in another unit is that of a film of another tau0: the fit alone cannot tell."""
    time, voltage, charge = record
    measured = measurement(1e-3 * time, voltage, charge, "charge")
    known = {name: TRUTH[name] for name in ("ea", "sigma_a", "sigma_o", "imprint", "nmerz")}
    found = fit_fecap(measured, known | {"tau0": 1e-3 * TRUTH["tau0"]}, ["ps", "eps"], farm=farm)
    assert found.values["ps"] == pytest.approx(TRUTH["ps"], rel=0.01)
    assert any("times the library's" in note and "check --time-unit" in note for note in notes(found))


def test_a_current_record_gives_the_same_film(farm):
    time, voltage = pund()
    current = np.gradient(in_ngspice((time, voltage), TRUTH, farm), time)
    noisy = current + np.random.default_rng(2).normal(0, 2e-3 * np.ptp(current), time.size)
    known = {name: TRUTH[name] for name in ("sigma_a", "sigma_o", "nmerz", "tau0")}
    found = fit_fecap(measurement(time, voltage, noisy, "current"), known, ["ps", "ea", "eps", "imprint"], farm=farm)
    for name in found.fit.values:
        assert abs(found.fit.values[name] - TRUTH[name]) < 3 * found.fit.stderr[name]


def test_bruno_fit_reports_clipped_samples_and_outliers(spoilt, bruno, tmp_path):
    rows, (time, voltage, charge), clipped = spoilt
    path = tmp_path / "loop.csv"
    pd.DataFrame({"t": time * 1e6, "v": voltage, "q": charge * 100}).to_csv(path, index=False)
    args = ["fit", "fecap", path, "--time", "t", "--voltage", "v", "--charge", "q", "--out", tmp_path / "out"]
    units = ["--time-unit", "us", "--voltage-unit", "V", "--charge-unit", "uC/cm2"]
    known = ["--set", "nmerz=4", "--set", "tau0=0.3u", "--free", "ps,ea,eps,sigma_a,sigma_o,imprint"]
    code, text, err = bruno(*args, *units, *known)
    assert code == 0, err
    result = json.loads((tmp_path / "out" / "fecap.json").read_text())
    (of_record,) = result["records"]
    assert {row["row"] - 1 for row in of_record["outliers"]} >= set(rows) - set(np.flatnonzero(clipped))
    assert len(of_record["outliers"]) <= 5
    assert {row["row"] - 1 for row in of_record["clipped"]} == set(np.flatnonzero(clipped))
    assert of_record["samples_used"] == time.size - len(of_record["outliers"]) - len(of_record["clipped"])
    assert "clipped, left out of the fit" in text
    assert "outliers, left out of the fit" in text
    for name in ("ea", "ps", "sigma_a", "sigma_o", "imprint", "eps"):
        p = result["parameters"][name]
        assert abs(p["value"] - TRUTH[name]) < 4 * p["stderr"]
    assert (tmp_path / "out" / "fecap.png").stat().st_size > 10_000
    deck = NEURON_NETLIST.read_text().replace("../", f"{NEURON_NETLIST.parents[1]}/")
    include = f".include {tmp_path / 'out' / 'fecap.param'}"
    (tmp_path / "mine.cir").write_text(deck.replace("\nVsupply", f"\n{include}\nVsupply", 1))
    params = Netlist.load(tmp_path / "mine.cir").params
    assert params["ea"].value == pytest.approx(result["parameters"]["ea"]["value"], rel=1e-8)
    assert params["area"].value == 25e-12


def test_a_peak_a_plateau_and_a_coarse_converter_are_not_clipping():
    voltage = np.concatenate([np.linspace(0, 3, 50), np.full(50, 3.0), np.linspace(3, 0, 50)])
    charge = np.minimum(np.linspace(0, 1, 150), 0.5)
    held = np.concatenate([np.linspace(0, 1, 50), np.ones(50), np.linspace(1, 0, 50)])
    assert clipped_samples(voltage, charge).sum() > 10
    assert clipped_samples(voltage, held).sum() == 0
    time, triangular = triangle(3.0, 1e3, 801)
    assert clipped_samples(triangular, np.sin(2e3 * np.pi * time)).sum() == 0
    assert clipped_samples(triangular, np.round(100 * triangular)).sum() == 0


def columns(**changed):
    declared = {
        "time": "t", "voltage": "v", "response": "q", "kind": "charge",
        "time_unit": "us", "voltage_unit": "V", "response_unit": "pC",
    }  # fmt: skip
    return Columns(**declared | changed)


@pytest.fixture
def table(tmp_path):
    def write(**changed):
        time = np.arange(30.0)
        data = {"t": time, "v": np.sin(time), "q": np.cos(time)} | changed
        pd.DataFrame(data).to_csv(tmp_path / "m.csv", index=False)
        return tmp_path / "m.csv"

    return write


def test_units_and_area_turn_into_si(table):
    found = read_measurement(table(), columns(), 25e-12)
    assert found.time_s[1] == pytest.approx(1e-6)
    assert found.response[0] == pytest.approx(1e-12 / 25e-12)
    dense = read_measurement(table(), columns(response_unit="µC/cm²"), None)
    assert dense.response[0] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("declared", "area", "said"),
    [
        ({"time_unit": None}, 1e-12, "say in which unit the time is: --time-unit, one of s, ms, us"),
        ({"response_unit": None}, 1e-12, "--charge-unit, one of C, mC, uC"),
        ({"voltage_unit": "volt"}, 1e-12, "--voltage-unit volt: not a unit"),
        ({"response_unit": "mA"}, 1e-12, "--charge-unit mA: not a unit of charge"),
        ({}, None, "needs the electrode's area"),
        ({}, 0.0, "area must be positive"),
        ({"time": "time"}, 1e-12, "has no column 'time', only t, v, q"),
    ],
)
def test_undeclared_units_and_columns_are_refused(table, declared, area, said):
    with pytest.raises(InputError, match=said):
        read_measurement(table(), columns(**declared), area)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"v": ["x", *range(29)]}, "line 2: 'x' in column 'v' is not a finite number"),
        ({"t": [0, 2, 1, *range(3, 30)]}, "data row 3 does not come after"),
        ({"v": np.ones(30)}, "never changes"),
    ],
)
def test_bad_records_are_refused_with_the_row(table, changed, said):
    with pytest.raises(InputError, match=said):
        read_measurement(table(**changed), columns(), 1e-12)


def test_a_record_that_says_nothing_about_a_film_is_a_failed_fit(farm):
    time, voltage = triangle(3.0, 1e3, 101)
    noise = np.random.default_rng(0).normal(0, 1e-2, time.size)
    assert fit_fecap(measurement(time, voltage, noise, "charge"), farm=farm).doubt


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "give --charge COLUMN or --current COLUMN, or both"),
        (["--charge", "q", "--current-unit", "A"], "--current-unit does not go with --charge"),
        (["--charge", "q"], "say in which unit the time is"),
        (["--charge", "q", "--time-unit", "us", "--voltage-unit", "V", "--charge-unit", "pC"], "--area"),
    ],
)
def test_the_command_says_what_is_missing(bruno, table, args, said):
    code, _, err = bruno("fit", "fecap", table(), "--time", "t", "--voltage", "v", *args)
    assert code == 2
    assert said in err


def test_unknown_parameters_are_refused(record):
    measured = measurement(*record, "charge")
    with pytest.raises(InputError, match="no parameter 'eaa'"):
        fit_fecap(measured, {"eaa": 1.0})
    with pytest.raises(InputError, match="'tfe' cannot be fitted"):
        fit_fecap(measured, free=["tfe"])
    with pytest.raises(InputError, match="both fixed and to be fitted"):
        fit_fecap(measured, {"ea": 1.0}, ["ea"])
