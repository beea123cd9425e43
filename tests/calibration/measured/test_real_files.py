"""Files of real testers (`BRUNO_DATA`): what is in them by eye, what the tester computed, what physics demands."""

import numpy as np
import pytest

from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
from bruno_spice.calibration.fecap.predict import NUMBERS, loss, numbers
from bruno_spice.calibration.measured.recognise import read_file
from bruno_spice.calibration.measured.record import Asked
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.devices.errors import InputError

DHM = "fecap/aixacct_dhm_hfo2_mfm_temps.dat"
LOSS_UJ_CM2 = {1: 57.3868, 2: 65.8231, 3: 96.7844, 4: 208.175, 5: 377.085}
"""What the tester says that loop 1 of each table dissipates."""
FILES = {
    DHM: ("aixacct", [401] * 18),
    "fecap/aixacct_pm_pund_pzt.dat": ("aixacct", [2005] * 2),
    "fecap/aixacct_lm_leakage_pzt.dat": ("aixacct", [37]),
    "fecap/hfo2_mfm_100Hz.tsv": ("table", [401]),
    "fecap/hfo2_mfm_200Hz.tsv": ("table", [401]),
    "fecap/hfo2_mfm_500Hz.tsv": ("table", [401]),
    "fecap/hfo2_mfm_1000Hz.tsv": ("table", [401]),
    "fecap/radiant_vision_hysteresis.txt": ("radiant", [501]),
    "fecap/keithley_hzo_pv_export.csv": ("table", [1000]),
    "fecap/keithley4200_hzo_endurance.xls": ("xls", [13, 15]),
    "rram/relaxation_technology_c.tsv.gz": ("table", [89115]),
    "rram/set_over_word_line.tsv.gz": ("table", [35000]),
    "formats/easyexpert_b1500_iv.csv": ("easyexpert", [201]),
    "formats/iccap_sky130_nfet_idvd.mdm": ("iccap", [37] * 12),
    "formats/psfascii_spectre.tran": ("psf", [55]),
    "formats/spicelib_tran_ltspice.bin.raw": ("raw", [21]),
    "formats/oscilloscope_read.csv.gz": ("oscilloscope", [16000]),
}
REFUSED = {
    "formats/hspice_9601.tr0": "output of HSPICE",
    "formats/spicelib_dc_ngspice.bin.raw": "a .raw file without a transient .left out: DC transfer characteristic",
    "rram/read_noise_technology_a.tsv.gz": "line 1 has 238,053 characters, no row of a table",
}


@pytest.fixture
def reads(data_folder):
    def read(name, *units):
        if not (data_folder / name).exists():
            pytest.skip(f"{name} is not in the folder with the real data")
        return read_file(data_folder / name, Asked(declared_units(list(units))))

    return read


def values(record):
    return {each.name: each.values for each in record.columns}


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_a_named_format_is_read_whole(reads, name):
    found = reads(name)
    assert (found.format, [each.points for each in found.records]) == FILES[name]


def test_the_transient_of_ltspice_is_the_charging_of_its_capacitor(reads):
    """1 V through 1 kohm on 1 uF from the first step on: V(out) = 1 - exp(-t/RC), I = (V(in) - V(out))/R."""
    seen = values(reads("formats/spicelib_tran_ltspice.bin.raw").records[0])
    late = seen["time"] > 1e-4
    np.testing.assert_allclose(seen["V(out)"][late], -np.expm1(-seen["time"][late] / 1e-3), rtol=2e-3)
    np.testing.assert_allclose(seen["I(R1)"], (seen["V(in)"] - seen["V(out)"]) / 1e3, atol=1e-9)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_says_what_it_is_in_one_sentence(reads, name):
    with pytest.raises(InputError, match=REFUSED[name]) as caught:
        reads(name)
    assert "\n" not in str(caught.value)


def test_every_file_has_been_looked_at(data_folder):
    there = {
        f"{folder}/{path.name}"
        for folder in ("fecap", "rram", "formats")
        for path in (data_folder / folder).glob("*")
        if path.suffix != ".md"
    }
    assert there <= {*FILES, *REFUSED}


def test_the_loops_dissipate_what_the_tester_says_and_the_current_is_the_charge_s(reads):
    records = reads(DHM).records
    for table, lost in LOSS_UJ_CM2.items():
        for loop in range(3):
            record = records[3 * (table - 1) + loop]
            time, voltage, current, charge = (each.values for each in record.columns)
            taken = np.trapezoid(voltage, charge)
            assert taken == pytest.approx(1e-2 * lost, rel=2e-3 if loop == 0 else 0.06)
            rate = np.gradient(charge, time)[5:-5]
            assert np.polyfit(rate, current[5:-5], 1)[0] == pytest.approx(record.area_m2, rel=0.05)
    assert {(r.amplitude_v, r.frequency_hz, round(r.area_m2, 12)) for r in records} == {(3.0, 100.0, 1e-8)}
    assert values(records[3])["P1"][0] == pytest.approx(-0.10027, abs=1e-6)  # Pr- of the summary: -10.027 uC/cm2
    assert values(records[5])["P3"][0] == pytest.approx(0.0745761, abs=1e-6)  # Prrel+: 7.45761
    assert [bool(each.notes) for each in records] == [False] * 15 + [True] * 3


def test_pulses_leakage_and_other_testers_by_eye(reads):
    pulses = reads("fecap/aixacct_pm_pund_pzt.dat").records[0]
    assert np.all(np.diff(values(pulses)["Time"]) > 0)
    assert values(pulses)["P"][[0, 401]].tolist() == pytest.approx([-0.08550944, 0.06296683])
    assert values(pulses)["V"].max() == pytest.approx(8, rel=0.01)
    (leak,) = reads("fecap/aixacct_lm_leakage_pzt.dat").records
    assert values(leak)["Leakage Current Density"][9] == pytest.approx(6.572504e-4)  # 0.0657 uA/cm2 at 4.48 V
    (loop,) = reads("fecap/radiant_vision_hysteresis.txt").records
    assert values(loop)["Measured Polarization"].max() == pytest.approx(0.463, abs=1e-3)  # PMax: 46.3 uC/cm2
    assert values(loop)["Drive Voltage"].max() == pytest.approx(9, rel=1e-3)
    assert (loop.frequency_hz, loop.area_m2) == (pytest.approx(100), pytest.approx(1e-8))
    fatigued = reads("fecap/keithley4200_hzo_endurance.xls", "P=C", "iteration=1").records
    assert values(fatigued[0])["P"][0] == pytest.approx(1.4267452542e-10)
    assert values(fatigued[1])["iteration"][-1] == 9e6
    assert "Vp = 3" in fatigued[0].notes
    (sweep,) = reads("formats/easyexpert_b1500_iv.csv").records
    assert values(sweep)["DrainV"][[0, -1]].tolist() == [-0.05, 0.05]
    nfet = reads("formats/iccap_sky130_nfet_idvd.mdm").records
    assert nfet[1].name == "VG=0.36, VS=0, VB=0"
    assert max(values(each)["ID"].max() for each in nfet) == values(nfet[5])["ID"].max()  # the largest gate voltage
    (trace,) = reads("formats/oscilloscope_read.csv.gz").records
    assert [each.what for each in trace.columns] == ["time", "voltage", "voltage"]
    assert np.ptp(values(trace)["time"]) == pytest.approx(7.9995)


def test_a_fit_takes_the_record_as_it_is(data_folder, reads):
    reads(DHM)
    found = read_measurement(data_folder / DHM, Columns(), None, record=6)
    assert (found.kind, found.time_s.size) == ("charge", 401)
    assert found.known == {"tfe": pytest.approx(13e-9), "area": pytest.approx(1e-8)}
    by_current = read_measurement(data_folder / DHM, Columns(kind="current"), None, record=6)
    charge = np.cumsum(by_current.response) * np.diff(by_current.time_s)[0]
    assert np.ptp(charge) == pytest.approx(found.span, rel=0.05)
    columns = Columns(units=declared_units(["Vforce=V", "Charge=C"]))
    loop = read_measurement(data_folder / "fecap/keithley_hzo_pv_export.csv", columns, 4e-10, frequency_hz=20e3)
    assert loop.time_s[-1] == pytest.approx(999 * 50e-6 / 800, rel=0.01)
    assert loop.response.max() == pytest.approx(1.831701e-10 / 4e-10)


@pytest.mark.parametrize("number", [1, 4, 7, 10, 13])
def test_numbers_of_a_measured_loop_are_those_of_its_tester(data_folder, number):
    """As leaky as a loop may be: at 179 C half of the charge is leak."""
    loop = read_measurement(data_folder / DHM, Columns(), None, record=number)
    assert set(loop.summary) == {*NUMBERS, "w_loss_j_m2"}
    found = numbers(loop.voltage_v, loop.response)
    for name in NUMBERS:
        near = {"abs": 0.01} if name.endswith("_v") else {"rel": 0.01}
        assert getattr(found, name) == pytest.approx(loop.summary[name], **near), name
    assert loss(loop.voltage_v, loop.response) == pytest.approx(loop.summary["w_loss_j_m2"], rel=1e-5)
